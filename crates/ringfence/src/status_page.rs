//! The page on loopback that says how the node is: for whoever stands at the machine.
//!
//! It asks for no password, so it shows no number and no name of a caller, changes nothing, and
//! answers only who addresses it as loopback: a web page elsewhere that points its own name at
//! 127.0.0.1 (DNS rebinding) sends that name in `Host`, and is refused. No script, no outside resource.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pbx::command::{CallState, Command, DeviceView, Reply, StatusView, TrunkState, TrunkView};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::admin::protocol::{Attention, Status};
use crate::admin::work::{Office, in_short};
use crate::clock::Clock;
use crate::exchange_thread::{Inbox, Pulse, Unavailable};
use crate::flows::Flows;
use crate::media::Counters;
use crate::plain::is_hostile;

/// What the page is made from.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) office: Arc<Office>,
    pub(crate) inbox: Inbox,
    pub(crate) clock: Clock,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) flows: Arc<Flows<Inbox>>,
    pub(crate) media: Arc<Counters>,
    /// Each thing that listens, and where.
    pub(crate) listening: Vec<(String, String)>,
    pub(crate) authority_pem: String,
    pub(crate) authority_fingerprint: String,
}

/// Serves for ever. Cancel by dropping the future.
pub(crate) async fn serve(listener: TcpListener, page: Page) {
    let app = Router::new()
        .route("/", get(index))
        .route("/healthz", get(health))
        .route("/ca.pem", get(authority))
        .layer(middleware::from_fn(guard))
        .with_state(Arc::new(page));
    let doors = Doors { listener, places: Arc::new(Semaphore::new(VISITORS_MAX)) };
    if let Err(error) = axum::serve(doors, app).await {
        tracing::error!(%error, "the status page ended");
    }
}

