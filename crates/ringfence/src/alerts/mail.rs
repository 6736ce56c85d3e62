//! An alert as a mail: written by `lettre`, handed to a mail server in our own few lines of SMTP.
//!
//! The dialogue is ours because three things must hold that the library's doesn't give: what came in
//! clear together with the answer to STARTTLS is refused and never read as if it had come encrypted (RFC
//! 3207 §6; CVE-2011-0411 was that); the encryption and whom it trusts are the same code as the
//! webhook's; and a line is bounded while it is read, not after.
//!
//! Without encryption nothing goes anywhere but to this machine. The password goes out only after it.

use std::io::ErrorKind;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use guard::sink::{Channel, Security, Sink};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Confidence;
use super::message::Letter;
use super::wire::{self, Reach, Wrong};
use crate::plain::line;

pub(super) async fn send(
    sink: &Sink,
    confidence: &Confidence,
    letter: &Letter,
) -> Result<(), Wrong> {
    let Channel::Mail { to, from, host, port, security, user } = &sink.channel else {
        return Err("it is no mail sink".into());
    };
    let from = address(&from.reveal().0)?;
    let to = to.iter().map(|one| address(&one.reveal().0)).collect::<Result<Vec<_>, _>>()?;
    let text = written(&from, &to, letter)?;
    let login = user.as_ref().zip(confidence.secret.as_ref());
    let post = Post {
        from: &from,
        to: &to,
        text: &text,
        login: login.map(|(user, secret)| (user.as_str(), secret.0.as_str())),
    };
    let reach = Reach {
        authority: sink.authority.as_deref(),
        private: sink.private,
        loopback_only: *security == Security::Loopback,
    };
    let stream = wire::connect(host, *port, reach).await?;
    match security {
        Security::Tls => {
            let mut dialogue = Dialogue::new(wire::encrypt(stream, host, reach).await?);
            dialogue.expect("its greeting", 220).await?;
            dialogue.carry(&post).await
        }
        Security::Loopback => {
            let mut dialogue = Dialogue::new(stream);
            dialogue.expect("its greeting", 220).await?;
            dialogue.carry(&post).await
        }
        Security::StartTls => {
            let mut dialogue = Dialogue::new(stream);
            dialogue.greeting().await?;
            let offers = dialogue.say("EHLO", HELLO, 250).await?;
            if !offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS")) {
                return Err(Wrong::with(
                    "the mail server offers no encryption (STARTTLS): nothing was sent",
                    "say --tls and its port for TLS (465), or have STARTTLS switched on there",
                ));
            }
            dialogue.say("STARTTLS", "STARTTLS", 220).await?;
            if !dialogue.stream.buffer().is_empty() {
                return Err(
                    "somebody spoke into the start of the encryption: nothing was sent".into()
                );
            }
            let stream = wire::encrypt(dialogue.stream.into_inner(), host, reach).await?;
            Dialogue::new(stream).carry(&post).await
        }
    }
}

/// An address that is one, in the form in which SMTP takes it.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let wrong = || format!("`{}` is no mail address", line(text));
    let address: lettre::Address = text.parse().map_err(|_| wrong())?;
    let address: &str = address.as_ref();
    // What needs SMTPUTF8 or quotes would need a server that knows them: nobody's alerts go there.
    let plain = address.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\,;:()[]".contains(&b));
    if plain && address.len() <= ADDRESS_MAX { Ok(address.to_owned()) } else { Err(wrong()) }
}

fn written(from: &str, to: &[String], letter: &Letter) -> Result<Vec<u8>, String> {
    let mailbox = |address: &str, name: Option<&str>| -> Result<Mailbox, String> {
        let address = address.parse().map_err(|_| format!("`{address}` is no mail address"))?;
        Ok(Mailbox::new(name.map(str::to_owned), address))
    };
    let domain = from.rsplit('@').next().unwrap_or("localhost");
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut message = Message::builder()
        .from(mailbox(from, Some("Ringfence"))?)
        .subject(line(&letter.subject))
        .message_id(Some(format!("<{}.ringfence@{domain}>", letter.id)))
        .date_now()
        .header(ContentType::TEXT_PLAIN)
        // No holiday notice answers it (RFC 3834).
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
    for one in to {
        message = message.to(mailbox(one, None)?);
    }
    let message = message.body(letter.body.clone());
    message
        .map(|message| message.formatted())
        .map_err(|error| format!("the mail can't be written: {error}"))
}

