//! Character classes of RFC 3261 §25.1 as one table, so that every grammar rule is a byte look-up.

/// `token` characters (§25.1): methods, header names, parameter names, transports.
pub(crate) const TOKEN: u8 = 1;
/// `unreserved` and `user-unreserved`: what a user part may show unescaped.
pub(crate) const USER: u8 = 1 << 1;
/// `unreserved` and `& = + $ ,`: a password unescaped.
pub(crate) const PASSWORD: u8 = 1 << 2;
/// `paramchar` without escapes.
pub(crate) const PARAM: u8 = 1 << 3;
/// `hnv-unreserved` and `unreserved`: header names and values inside a URI.
pub(crate) const URI_HEADER: u8 = 1 << 4;
/// `word`: the two halves of a Call-ID.
pub(crate) const WORD: u8 = 1 << 5;
/// What a URI of a scheme we do not know may contain without escapes (RFC 3986).
pub(crate) const OPAQUE: u8 = 1 << 6;
/// Controls other than HTAB, and DEL: never bare in a header value.
pub(crate) const CONTROL: u8 = 1 << 7;

static CLASS: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut class = [0u8; 256];
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

pub(crate) fn is(b: u8, class: u8) -> bool {
    CLASS[usize::from(b)] & class != 0
}

/// True when every byte is of the class. Empty is true: callers ask for emptiness themselves.
pub(crate) fn all(text: &[u8], class: u8) -> bool {
    text.iter().all(|&b| is(b, class))
}

/// True for a non-empty `token`.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && all(text, TOKEN)
}

/// True when every byte is of the class or part of a `%HH` escape.
pub(crate) fn all_or_escaped(text: &[u8], class: u8) -> bool {
    let mut i = 0;
    while i < text.len() {
        if is(text[i], class) && text[i] != b'%' {
            i += 1;
        } else if text[i] == b'%'
            && i + 2 < text.len()
            && text[i + 1].is_ascii_hexdigit()
            && text[i + 2].is_ascii_hexdigit()
        {
            i += 3;
        } else {
            return false;
        }
    }
    true
}

pub(crate) fn is_space(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// The number of leading spaces and tabs.
pub(crate) fn spaces(text: &[u8]) -> usize {
    text.iter().take_while(|&&b| is_space(b)).count()
}

pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
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