/// The listener, with so many places and so much time for each visitor: any user of this machine can
/// connect, and must not use up the files that phones' connections need.
struct Doors {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for Doors {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.expect("it is never closed");
        let (stream, from) = axum::serve::Listener::accept(&mut self.listener).await;
        (Visit { stream, until: Box::pin(tokio::time::sleep(VISIT_MAX)), _place: place }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection, which ends when its time is up.
struct Visit {
    stream: TcpStream,
    until: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Visit {
    fn has_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.until.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Visit {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.has_time(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Loopback names only, GET only, and headers that forbid whatever the page doesn't need.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if !asks_loopback(request.headers()) {
        let text = "This page answers only to localhost.\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else if request.method() != axum::http::Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        response.headers_mut().insert(name, value);
    }
    response
}

/// Exactly one Host header, and it means this machine: of two, somebody else may read the other one
/// (RFC 9112 §3.2 refuses them too).
fn asks_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (Some(Ok(host)), None) => is_loopback(host),
        _ => false,
    }
}

/// `localhost` or a loopback address, with or without port, and nothing else (RFC 3986 §3.2.2).
fn is_loopback(host: &str) -> bool {
    let (is_loopback, rest) = match host.strip_prefix('[').map(|ip| ip.split_once(']')) {
        Some(Some((ip, rest))) => (ip.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback()), rest),
        Some(None) => return false,
        None => {
            let (name, rest) = host.split_at(host.find(':').unwrap_or(host.len()));
            let is_loopback = name.eq_ignore_ascii_case("localhost")
                || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
            (is_loopback, rest)
        }
    };
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_loopback && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

async fn health(State(page): State<Arc<Page>>) -> Response {
    if page.pulse.is_alive(page.clock.now()) {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the exchange does not answer\n").into_response()
    }
}

async fn authority(State(page): State<Arc<Page>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/x-pem-file")];
    (kind, page.authority_pem.clone()).into_response()
}

async fn index(State(page): State<Arc<Page>>) -> Response {
    let asked = tokio::join!(
        page.inbox.ask(Command::Status),
        page.inbox.ask(Command::Devices),
        page.inbox.ask(Command::Calls),
    );
    let money = tokio::join!(
        page.inbox.ask(Command::Trunks),
        page.inbox.ask(Command::Exposure),
        page.inbox.ask(Command::Policy),
    );
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    match asked {
        (Ok(Reply::Status(status)), Ok(Reply::Devices(devices)), Ok(Reply::Calls(calls))) => {
            let states: Vec<CallState> = calls.iter().map(|call| call.state).collect();
            let outside = outside(money);
            let safety = page.office.safety_now().await.ok();
            let text = render(&page, &status, &devices, &states, &outside, safety.as_ref());
            (html, text).into_response()
        }
        _ => {
            let body = "<main><h1>Ringfence</h1><p class=bad>! The exchange does not answer. \
                        See the log: <code>journalctl -u ringfence</code></p></main>";
            let text = document(body);
            (StatusCode::SERVICE_UNAVAILABLE, html, text).into_response()
        }
    }
}

/// The way outside: what carries calls there, and what they could cost.
#[derive(Debug, Default)]
struct OutsideView {
    trunks: Vec<TrunkView>,
    /// A sentence without numbers and names: who may see this page isn't known.
    exposure: Option<String>,
}

type Told = Result<Reply, Unavailable>;

/// What could not be told is left out: the rest of the page is worth more than none.
fn outside((trunks, exposure, policy): (Told, Told, Told)) -> OutsideView {
    let trunks = match trunks {
        Ok(Reply::Trunks(trunks)) => trunks,
        _ => Vec::new(),
    };
    let exposure = match (exposure, policy) {
        (Ok(Reply::Exposure(exposure)), Ok(Reply::Policy(policy, _))) => {
            Some(in_short(&exposure, &policy))
        }
        _ => None,
    };
    OutsideView { trunks, exposure }
}

fn render(
    page: &Page,
    status: &StatusView,
    devices: &[DeviceView],
    calls: &[CallState],
    outside: &OutsideView,
    safety: Option<&Status>,
) -> String {
    let mut out = String::from("<main><h1>Ringfence</h1>");
    let _ = match safety {
        Some(safety) if safety.safe => {
            write!(out, "<p class=good>✓ {}</p>", escape(&safety.summary))
        }
        Some(safety) => write!(out, "<p class=bad>! {}</p>", escape(&safety.summary)),
        None => {
            write!(out, "<p class=bad>! Running; how safe, could not be told. See the log.</p>")
        }
    };
    if let Some(safety) = safety {
        attention_section(&mut out, &safety.attention);
    }
    let _ = write!(
        out,
        "<dl class=figures><div><dt>Calls</dt><dd>{}</dd></div><div><dt>Phones registered</dt>\
         <dd>{} <small>of {}</small></dd></div><div><dt>Extensions</dt><dd>{}</dd></div><div><dt>Trunks \
         up</dt><dd>{} <small>of {}</small></dd></div></dl>",
        status.calls_up,
        status.devices_registered,
        status.devices_known,
        status.extensions,
        status.trunks_up,
        status.trunks,
    );
    if status.extensions == 0 {
        out.push_str(
            "<section><h2>What to do first</h2><p>There are no extensions yet. Add one, and type \
             what it prints into a phone:</p><pre>ringfence extension add 101 --name \"Front \
             desk\"</pre></section>",
        );
    } else if status.devices_registered == 0 {
        out.push_str(
            "<section><h2>What to do next</h2><p>No phone is registered. This shows again what to \
             type into one, here for extension 101:</p><pre>ringfence extension reveal \
             101</pre></section>",
        );
    }
    devices_section(&mut out, devices);
    outside_section(&mut out, outside);
    if !calls.is_empty() {
        let count = |wanted| calls.iter().filter(|state| **state == wanted).count();
        let _ = write!(
            out,
            "<section><h2>Calls</h2><p>{} talking, {} ringing, {} connecting, {} ending. Who calls \
             whom: <code>ringfence calls</code></p></section>",
            count(CallState::Up),
            count(CallState::Ringing),
            count(CallState::Connecting),
            count(CallState::Ending),
        );
    }
    out.push_str("<section><h2>What listens where</h2><table class=facts>");
    for (what, place) in &page.listening {
        let _ =
            write!(out, "<tr><th scope=row>{}</th><td>{}</td></tr>", escape(what), escape(place));
    }
    let media = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let _ = write!(
        out,
        "<tr><th scope=row>connections open</th><td>{}</td></tr><tr><th scope=row>audio packets</th>\
         <td>{} received, {} sent, {} not taken by the network</td></tr>",
        page.flows.connections(),
        media(&page.media.received),
        media(&page.media.sent),
        media(&page.media.not_sent),
    );
    let _ = write!(
        out,
        "</table></section><section><h2>For phones</h2><p>The authority that phones must trust: <a \
         href=\"/ca.pem\">ca.pem</a></p><p>SHA-256 <code class=long>{}</code></p></section><p \
         class=off>As of {}. This page renews itself every 10 seconds.</p></main>",
        // Broken between bytes, where a line is too short for it.
        escape(&page.authority_fingerprint).replace(':', ":<wbr>"),
        page.clock.now().utc,
    );
    document(&out)
}

/// The same list as `ringfence status` has.
fn attention_section(out: &mut String, list: &[Attention]) {
    if list.is_empty() {
        return;
    }
    out.push_str("<section><h2>What needs attention</h2><table class=facts>");
    for one in list.iter().take(ATTENTION_SHOWN) {
        let _ = write!(
            out,
            "<tr><th scope=row>{}</th><td>{}</td></tr>",
            escape(&one.what),
            escape(&one.remedy)
        );
    }
    out.push_str("</table>");
    if list.len() > ATTENTION_SHOWN {
        let more = list.len() - ATTENTION_SHOWN;
        let _ = write!(out, "<p>And {more} more: <code>ringfence status</code></p>");
    }
    out.push_str("</section>");
}

fn devices_section(out: &mut String, devices: &[DeviceView]) {
    if devices.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>Phones</h2><table><thead><tr><th scope=col>Extension</th><th scope=col>Phone\
         </th><th scope=col>State</th></tr></thead><tbody>",
    );
    for device in devices.iter().take(DEVICES_SHOWN) {
        let state = match &device.registered {
            Some(_) if device.weaknesses.is_empty() => {
                "<span class=good>✓&nbsp;registered</span>".into()
            }
            Some(_) => format!(
                "<span class=bad>!&nbsp;registered: {}</span>",
                escape(&device.weaknesses.join(", "))
            ),
            None => "<span class=off>– away</span>".to_owned(),
        };
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{state}</td></tr>",
            escape(&device.number.to_string()),
            escape(&device.device.agent),
        );
    }
    out.push_str("</tbody></table>");
    if devices.len() > DEVICES_SHOWN {
        let _ = write!(
            out,
            "<p>And {} more: <code>ringfence devices</code></p>",
            devices.len() - DEVICES_SHOWN
        );
    }
    out.push_str("</section>");
}

fn outside_section(out: &mut String, outside: &OutsideView) {
    out.push_str("<section><h2>Calls outside</h2>");
    if let Some(exposure) = &outside.exposure {
        let _ = write!(out, "<p>{}</p>", escape(exposure));
    }
    if outside.trunks.is_empty() {
        out.push_str(
            "<p>No carrier is connected. Connect one:</p><pre>ringfence trunk add carrier --server \
             sip.example.net --user 4711</pre></section>",
        );
        return;
    }
    out.push_str(
        "<table><thead><tr><th scope=col>Trunk</th><th scope=col>State</th></tr></thead><tbody>",
    );
    for view in outside.trunks.iter().take(TRUNKS_SHOWN) {
        let (class, mark, state) = match &view.state {
            TrunkState::Up { .. } if view.weaknesses.is_empty() => ("good", "✓", "up".to_owned()),
            TrunkState::Up { .. } => ("bad", "!", format!("up: {}", view.weaknesses.join(", "))),
            TrunkState::Connecting => ("off", "…", "connecting".to_owned()),
            TrunkState::Disabled => ("off", "–", "out of service".to_owned()),
            TrunkState::Down { why, .. } => ("bad", "!", format!("down: {why}")),
        };
        let _ = write!(
            out,
            "<tr><td>{}</td><td><span class={class}>{mark}&nbsp;{}</span></td></tr>",
            escape(&view.trunk.name),
            escape(&state),
        );
    }
    out.push_str("</tbody></table>");
    if outside.trunks.len() > TRUNKS_SHOWN {
        let more = outside.trunks.len() - TRUNKS_SHOWN;
        let _ = write!(out, "<p>And {more} more: <code>ringfence trunk list</code></p>");
    }
    out.push_str("</section>");
}

fn document(body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Ringfence</title><meta \
         name=viewport content=\"width=device-width, initial-scale=1\"><meta http-equiv=refresh \
         content=10><style>{STYLE}</style></head><body>{body}</body></html>"
    )
}