struct Post<'a> {
    from: &'a str,
    to: &'a [String],
    text: &'a [u8],
    login: Option<(&'a str, &'a str)>,
}

/// SMTP (RFC 5321), the client's side.
struct Dialogue<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// A server that waits for TLS says nothing, and so may one that is slow.
    async fn greeting(&mut self) -> Result<(), Wrong> {
        match timeout(GREETING_MAX, self.expect("its greeting", 220)).await {
            Ok(greeted) => greeted.map(|_| ()),
            Err(_) => Err(Wrong::with(
                format!("the mail server says nothing for {} seconds", GREETING_MAX.as_secs()),
                "a port that begins with TLS (465) needs --tls; otherwise see that it is a mail server",
            )),
        }
    }

    /// From EHLO to QUIT. When it returns without an error the server has taken responsibility.
    async fn carry(&mut self, post: &Post<'_>) -> Result<(), Wrong> {
        let offers = self.say("EHLO", HELLO, 250).await?;
        if let Some((user, secret)) = post.login {
            self.log_in(&offers, user, secret).await?;
        }
        self.say("the sender", &format!("MAIL FROM:<{}>", post.from), 250).await?;
        for to in post.to {
            self.say("the recipient", &format!("RCPT TO:<{to}>"), 250).await?;
        }
        self.say("DATA", "DATA", 354).await?;
        self.write(&stuffed(post.text)).await?;
        self.expect("the mail", 250).await?;
        // It is theirs now, whatever becomes of the goodbye.
        let _ = self.say("QUIT", "QUIT", 221).await;
        Ok(())
    }

    async fn log_in(&mut self, offers: &[String], user: &str, secret: &str) -> Result<(), Wrong> {
        let offered = |mechanism: &str| {
            offers.iter().any(|offer| {
                let mut words = offer.split([' ', '=']);
                words.next().is_some_and(|word| word.eq_ignore_ascii_case("AUTH"))
                    && words.any(|word| word.eq_ignore_ascii_case(mechanism))
            })
        };
        let what = "the login";
        if offered("PLAIN") {
            let clear = Zeroizing::new(format!("\0{user}\0{secret}"));
            let text = Zeroizing::new(format!("AUTH PLAIN {}", *encode(clear.as_bytes())));
            self.say(what, &text, 235).await?;
        } else if offered("LOGIN") {
            self.say(what, "AUTH LOGIN", 334).await?;
            self.say(what, &encode(user.as_bytes()), 334).await?;
            self.say(what, &encode(secret.as_bytes()), 235).await?;
        } else {
            return Err("the mail server offers no login by password (AUTH PLAIN or LOGIN)".into());
        }
        Ok(())
    }

    async fn say(&mut self, what: &str, text: &str, wanted: u16) -> Result<Vec<String>, Wrong> {
        self.write(&Zeroizing::new(format!("{text}\r\n").into_bytes())).await?;
        self.expect(what, wanted).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        let stream = self.stream.get_mut();
        let written = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        written
            .await
            .map_err(|error: std::io::Error| format!("the mail server is gone: {error}").into())
    }

    /// The texts of an answer; an error where its code is another. 250 stands for 251 too.
    async fn expect(&mut self, what: &str, wanted: u16) -> Result<Vec<String>, Wrong> {
        let mut texts = Vec::new();
        while texts.len() < ANSWER_LINES_MAX {
            let mut raw = Vec::new();
            let limit = u64::try_from(ANSWER_LINE_MAX).unwrap_or(u64::MAX);
            let read = (&mut self.stream).take(limit).read_until(b'\n', &mut raw).await;
            // Without a goodbye of TLS it is the same to us: there is no answer.
            let read = read.or_else(|error| match error.kind() {
                ErrorKind::UnexpectedEof => Ok(0),
                _ => Err(format!("the mail server is gone: {error}")),
            })?;
            if read == 0 {
                return Err(format!("the mail server hung up instead of answering {what}").into());
            }
            let text = String::from_utf8_lossy(&raw).into_owned();
            let text = text.trim_end_matches(['\r', '\n']);
            let code = text.get(..3).and_then(|code| code.parse::<u16>().ok());
            let (Some(code), true) = (code, raw.ends_with(b"\n")) else {
                return Err("the mail server does not speak SMTP".into());
            };
            let more = text.as_bytes().get(3) == Some(&b'-');
            texts.push(text.get(4..).unwrap_or_default().to_owned());
            if more {
                continue;
            }
            if code == wanted || (wanted == 250 && code == 251) {
                return Ok(texts);
            }
            let said: String = line(texts.join(" ").trim()).chars().take(SAID_MAX).collect();
            let why = format!("the mail server refuses {what}: {code} {said}");
            return Err(match (code, what) {
                (530, _) => Wrong::with(why, "say --user, the account at the mail server"),
                (535, _) => Wrong::with(why, "check --user and the password, and give them anew"),
                (_, "the sender") => Wrong::with(why, "say --from with an address that it takes"),
                (_, "the recipient") => {
                    Wrong::with(why, "check --to, and --user where it wants one")
                }
                _ => why.into(),
            });
        }
        Err("the mail server's answer does not end".into())
    }
}

