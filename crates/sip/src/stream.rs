//! Framing over TCP and TLS: bytes in, whole messages and keep-alives out (RFC 3261 §18.3, RFC 5626).
//!
//! Drive it so: [`Framer::push`] what has come, then [`Framer::next`] until it is `Ok(None)`. An error
//! is the end of the connection: after it nobody knows where the next message begins. The work is
//! linear in the bytes, even when they come one at a time, and the buffer never holds more than one
//! message and one push.

use crate::header::Name;
use crate::message::MESSAGE_MAX;
use crate::{Violation, ascii};
use bytes::{Buf, Bytes, BytesMut};

/// The longest head on a stream: the rest of a message is left to its body. What is longer than this
/// without an empty line is no SIP.
pub const HEAD_MAX: usize = 32 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`crate::Message::parse`].
    Message(Bytes),
    /// A double CR LF: answer with [`PONG`] (RFC 5626 §4.4.1).
    Ping,
    /// A single CR LF: the answer to a ping of ours.
    Pong,
}

/// What a ping is answered with, and what [`Frame::Pong`] was.
pub const PONG: &[u8] = b"\r\n";
/// What we send to keep a flow alive.
pub const PING: &[u8] = b"\r\n\r\n";

/// Cuts one direction of a connection into frames.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// How far the head has been searched for its end.
    searched: usize,
    /// The whole length of the message whose head is complete.
    expected: Option<usize>,
    fault: Option<Violation>,
}

impl Framer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has come. At most [`MESSAGE_MAX`] bytes wait for the rest of a message, so a reader
    /// that drains after each push holds one message and one read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.fault.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The bytes that wait for more.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// True inside a message that has begun: a connection that stays so is slow on purpose.
    pub fn is_mid_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// The rule that was broken; the same again on every later call. Close the connection.
    #[allow(clippy::should_implement_trait, reason = "an iterator has no error that lasts")]
    pub fn next(&mut self) -> Result<Option<Frame>, Violation> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let result = self.cut();
        if let Err(fault) = result {
            self.fault = Some(fault);
            self.buffer = BytesMut::new();
        }
        result
    }

    fn cut(&mut self) -> Result<Option<Frame>, Violation> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => match self.buffer[..] {
                [] | [b'\r'] => return Ok(None),
                [b'\r', b'\n', b'\r', b'\n', ..] => {
                    return Ok(Some(self.keep_alive(Frame::Ping, 4)));
                }
                // The second half of a ping may still be on its way: whoever waits for a pong calls
                // `pong_if_pending` when nothing follows.
                [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Ok(None),
                [b'\r', b'\n', ..] => return Ok(Some(self.keep_alive(Frame::Pong, 2))),
                _ => match self.head_len()? {
                    None => return Ok(None),
                    Some(head_len) => {
                        let len = head_len + content_length(&self.buffer[..head_len])?;
                        if len > MESSAGE_MAX {
                            return Err(Violation::MessageTooLong);
                        }
                        *self.expected.insert(len)
                    }
                },
            },
        };
        if self.buffer.len() < expected {
            return Ok(None);
        }
        self.expected = None;
        self.searched = 0;
        // An idle connection keeps no buffer.
        let message = match self.buffer.len() == expected {
            true => std::mem::take(&mut self.buffer),
            false => self.buffer.split_to(expected),
        };
        Ok(Some(Frame::Message(message.freeze())))
    }

    /// Call when the connection has been drained: a lone CR LF then is a pong and not half a ping.
    pub fn pong_if_pending(&mut self) -> Option<Frame> {
        if self.fault.is_none() && self.expected.is_none() && self.buffer[..] == *PONG {
            return Some(self.keep_alive(Frame::Pong, 2));
        }
        None
    }

    fn keep_alive(&mut self, frame: Frame, len: usize) -> Frame {
        self.buffer.advance(len);
        frame
    }

    /// The length of the head with its empty line. Each byte is looked at once: the search goes on
    /// where it ended, less the three bytes that may be the beginning of the end.
    fn head_len(&mut self) -> Result<Option<usize>, Violation> {
        let from = self.searched.saturating_sub(3);
        match memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n") {
            Some(at) if from + at + 4 <= HEAD_MAX => Ok(Some(from + at + 4)),
            Some(_) => Err(Violation::MessageTooLong),
            None if self.buffer.len() > HEAD_MAX => Err(Violation::MessageTooLong),
            None => {
                self.searched = self.buffer.len();
                Ok(None)
            }
        }
    }
}

