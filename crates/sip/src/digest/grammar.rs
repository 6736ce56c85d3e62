//! The header values of digest authentication, parsed strictly and written (RFC 3261 §25.1, RFC 7616 §3.3-3.4).

use std::borrow::Cow;
use std::fmt;

use super::{Algorithm, Hashed};
use crate::ascii;

/// What a client proves: the value of `Authorization` or `Proxy-Authorization`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials<'a> {
    pub username: Cow<'a, str>,
    pub realm: Cow<'a, str>,
    pub nonce: Cow<'a, str>,
    /// The digest-uri: the Request-URI as its sender saw it.
    pub uri: Cow<'a, str>,
    pub algorithm: Algorithm,
    /// Absent from clients of RFC 2069. [`super::Nonces`] refuses those: without a count there is no
    /// telling a replay.
    pub qop: Option<Qop<'a>>,
    pub opaque: Option<Cow<'a, str>>,
    pub(super) response: Hashed,
}

/// `qop=auth` with what it demands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Qop<'a> {
    /// nc: how many requests were sent with this nonce, this one included.
    pub count: u32,
    pub cnonce: Cow<'a, str>,
}

/// What a server asks: the value of `WWW-Authenticate` or `Proxy-Authenticate`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge<'a> {
    pub realm: Cow<'a, str>,
    pub nonce: Cow<'a, str>,
    pub opaque: Option<Cow<'a, str>>,
    pub algorithm: Algorithm,
    /// The nonce of the last attempt was too old; the password was not judged.
    pub stale: bool,
    /// Whether `qop` offers `auth`. False only for servers of RFC 2069.
    pub auth: bool,
}

/// What is wrong with a header value: the peer's fault, answered 400 (or ignored, in a challenge).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Another scheme than Digest, such as Basic, which RFC 3261 §22 forbids.
    OtherScheme,
    /// Over [`VALUE_LEN_MAX`] bytes, or more than [`PARAMETERS_MAX`] parameters.
    TooLong,
    /// Not the grammar of RFC 3261 §25.1; not UTF-8; or a control character within quotes.
    Syntax,
    /// One parameter twice: two readers could take two different ones.
    Repeated,
    /// A parameter that must be there isn't.
    Missing(&'static str),
    /// A parameter whose value can't be: a count that is not eight digits, a response of the wrong length.
    Invalid(&'static str),
    /// An algorithm or a quality of protection that is not spoken here.
    Unsupported(&'static str),
    /// Credentials for another realm than ours. Another proxy may be meant.
    OtherRealm,
    /// The digest-uri names another target than the Request-URI (RFC 7616 §3.4.6): on UDP a bystander
    /// could change whom an authenticated INVITE calls.
    OtherTarget,
}

impl<'a> Credentials<'a> {
    /// Parses one header value. Unknown parameters are skipped (RFC 7616 §3.4), repeated ones refused.
    pub fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        let mut parameters = Parameters::parse(value)?;
        let algorithm = parameters.algorithm()?;
        if parameters.take("userhash").is_some_and(|(text, _)| !text.eq_ignore_ascii_case("false"))
        {
            return Err(Fault::Unsupported("userhash"));
        }
        let qop = match parameters.take("qop") {
            // Quotes around qop break RFC 7616 §3.4, but phones write them and only one reading exists.
            Some((qop, _)) if qop.eq_ignore_ascii_case("auth") => {
                let (count, quoted) = parameters.take("nc").ok_or(Fault::Missing("nc"))?;
                let hex =
                    !quoted && count.len() == 8 && count.bytes().all(|b| b.is_ascii_hexdigit());
                let count = u32::from_str_radix(&count, 16).ok().filter(|count| hex && *count > 0);
                Some(Qop {
                    count: count.ok_or(Fault::Invalid("nc"))?,
                    cnonce: parameters.quoted("cnonce")?,
                })
            }
            Some(_) => return Err(Fault::Unsupported("qop")),
            None => None,
        };
        let response = parameters.quoted("response")?;
        Ok(Self {
            username: parameters.quoted("username")?,
            realm: parameters.quoted("realm")?,
            nonce: parameters.quoted("nonce")?,
            uri: parameters.quoted("uri")?,
            algorithm,
            qop,
            opaque: parameters.quoted_if_there("opaque")?,
            response: Hashed::from_hex(algorithm, &response).ok_or(Fault::Invalid("response"))?,
        })
    }

    /// The value among several that answers `realm` (RFC 3261 §22.3: a request carries credentials for
    /// each proxy on its way). `None` where none does; the fault where one is malformed and none fits.
    pub fn for_realm(
        values: impl IntoIterator<Item = &'a [u8]>,
        realm: &str,
    ) -> Option<Result<Self, Fault>> {
        let mut fault = None;
        for value in values.into_iter().take(VALUES_MAX) {
            match Self::parse(value) {
                Ok(credentials) if credentials.realm == realm => return Some(Ok(credentials)),
                // Credentials of another scheme are for somebody else (RFC 4475 §3.3.7).
                Ok(_) | Err(Fault::OtherScheme) => {}
                Err(found) => fault = fault.or(Some(Err(found))),
            }
        }
        fault
    }
}

/// The header value.
impl fmt::Display for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\", algorithm={}",
            Quoted(&self.username),
            Quoted(&self.realm),
            Quoted(&self.nonce),
            Quoted(&self.uri),
            *self.response.hex(),
            self.algorithm.token(),
        )?;
        if let Some(Qop { count, cnonce }) = &self.qop {
            write!(f, ", qop=auth, nc={count:08x}, cnonce={}", Quoted(cnonce))?;
        }
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        Ok(())
    }
}

