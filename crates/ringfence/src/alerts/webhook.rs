//! An alert as one HTTP request: JSON, signed with HMAC-SHA256 where a secret was given.
//!
//! `hyper`'s client over our own connection, not `reqwest`: it is in this program already, and the
//! address that was judged is the one connected to. Only 2xx is a yes. A redirect isn't followed: it
//! would lead where nobody judged.

use aws_lc_rs::hmac;
use bytes::Bytes;
use guard::sink::Sink;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use pure::Utc;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Confidence;
use super::wire::{self, Reach, Wrong};
use crate::plain;

/// Where requests go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(super) port: u16,
    pub(super) encrypted: bool,
    path: String,
    authority: String,
}

impl Target {
    /// # Errors
    /// What is wrong with the address, in words that don't repeat it: it may hold a secret.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let wrong = || "that is no address of a webhook: write https://host/path".to_owned();
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') || url.len() > URL_MAX {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || !url.is_ascii() {
            return Err(wrong());
        }
        // The library takes a port that is none for no port.
        let behind = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match behind.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
            None if encrypted => 443,
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { host, port, encrypted, path, authority: authority.to_string() })
    }

    /// Enough to tell it from its neighbours, and nothing that lets anybody use it.
    pub(super) fn masked(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        let path = match self.path.len() {
            0..=3 => self.path.clone(),
            4..=15 => "/…".to_owned(),
            all => format!("/…{}", self.path.get(all - 2..).unwrap_or_default()),
        };
        format!("{scheme}://{}{path}", self.authority)
    }
}

pub(super) async fn post(
    sink: &Sink,
    confidence: &Confidence,
    id: &str,
    now: Utc,
    body: Vec<u8>,
) -> Result<(), Wrong> {
    let url = confidence.url.as_ref().ok_or("it has no address: remove it and add it again")?;
    let target = Target::parse(&url.0)?;
    let reach = Reach {
        authority: sink.authority.as_deref(),
        private: sink.private,
        loopback_only: !target.encrypted,
    };
    let timestamp = now.seconds().to_string();
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(target.path.as_str())
        .header("host", &target.authority)
        .header("user-agent", "ringfence")
        .header("content-type", "application/json")
        .header("ringfence-id", id)
        .header("ringfence-timestamp", &timestamp);
    if let Some(secret) = &confidence.secret {
        request = request.header("ringfence-signature", sign(&secret.0, &timestamp, &body));
    }
    let request = request.body(Full::new(Bytes::from(body)));
    let request = request.map_err(|_| "its address can't be put into a request".to_owned())?;
    let stream = wire::connect(&target.host, target.port, reach).await?;
    match target.encrypted {
        true => exchange(wire::encrypt(stream, &target.host, reach).await?, request).await,
        false => exchange(stream, request).await,
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(), Wrong>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| {
        let text = plain::line(&error.to_string());
        Wrong::from(format!("the connection ended before an answer came ({text})"))
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let sent = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        // What else it has to say is not read: the connection ends here.
        match status.as_u16() {
            200..=299 => Ok(()),
            300..=399 => Err(Wrong::with(
                format!("it answers with a redirect ({status}), which is not followed"),
                "give the address that it leads to",
            )),
            401 | 403 | 404 | 410 => Err(Wrong::with(
                format!("it answers {status}"),
                "copy the address anew from the program that takes it, with its key",
            )),
            _ => Err(Wrong::with(
                format!("it answers {status}"),
                "see what the program at that address says",
            )),
        }
    };
    tokio::pin!(connection);
    tokio::pin!(sent);
    tokio::select! {
        biased;
        sent = &mut sent => sent,
        _ = &mut connection => sent.await,
    }
}

/// `v1=` and the HMAC of `timestamp.body` in hex: an old request can't be given a new time.
fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    let mut out = String::from("v1=");
    for byte in context.sign().as_ref() {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// Of an answer's head: hyper's least, and far more than any status needs.
const ANSWER_MAX: usize = 16 * 1_024;
const URL_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac s3cret
        let expected = "v1=1698a50bc74d1ff1db85c4e0a5297c2ad9fdba245d5737cdb789e4cc6e098940";
        assert_eq!(sign("s3cret", "1700000000", br#"{"a":1}"#), expected);
    }

    #[test]
    fn what_is_shown_of_an_address_tells_it_apart_and_opens_nothing() {
        let masked = |url: &str| Target::parse(url).unwrap().masked();
        assert_eq!(masked("http://127.0.0.1:9001/"), "http://127.0.0.1:9001/");
        assert_eq!(masked("https://hooks.example.com/s3cret"), "https://hooks.example.com/…");
        let slack = "https://hooks.example.com/services/T1/B2/0123456789abcdefghXY";
        assert_eq!(masked(slack), "https://hooks.example.com/…XY");
    }

    #[test]
    fn addresses_are_taken_apart_and_nothing_else_is() {
        let target = Target::parse("https://hooks.example.com/a/b?c=d").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("hooks.example.com", 443, "/a/b?c=d")
        );
        let target = Target::parse("http://[::1]:8080").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 8080, "/"));
        for wrong in [
            "",
            "hooks.example.com/a",
            "ftp://hooks.example.com/",
            "https://user:pass@hooks.example.com/",
            "https://hooks.example.com:0/",
            "https://hooks.example.com:99999/",
            "https:///a",
            "https://hooks.example.com/a b",
            "https://hooks.example.com/\r\nX: y",
            "file:///etc/passwd",
        ] {
            let refused = Target::parse(wrong).unwrap_err();
            assert!(!refused.contains("pass"), "{refused}");
        }
    }
}