/// The one Content-Length of a head (RFC 3261 §18.3: mandatory on streams). A folded Content-Length is
/// legal and of no use; here it is refused, since framing must not depend on how lines are joined.
fn content_length(head: &[u8]) -> Result<usize, Violation> {
    let mut found = None;
    let mut was_length = false;
    for line in head.split(|&b| b == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Whoever takes it for a line end would find another length.
        if memchr::memchr(b'\r', line).is_some() {
            return Err(Violation::BareLineEnd);
        }
        if line.first().is_some_and(|&b| ascii::is_space(b)) {
            if was_length {
                return Err(Violation::ContentLength);
            }
            continue;
        }
        was_length = false;
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = line[..colon].trim_ascii_end();
        match Name::parse(name) {
            Name::ContentLength => {}
            // And whoever takes what stands there for a blank.
            Name::Other if !ascii::is_token(name) => return Err(Violation::HeaderName),
            _ => continue,
        }
        was_length = true;
        let value = line[colon + 1..].trim_ascii();
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Violation::ContentLength);
        }
        let len = ascii::number(value, MESSAGE_MAX as u64).ok_or(Violation::MessageTooLong)?;
        if found.replace(len as usize).is_some() {
            return Err(Violation::Repeated);
        }
    }
    found.ok_or(Violation::MissingContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;
    use proptest::prelude::*;

    const ONE: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                       To: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nl: 4\r\n\r\n\r\n\r\n";

    fn frames(chunks: &[&[u8]]) -> Result<Vec<Frame>, Violation> {
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            while let Some(frame) = framer.next()? {
                frames.push(frame);
            }
        }
        frames.extend(framer.pong_if_pending());
        Ok(frames)
    }

    /// Whoever reads a carriage return as a line end, or a vertical tab as a blank, finds another length there.
    #[test]
    fn what_could_hide_a_length_ends_the_connection() {
        for (row, fault) in [
            ("X: a\rContent-Length: 9", Violation::BareLineEnd),
            ("Content-Length\u{b}: 9", Violation::HeaderName),
            ("Content-Length\u{a0}: 9", Violation::HeaderName),
            ("Content-Length\0: 9", Violation::HeaderName),
        ] {
            let text = ONE.replacen("l: 4", &format!("{row}\r\nl: 4"), 1);
            assert_eq!(frames(&[text.as_bytes()]), Err(fault), "{row:?}");
        }
        let escaped = ONE.replacen("l: 4", "Subject: \"a\\\u{b}b\"\r\nl: 4", 1);
        assert!(frames(&[escaped.as_bytes()]).is_ok());
    }

    #[test]
    fn messages_and_keep_alives_are_told_apart() {
        let whole = format!("\r\n\r\n{ONE}\r\n{ONE}\r\n\r\n\r\n");
        let message = Frame::Message(Bytes::from_static(ONE.as_bytes()));
        let expect = [Frame::Ping, message.clone(), Frame::Pong, message, Frame::Ping, Frame::Pong];
        assert_eq!(frames(&[whole.as_bytes()]).unwrap(), expect);
        let bytes: Vec<&[u8]> = whole.as_bytes().chunks(1).collect();
        assert_eq!(frames(&bytes).unwrap(), expect);
    }

    #[test]
    fn framing_faults_are_terminal() {
        let with = |row: &str| ONE.replace("l: 4", row);
        for (bytes, violation) in [
            (with("X: 4"), Violation::MissingContentLength),
            (with("l: 4\r\nl: 4"), Violation::Repeated),
            (with("l: 4\r\nContent-Length : 4"), Violation::Repeated),
            (with("l: +4"), Violation::ContentLength),
            (with("l: 4\r\n 4"), Violation::ContentLength),
            (with("l:\r\n 4"), Violation::ContentLength),
            (with("l: 99999"), Violation::MessageTooLong),
            (with("l: 65500"), Violation::MessageTooLong),
            ("a".repeat(HEAD_MAX + 1), Violation::MessageTooLong),
        ] {
            let mut framer = Framer::new();
            framer.push(bytes.as_bytes());
            assert_eq!(framer.next(), Err(violation), "{}", &bytes[..60]);
            framer.push(ONE.as_bytes());
            assert_eq!(framer.next(), Err(violation));
            assert_eq!((framer.pending(), framer.pong_if_pending()), (0, None));
        }
    }

    #[test]
    fn a_byte_at_a_time_is_linear() {
        // A head of HEAD_MAX bytes looked at from its start for each byte would take 500 million steps;
        // what is counted here is how far each step looks back.
        let mut framer = Framer::new();
        for i in 0..HEAD_MAX {
            framer.push(b"a");
            assert_eq!(framer.next(), Ok(None));
            assert_eq!(framer.searched, i + 1);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn chunks_make_no_difference(cuts in prop::collection::vec(0usize..400, 0..8), n in 1usize..4) {
            let whole = ONE.repeat(n);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &whole.as_bytes()[w[0]..w[1]]).collect();
            let frames = frames(&chunks).unwrap();
            prop_assert_eq!(frames.len(), n);
            for frame in frames {
                let Frame::Message(bytes) = frame else { panic!("{frame:?}") };
                prop_assert_eq!(Message::parse(bytes).unwrap().body().len(), 4);
            }
        }

        #[test]
        fn any_bytes_are_framed_without_panic(bytes in "[\r\nl:a 0-9]{0,80}") {
            let _ = frames(&[bytes.as_bytes()]);
        }
    }
}