impl<'a> Challenge<'a> {
    /// Parses one header value.
    pub fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        let mut parameters = Parameters::parse(value)?;
        let algorithm = parameters.algorithm()?;
        let auth = match parameters.take("qop") {
            Some((options, _)) => {
                let auth = options.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth"));
                auth.then_some(true).ok_or(Fault::Unsupported("qop"))?
            }
            None => false,
        };
        Ok(Self {
            realm: parameters.quoted("realm")?,
            nonce: parameters.quoted("nonce")?,
            opaque: parameters.quoted_if_there("opaque")?,
            algorithm,
            stale: parameters
                .take("stale")
                .is_some_and(|(flag, _)| flag.eq_ignore_ascii_case("true")),
            auth,
        })
    }

    /// One challenge for each algorithm, the preferred first: each becomes a header field of its own
    /// (RFC 8760 §2.3). Many phones read only the first, so the order is policy.
    pub fn in_order(
        realm: &'a str,
        nonce: &'a str,
        stale: bool,
        order: &'a [Algorithm],
    ) -> impl Iterator<Item = Self> {
        order.iter().map(move |&algorithm| Self {
            realm: realm.into(),
            nonce: nonce.into(),
            opaque: None,
            algorithm,
            stale,
            auth: true,
        })
    }
}

/// The header value.
impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest realm={}, nonce={}", Quoted(&self.realm), Quoted(&self.nonce))?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        write!(f, ", algorithm={}", self.algorithm.token())?;
        if self.auth {
            f.write_str(", qop=\"auth\"")?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        Ok(())
    }
}

/// A quoted-string. What the grammar can't carry (controls, line ends above all) is left out, so no header
/// can be forged.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        for c in self.0.chars().filter(|&c| !c.is_ascii_control() || c == '\t') {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

/// The parameters after `Digest`: name, value without quotes, and whether it had them.
struct Parameters<'a>(Vec<(&'a str, Cow<'a, str>, bool)>);

