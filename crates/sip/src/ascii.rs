//! Character classes of RFC 3261 §25.1 as one table, so that every grammar rule is a byte look-up.

/// `token` characters (§25.1): methods, header names, parameter names, transports.
pub(crate) const TOKEN: u16 = 1;
/// `unreserved` and `user-unreserved`: what a user part may show unescaped.
pub(crate) const USER: u16 = 1 << 1;
/// `unreserved` and `& = + $ ,`: a password unescaped.
pub(crate) const PASSWORD: u16 = 1 << 2;
/// `paramchar` without escapes.
pub(crate) const PARAM: u16 = 1 << 3;
/// `hnv-unreserved` and `unreserved`: header names and values inside a URI.
pub(crate) const URI_HEADER: u16 = 1 << 4;
/// `word`: the two halves of a Call-ID.
pub(crate) const WORD: u16 = 1 << 5;
/// What a URI of a scheme we do not know may contain without escapes (RFC 3986).
pub(crate) const OPAQUE: u16 = 1 << 6;
/// Controls other than HTAB, and DEL: never bare in a header value.
pub(crate) const CONTROL: u16 = 1 << 7;

/// What a host name is made of: letters, digits, hyphens and the dots between.
pub(crate) const HOST: u16 = 1 << 8;

static CLASS: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut class = [0u16; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        let mut bits = 0;
        let unreserved = b.is_ascii_alphanumeric() || contains(b"-_.!~*'()", b);
        if b.is_ascii_alphanumeric() || contains(b"-.!%*_+`'~", b) {
            bits |= TOKEN;
        }
        if unreserved || contains(b"&=+$,;?/", b) {
            bits |= USER;
        }
        if unreserved || contains(b"&=+$,", b) {
            bits |= PASSWORD;
        }
        if unreserved || contains(b"[]/:&+$", b) {
            bits |= PARAM;
        }
        if unreserved || contains(b"[]/?:+$", b) {
            bits |= URI_HEADER;
        }
        if b.is_ascii_alphanumeric() || contains(b"-.!%*_+`'~()<>:\\\"/[]?{}", b) {
            bits |= WORD;
        }
        if unreserved || contains(b";/?:@&=+$,[]#", b) {
            bits |= OPAQUE;
        }
        if (b < 0x20 && b != b'\t') || b == 0x7f {
            bits |= CONTROL;
        }
        if b.is_ascii_alphanumeric() || b == b'-' || b == b'.' {
            bits |= HOST;
        }
        class[byte] = bits;
        byte += 1;
    }
    class
}

const fn contains(set: &[u8], b: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == b {
            return true;
        }
        i += 1;
    }
    false
}

pub(crate) fn is(b: u8, class: u16) -> bool {
    CLASS[usize::from(b)] & class != 0
}

/// True when every byte is of the class. Empty is true: callers ask for emptiness themselves.
pub(crate) fn all(text: &[u8], class: u16) -> bool {
    text.iter().all(|&b| is(b, class))
}

/// True for a non-empty `token`.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && all(text, TOKEN)
}

/// True when every byte is of the class or part of a `%HH` escape.
pub(crate) fn all_or_escaped(text: &[u8], class: u16) -> bool {
    let mut rest = text;
    loop {
        // No class that is asked for here holds a bare `%`.
        rest = &rest[rest.iter().take_while(|&&b| is(b, class)).count()..];
        match rest {
            [] => return true,
            [b'%', high, low, behind @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest = behind;
            }
            _ => return false,
        }
    }
}

pub(crate) fn is_space(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// The number of leading spaces and tabs.
pub(crate) fn spaces(text: &[u8]) -> usize {
    text.iter().take_while(|&&b| is_space(b)).count()
}

pub(crate) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let lead = spaces(bytes);
    let trail = bytes[lead..].iter().rev().take_while(|&&b| is_space(b)).count();
    &text[lead..text.len() - trail]
}

/// What stands before and behind the first such byte, which is ASCII.
pub(crate) fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    debug_assert!(at.is_ascii());
    let found = memchr::memchr(at, text.as_bytes())?;
    Some((&text[..found], &text[found + 1..]))
}

/// `1*DIGIT` up to `max`. Signs, hex, spaces, lists and anything above `max` are `None`; leading
/// zeros are digits like others (RFC 4475 §3.1.1.1 has `0009`).
pub(crate) fn number(text: &[u8], max: u64) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &b| {
        if !b.is_ascii_digit() {
            return None;
        }
        let sum = sum.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
        (sum <= max).then_some(sum)
    })
}

/// True when no byte is a control other than HTAB. Without branches, so that it becomes vector code.
pub(crate) fn all_but_control(text: &[u8]) -> bool {
    !text.iter().fold(false, |found, &b| found | ((b < 0x20) & (b != b'\t')) | (b == 0x7f))
}

/// How many bytes are no visible ASCII and no space. Counted in chunks that a byte can count, so that it
/// becomes vector code.
pub(crate) fn invisible(text: &[u8]) -> usize {
    let count = |chunk: &[u8]| -> u8 {
        chunk.iter().map(|b| u8::from(b.wrapping_sub(b' ') > b'~' - b' ')).sum()
    };
    text.chunks(128).map(|chunk| usize::from(count(chunk))).sum()
}
