//! The answer to a request that is refused: stateless, and only where each copied header is sound.

use crate::header::{CSeq, Elements, Name, NameAddrParts, ViaParts};
use crate::message::{HEADERS_MAX, Lines, MESSAGE_MAX, Message, Response, judge_call_id};
use crate::{Status, Violation, ascii};
use bytes::Bytes;

/// Makes the answer, or none when the message is no request, is an ACK, or lacks a sound Via, From,
/// To, Call-ID or CSeq to copy: an answer from guesses would go to whom an attacker names.
pub(crate) fn reply(bytes: &Bytes, violation: Violation) -> Option<Response> {
    let status = violation.status()?;
    if bytes.len() > MESSAGE_MAX {
        return None;
    }
    let mut lines = Lines { bytes, at: 0 };
    let line = lines.next().ok()?;
    let start = &bytes[usize::from(line.start)..usize::from(line.end)];
    if start.get(..4)?.eq_ignore_ascii_case(b"SIP/") || start.starts_with(b"ACK ") {
        return None;
    }
    let mut head = format!("SIP/2.0 {status} {}\r\n", reason(status, violation));
    let mut seen = [0u32; 5];
    for _ in 0..HEADERS_MAX {
        let line = lines.next().ok()?;
        if line.is_empty() {
            break;
        }
        let text =
            std::str::from_utf8(&bytes[usize::from(line.start)..usize::from(line.end)]).ok()?;
        let (name, value) = text.split_once(':')?;
        let (name, value) = (Name::parse(name.trim_end().as_bytes()), ascii::trim(value));
        let (slot, sound) = match name {
            Name::Via => (0, Elements::new(value).all(|v| ViaParts::judge(v).is_ok())),
            Name::From => (1, NameAddrParts::judge(value).is_ok()),
            Name::To => (2, NameAddrParts::judge(value).is_ok()),
            Name::CallId => (3, judge_call_id(value, line).is_ok()),
            Name::CSeq => (4, CSeq::judge(value).is_ok_and(|c| c.method != crate::Method::Ack)),
            _ => continue,
        };
        if !sound {
            return None;
        }
        seen[slot] += 1;
        head.push_str(name.as_str());
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    if seen[0] == 0 || seen[1..] != [1, 1, 1, 1] {
        return None;
    }
    head.push_str("Content-Length: 0\r\n\r\n");
    match Message::parse(head.into()) {
        Ok(Message::Response(response)) => Some(response),
        Ok(Message::Request(_)) | Err(_) => None,
    }
}

/// A 400 says which rule was broken (RFC 3261 §21.4.1); the others are plain.
fn reason(status: Status, violation: Violation) -> String {
    if status == Status::BAD_REQUEST {
        format!("Bad Request: {violation}")
    } else {
        status.default_reason().to_owned()
    }
}