impl<'a> Parameters<'a> {
    fn parse(value: &'a [u8]) -> Result<Self, Fault> {
        if value.len() > VALUE_LEN_MAX {
            return Err(Fault::TooLong);
        }
        let text = ascii::trim(std::str::from_utf8(value).map_err(|_| Fault::Syntax)?);
        let scheme = text.bytes().position(ascii::is_space).ok_or(Fault::OtherScheme)?;
        if !text[..scheme].eq_ignore_ascii_case("Digest") {
            return Err(Fault::OtherScheme);
        }
        let mut rest = &text[scheme..];
        let mut found: Vec<(&str, Cow<'_, str>, bool)> = Vec::with_capacity(12);
        loop {
            let name;
            (name, rest) = token(behind_spaces(rest))?;
            rest = behind_spaces(rest).strip_prefix('=').ok_or(Fault::Syntax)?;
            rest = behind_spaces(rest);
            let quoted = rest.starts_with('"');
            let value;
            (value, rest) = if quoted {
                quoted_string(rest)?
            } else {
                let (value, rest) = token(rest)?;
                (Cow::Borrowed(value), rest)
            };
            if found.len() == PARAMETERS_MAX {
                return Err(Fault::TooLong);
            }
            if found.iter().any(|(other, ..)| other.eq_ignore_ascii_case(name)) {
                return Err(Fault::Repeated);
            }
            found.push((name, value, quoted));
            rest = behind_spaces(rest);
            if rest.is_empty() {
                return Ok(Self(found));
            }
            rest = rest.strip_prefix(',').ok_or(Fault::Syntax)?;
        }
    }

    fn take(&mut self, name: &str) -> Option<(Cow<'a, str>, bool)> {
        let index = self.0.iter().position(|(known, ..)| known.eq_ignore_ascii_case(name))?;
        let (_, value, quoted) = self.0.swap_remove(index);
        Some((value, quoted))
    }

    /// A parameter that RFC 7616 §3.4 writes only in quotes.
    fn quoted(&mut self, name: &'static str) -> Result<Cow<'a, str>, Fault> {
        self.quoted_if_there(name)?.ok_or(Fault::Missing(name))
    }

    fn quoted_if_there(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, Fault> {
        match self.take(name) {
            Some((value, true)) => Ok(Some(value)),
            Some((_, false)) => Err(Fault::Invalid(name)),
            None => Ok(None),
        }
    }

    /// MD5 where absent (RFC 7616 §3.3).
    fn algorithm(&mut self) -> Result<Algorithm, Fault> {
        match self.take("algorithm") {
            Some((token, _)) => {
                Algorithm::from_token(&token).ok_or(Fault::Unsupported("algorithm"))
            }
            None => Ok(Algorithm::Md5),
        }
    }
}

fn behind_spaces(text: &str) -> &str {
    &text[ascii::spaces(text.as_bytes())..]
}

fn token(text: &str) -> Result<(&str, &str), Fault> {
    let len = text.bytes().take_while(|&b| ascii::is(b, ascii::TOKEN)).count();
    if len == 0 {
        return Err(Fault::Syntax);
    }
    Ok(text.split_at(len))
}

/// The value with its escapes undone, and what follows the closing quote. `text` opens with a quote.
fn quoted_string(text: &str) -> Result<(Cow<'_, str>, &str), Fault> {
    let inner = &text[1..];
    // Nearly all have no escape: what ends the text is the first byte that isn't plain.
    let plain =
        inner.bytes().take_while(|&b| b != b'"' && b != b'\\' && !ascii::is(b, ascii::CONTROL));
    let len = plain.count();
    if inner.as_bytes().get(len) == Some(&b'"') {
        return Ok((Cow::Borrowed(&inner[..len]), &inner[len + 1..]));
    }
    let mut unescaped: Option<String> = None;
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let value = unescaped.map_or(Cow::Borrowed(&inner[..at]), Cow::Owned);
                return Ok((value, &inner[at + 1..]));
            }
            '\\' => {
                let (_, escaped) = chars.next().ok_or(Fault::Syntax)?;
                if !escaped.is_ascii() || escaped.is_ascii_control() {
                    return Err(Fault::Syntax);
                }
                unescaped.get_or_insert_with(|| inner[..at].to_owned()).push(escaped);
            }
            c if c.is_ascii_control() && c != '\t' => return Err(Fault::Syntax),
            c => {
                if let Some(unescaped) = &mut unescaped {
                    unescaped.push(c);
                }
            }
        }
    }
    Err(Fault::Syntax)
}

