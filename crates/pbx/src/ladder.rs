//! A message as the call's ladder shows it: everything that helps to understand the signalling, and
//! nothing that opens it.
//!
//! With TLS on every leg nobody else can show what was said, so the exchange does. Struck out are
//! credentials (`Authorization`, `Proxy-Authorization`), media keys (`inline:` of RFC 4568, `k=` of
//! RFC 8866 §5.12, `a=key-mgmt`), and the whole body of INFO, which carries what a caller types into
//! a bank. The text is taken from the bytes as they were on the wire, not from our parse, so a message
//! that we misread shows itself.

use memchr::{memchr, memchr_iter};

/// What stands where something was struck out.
pub const STRUCK: &str = "(struck out)";

/// The message as text, line ends as `\n`. Bytes that aren't UTF-8 are replaced; control characters
/// too, so that a hostile message can't move the cursor of whoever reads it. At most
/// [`TEXT_MAX`] bytes; the rest is counted.
pub fn redact(message: &[u8]) -> String {
    let (head, body) = split(message);
    let mut text = Vec::with_capacity(message.len().min(TEXT_MAX) + STRUCK.len());
    // A response to INFO is recognised by its CSeq: it may echo what was sent.
    let mut digits = head.starts_with(b"INFO ");
    let mut secret = false;
    for line in lines(head) {
        // A folded line continues the header above it (RFC 3261 §7.3.1), secrets included.
        let folded = line.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
        if folded && secret {
            continue;
        }
        let colon = memchr(b':', line).unwrap_or(line.len());
        let name = line[..colon].trim_ascii();
        secret = !folded && CREDENTIALS.iter().any(|known| name.eq_ignore_ascii_case(known));
        digits |= name.eq_ignore_ascii_case(b"CSeq") && line.trim_ascii_end().ends_with(b"INFO");
        if secret {
            push(&mut text, name);
            text.extend_from_slice(b": ");
            text.extend_from_slice(STRUCK.as_bytes());
        } else {
            push_without_keys(&mut text, line);
        }
        text.push(b'\n');
    }
    if !body.is_empty() {
        text.push(b'\n');
        if digits {
            text.extend_from_slice(STRUCK.as_bytes());
            text.push(b'\n');
        } else {
            for line in lines(body) {
                if line.starts_with(b"k=") {
                    text.extend_from_slice(b"k=");
                    text.extend_from_slice(STRUCK.as_bytes());
                } else if starts_with(line, b"a=key-mgmt") {
                    text.extend_from_slice(b"a=key-mgmt:");
                    text.extend_from_slice(STRUCK.as_bytes());
                } else {
                    push_without_keys(&mut text, line);
                }
                text.push(b'\n');
            }
        }
    }
    let mut text = String::from_utf8(text).expect("each line was made UTF-8");
    if text.len() > TEXT_MAX {
        let mut cut = TEXT_MAX;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let left = text.len() - cut;
        text.truncate(cut);
        text.push_str(&format!("\n({left} more bytes)\n"));
    }
    text
}

fn push_without_keys(text: &mut Vec<u8>, line: &[u8]) {
    let inline = |at: &usize| {
        at.checked_sub(b"inline".len())
            .is_some_and(|from| line[from..*at].eq_ignore_ascii_case(b"inline"))
    };
    let Some(at) = memchr_iter(b':', line).find(inline) else { return push(text, line) };
    // Everything behind the first key: the line may hold several.
    push(text, &line[..=at]);
    text.extend_from_slice(STRUCK.as_bytes());
}

fn push(text: &mut Vec<u8>, bytes: &[u8]) {
    // Without an early end, so that it is done many bytes at a time.
    if bytes.iter().fold(true, |plain, b| plain & matches!(b, b' '..=b'~')) {
        return text.extend_from_slice(bytes);
    }
    let read = String::from_utf8_lossy(bytes);
    let shown: String = read.chars().map(shown).collect();
    text.extend_from_slice(shown.as_bytes());
}

fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let found = memchr_iter(b'\n', message).find_map(|at| match &message[at + 1..] {
        [b'\n', ..] => Some((at, at + 2)),
        [b'\r', b'\n', ..] if at > 0 && message[at - 1] == b'\r' => Some((at - 1, at + 3)),
        _ => None,
    });
    match found {
        Some((end, body)) => (&message[..end], &message[body..]),
        None => (message, &[]),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let line = match memchr(b'\n', text) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                &text[..at]
            }
            None => {
                rest = None;
                text
            }
        };
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

fn starts_with(line: &[u8], prefix: &[u8]) -> bool {
    line.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// Header names whose value proves who somebody is.
const CREDENTIALS: [&[u8]; 2] = [b"Authorization", b"Proxy-Authorization"];

/// A phone's INVITE has 2 kB; a ladder of a hundred messages must stay readable and storable.
pub const TEXT_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_leave_and_the_rest_stays() {
        let text = redact(
            b"INVITE sip:102@pbx SIP/2.0\r\n\
              Call-ID: x\r\n\
              proxy-authorization : Digest username=\"101\",\r\n response=\"0123\"\r\n\
              Subject: a\x1b[2Jb\r\n\
              \r\n\
              v=0\r\n\
              k=clear:secret\r\n\
              a=crypto:1 AES_CM_128_HMAC_SHA1_80 INLINE:d0Rm|2^20;inline:abcd\r\n\
              a=key-mgmt:mikey AQAF\r\n\
              a=sendrecv\r\n",
        );
        for secret in ["0123", "username", "d0Rm", "abcd", "clear", "AQAF", "\x1b"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for kept in ["INVITE sip:102@pbx", "Call-ID: x", "AES_CM_128", "a=sendrecv", "Subject"] {
            assert!(text.contains(kept), "{kept} not in {text}");
        }
    }

    #[test]
    fn digits_leave() {
        let info = b"INFO sip:102@pbx SIP/2.0\r\nCSeq: 3 INFO\r\n\r\nSignal=5\r\nDuration=160\r\n";
        assert!(!redact(info).contains("Signal"));
        let reply = b"SIP/2.0 200 OK\r\nCSeq: 3 INFO\r\n\r\nSignal=5\r\n";
        assert!(!redact(reply).contains("Signal"));
        let other = b"SIP/2.0 200 OK\r\nCSeq: 3 INVITE\r\n\r\na=ptime:20\r\n";
        assert!(redact(other).contains("a=ptime:20"));
    }

    #[test]
    fn a_long_message_is_cut() {
        let long = vec![b'x'; 3 * TEXT_MAX];
        let text = redact(&long);
        assert!(text.len() < TEXT_MAX + 64 && text.contains("more bytes"));
    }
}