/// Agents are what phones say of themselves: text of strangers.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_hostile(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "\
:root{color-scheme:light dark;--good:light-dark(#14692f,#6fdc8c);--bad:light-dark(#a1260d,#ff9d85);\
--line:light-dark(#d8dde3,#343a42);--soft:light-dark(#5a6572,#9aa5b1);--card:light-dark(#fff,#1b1f24)}\
body{margin:0;font:16px/1.5 system-ui,sans-serif;background:light-dark(#f4f6f8,#121519);\
color:light-dark(#1b2229,#e8ecf0)}main{max-width:46rem;margin:0 auto;padding:1.5rem 1rem 3rem}\
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.05rem;margin:0 0 .5rem}\
section,.figures div{background:var(--card);border:1px solid var(--line);border-radius:10px;\
padding:1rem;margin:1rem 0 0}.figures{display:grid;gap:.75rem;margin:1rem 0 0;\
grid-template-columns:repeat(4,1fr)}.figures div{display:flex;flex-direction:column;\
justify-content:space-between;margin:0;padding:.75rem 1rem}dt,small,.off{color:var(--soft)}\
dd{margin:0;font-size:1.8rem;font-weight:600}\
small{font-size:1rem;font-weight:400}.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .5rem .35rem 0;\
border-top:1px solid var(--line);vertical-align:top}td:nth-child(2){overflow-wrap:anywhere}\
tr:first-child>*{border-top:0}thead th{color:var(--soft);font-weight:400}\
pre{overflow-x:auto;margin:0;padding:.75rem;border-radius:6px;background:light-dark(#eef1f4,#0c0e11)}\
.long{overflow-wrap:anywhere;font-size:.85rem}a{color:inherit}p{margin:.25rem 0}\
td .off{white-space:nowrap}main>.off{margin-top:1rem;font-size:.85rem}.facts th{width:40%;font-weight:500}\
@media(max-width:28rem){.figures{grid-template-columns:repeat(2,1fr)}.figures div{padding:.5rem .6rem}dt{font-size:.85rem;line-height:1.3}\
dd{font-size:1.5rem}small{font-size:.85rem}}";

const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];
/// Whoever stands at the machine, with a few windows.
const VISITORS_MAX: usize = 32;
/// A page takes milliseconds; a browser opens another connection for the next one.
const VISIT_MAX: Duration = Duration::from_secs(10);
/// A page one can read; the command line has the rest.
const DEVICES_SHOWN: usize = 200;
const TRUNKS_SHOWN: usize = 50;
const ATTENTION_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for host in
            ["localhost", "localhost:8480", "127.0.0.1", "127.0.0.1:8480", "[::1]:1", "[::1]"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8480",
            "localhost.evil.example",
            "10.0.0.1:8480",
            "localhost:99999@evil.example",
            "localhost:80@evil.example",
            "localhost:1:2",
            "localhost:",
            "localhost:+80",
            "localhost:65536",
            "[localhost]",
            "[127.0.0.1]:80",
            "[[::1]]",
            "[::1]80",
            "[::1",
            "::1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn one_host_header_is_asked_for_and_no_second_one() {
        let mut headers = HeaderMap::new();
        assert!(!asks_loopback(&headers));
        headers.append(header::HOST, HeaderValue::from_static("localhost:8480"));
        assert!(asks_loopback(&headers));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(!asks_loopback(&headers));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_keeps_no_place() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Arc::new(Semaphore::new(VISITORS_MAX));
        let doors = Doors { listener, places: places.clone() };
        let app = Router::new().route("/", get(|| async { "here" }));
        let server = tokio::spawn(async move { axum::serve(doors, app).await });
        let mut slow = Vec::new();
        for _ in 0..VISITORS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            slow.push(stream);
        }
        let mut honest = TcpStream::connect(address).await.unwrap();
        honest.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut heard = String::new();
        honest.read_to_string(&mut heard).await.unwrap();
        assert!(heard.ends_with("here"), "{heard}");
        for mut stream in slow {
            // Told that it took too long, or nothing: closed.
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
        server.abort();
    }

    #[test]
    fn text_of_strangers_stays_text() {
        assert_eq!(escape("<b a='\"'>&\u{7}"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;\u{fffd}");
        assert_eq!(escape("\u{202e}101"), "\u{fffd}101");
    }
}