/// Longest header value. The longest honest one seen (SHA-256, a nonce of 256 bytes) is below 900.
pub const VALUE_LEN_MAX: usize = 2_048;
/// RFC 7616 defines twelve; a few more are left for the future. Each is compared with all others.
pub const PARAMETERS_MAX: usize = 24;
/// Header values looked at in one request: our realm's and a few proxies'.
const VALUES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "Digest username=\"101\", realm=\"pbx\", nonce=\"n\", uri=\"sip:pbx\", \
        response=\"0123456789abcdef0123456789abcdef\", qop=auth, nc=0000000a, cnonce=\"c\"";

    #[test]
    fn reads_what_phones_write() {
        let credentials = Credentials::parse(GOOD.as_bytes()).expect("well-formed");
        assert_eq!(credentials.username, "101");
        assert_eq!(credentials.algorithm, Algorithm::Md5);
        assert_eq!(credentials.qop, Some(Qop { count: 10, cnonce: "c".into() }));
        let again = credentials.to_string();
        assert_eq!(Credentials::parse(again.as_bytes()), Ok(credentials));
    }

    #[test]
    fn refuses_what_two_readers_could_read_two_ways() {
        let with =
            |from: &str, to: &str| Credentials::parse(GOOD.replace(from, to).as_bytes()).err();
        assert_eq!(with("qop=auth", "qop=auth, USERNAME=\"102\""), Some(Fault::Repeated));
        assert_eq!(with("\"101\"", "101"), Some(Fault::Invalid("username")));
        assert_eq!(with("\"101\"", "\"101"), Some(Fault::Syntax));
        assert_eq!(with("\"101\"", "\"1\r\n01\""), Some(Fault::Syntax));
        assert_eq!(with("\"101\",", "\"101\""), Some(Fault::Syntax));
        assert_eq!(with("nc=0000000a", "nc=a"), Some(Fault::Invalid("nc")));
        assert_eq!(with("nc=0000000a", "nc=00000000"), Some(Fault::Invalid("nc")));
        assert_eq!(with("nc=0000000a", "nc=+000000a"), Some(Fault::Invalid("nc")));
        assert_eq!(with("0123456789abcdef\"", "\""), Some(Fault::Invalid("response")));
        assert_eq!(with("qop=auth", "qop=auth-int"), Some(Fault::Unsupported("qop")));
        assert_eq!(with("qop=auth", "algorithm=MD5-sess"), Some(Fault::Unsupported("algorithm")));
        assert_eq!(with(", cnonce=\"c\"", ""), Some(Fault::Missing("cnonce")));
        assert_eq!(with("Digest", "Basic"), Some(Fault::OtherScheme));
        assert_eq!(with("\"c\"", &format!("\"{}\"", "c".repeat(4_000))), Some(Fault::TooLong));
    }

    #[test]
    fn escapes_are_undone_and_redone() {
        let value = GOOD.replace("\"101\"", "\"a\\\"b\\\\c\"");
        let credentials = Credentials::parse(value.as_bytes()).expect("well-formed");
        assert_eq!(credentials.username, "a\"b\\c");
        assert!(credentials.to_string().contains("username=\"a\\\"b\\\\c\""));
    }

    #[test]
    fn challenges_come_one_for_each_algorithm() {
        let order = [Algorithm::Sha256, Algorithm::Md5];
        let lines: Vec<String> =
            Challenge::in_order("pbx", "n", true, &order).map(|one| one.to_string()).collect();
        assert_eq!(
            lines[0],
            "Digest realm=\"pbx\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\", stale=true"
        );
        let parsed = Challenge::parse(lines[1].as_bytes()).expect("own writing");
        assert_eq!((parsed.algorithm, parsed.stale, parsed.auth), (Algorithm::Md5, true, true));
    }

    #[test]
    fn the_realm_picks_among_several() {
        let other = GOOD.replace("pbx", "elsewhere");
        let values = [b"Basic abc".as_slice(), other.as_bytes(), GOOD.as_bytes()];
        let found = Credentials::for_realm(values, "pbx").expect("there").expect("well-formed");
        assert_eq!(found.realm, "pbx");
        assert_eq!(Credentials::for_realm([other.as_bytes()], "pbx"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut with_scheme = b"Digest ".to_vec();
            with_scheme.extend(&value);
            let _ = (Credentials::parse(&with_scheme), Challenge::parse(&with_scheme));
        }

        #[test]
        fn what_is_written_parses_back(
            name in "[ -~é]{0,20}", nonce in "[ -~]{0,40}", count in 1_u32..,
        ) {
            let credentials = Credentials {
                username: name.into(),
                realm: "r".into(),
                nonce: nonce.into(),
                uri: "sip:x".into(),
                algorithm: Algorithm::Sha256,
                qop: Some(Qop { count, cnonce: "c".into() }),
                opaque: Some("o".into()),
                response: Algorithm::Sha256.hash(&[b"x"]),
            };
            let written = credentials.to_string();
            prop_assert_eq!(Credentials::parse(written.as_bytes()), Ok(credentials));
        }
    }
}