/// Lines end in CRLF, and none begins with a lone dot (RFC 5321 §4.5.2); the end mark follows.
fn stuffed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    for one in text.split_inclusive(|byte| *byte == b'\n') {
        let one = one.strip_suffix(b"\n").unwrap_or(one);
        let one = one.strip_suffix(b"\r").unwrap_or(one);
        if one.starts_with(b".") {
            out.push(b'.');
        }
        // A bare CR could be read as an end of line by somebody else.
        out.extend(one.iter().filter(|byte| **byte != b'\r'));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(bytes))
}

/// Servers that let spammers wait do so for some seconds.
const GREETING_MAX: Duration = Duration::from_secs(30);
/// We have no name that a mail server could check.
const HELLO: &str = "EHLO localhost";
/// RFC 5321 §4.5.3.1 has 256 for a path.
const ADDRESS_MAX: usize = 254;
/// RFC 5321 §4.5.3.1.5 has 512; servers write more.
const ANSWER_LINE_MAX: usize = 2_048;
const ANSWER_LINES_MAX: usize = 64;
/// What of a refusal is told.
const SAID_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_mail_ends_it() {
        assert_eq!(stuffed(b"a\n.\r\n..b\rc"), b"a\r\n..\r\n...bc\r\n.\r\n");
    }

    #[test]
    fn addresses_hold_nothing_else() {
        assert_eq!(address("grace@example.com").unwrap(), "grace@example.com");
        for wrong in [
            "",
            "grace",
            "a@b>\r\nRCPT TO:<c@d",
            "a@example.com\r\nDATA",
            "\"a b\"@example.com",
            "a@[192.0.2.1]",
            "grace@example.com, b@example.com",
        ] {
            assert!(address(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn headers_are_what_we_wrote_whatever_stands_in_them() {
        let letter = Letter {
            id: "1-2-3".to_owned(),
            subject: "x\r\nBcc: all@example.com\u{202e} für Ärzte".to_owned(),
            body: "Über 10 Versuche\n.\nEnde\n".to_owned(),
        };
        let to = ["grace@example.com".to_owned()];
        let text = String::from_utf8(written("pbx@example.com", &to, &letter).unwrap()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(head.contains("Message-ID: <1-2-3.ringfence@example.com>"), "{head}");
        assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
        assert!(text.is_ascii());
    }
}
