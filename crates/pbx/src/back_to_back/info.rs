//! Keys of the telephone in INFO: the two bodies that phones use, read into one key and written anew.
//!
//! Neither is a standard; both are what a phone sends that has no RFC 4733 (or was told not to use
//! it). Anything else in INFO is refused: nothing crosses that we don't understand.

use sip::Request;

/// What we say we take.
pub(crate) const ACCEPT: &str = "application/sdp, application/dtmf-relay, application/dtmf";

/// One press of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    signal: char,
    /// Milliseconds, [`DURATION_MIN`] to [`DURATION_MAX`].
    duration: u16,
}

pub(crate) fn read(request: &Request) -> Option<Key> {
    let body = std::str::from_utf8(request.body()).ok().filter(|body| body.len() <= BODY_MAX)?;
    let headers = request.headers();
    if headers.content_type_is("application/dtmf") {
        return Some(Key { signal: signal(body.trim())?, duration: DURATION_USUAL });
    }
    if !headers.content_type_is("application/dtmf-relay") {
        return None;
    }
    let (mut found, mut duration) = (None, DURATION_USUAL);
    for line in body.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        match name.trim() {
            name if name.eq_ignore_ascii_case("Signal") => found = signal(value.trim()),
            name if name.eq_ignore_ascii_case("Duration") => {
                let said = value.trim().parse::<u16>().unwrap_or(DURATION_USUAL);
                duration = said.clamp(DURATION_MIN, DURATION_MAX);
            }
            _ => {}
        }
    }
    Some(Key { signal: found?, duration })
}

/// Written as the form that carries the duration.
pub(crate) fn write(key: &Key) -> (&'static str, String) {
    let body = format!("Signal={}\r\nDuration={}\r\n", key.signal, key.duration);
    ("application/dtmf-relay", body)
}

/// A key by its character; some phones number star and hash 10 and 11 as RFC 4733 does.
fn signal(text: &str) -> Option<char> {
    match text {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut chars = text.chars();
            let key = chars.next()?.to_ascii_uppercase();
            let one = chars.next().is_none() && matches!(key, '0'..='9' | 'A'..='D' | '*' | '#');
            one.then_some(key)
        }
    }
}

/// Two short lines.
const BODY_MAX: usize = 128;
const DURATION_USUAL: u16 = 160;
/// ITU-T Q.24: shorter tones need not be recognised.
const DURATION_MIN: u16 = 40;
/// A key that is leant on.
const DURATION_MAX: u16 = 5_000;
