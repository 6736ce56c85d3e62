//! Headers that are typed when asked for: each answer is absent, present, malformed or repeated.

use crate::ascii;
use crate::header::{Field, Name, NameAddr, Params, judge_params, seconds};
use crate::message::Headers;
use crate::{Method, Violation};

/// Session-Expires (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds.
    pub interval: u32,
    pub refresher: Option<Refresher>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    Uac,
    Uas,
}

/// RAck (RFC 3262 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck {
    pub response: u32,
    pub cseq: u32,
    pub method: Method,
}

/// Replaces, as a header or unescaped from a Refer-To (RFC 3891 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaces<'a> {
    pub call_id: &'a str,
    pub to_tag: &'a str,
    pub from_tag: &'a str,
    pub early_only: bool,
}

/// Event (RFC 6665 §8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The package with its templates, `dialog` or `message-summary`.
    pub package: &'a str,
    pub id: Option<&'a str>,
}

/// Subscription-State (RFC 6665 §8.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    /// `active`, `pending`, `terminated` or an extension.
    pub state: &'a str,
    pub reason: Option<&'a str>,
    pub expires: Option<u32>,
    pub retry_after: Option<u32>,
}

/// One value of Reason (RFC 3326 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850` or another protocol.
    pub protocol: &'a str,
    pub cause: Option<u32>,
    pub text: Option<std::borrow::Cow<'a, str>>,
}

impl Headers {
    pub fn session_expires(&self) -> Field<SessionExpires> {
        self.single(Name::SessionExpires).and_then(|value| {
            let (seconds, params) = delta(value)?;
            let refresher = match params.get("refresher") {
                None => None,
                Some(r) if r.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                Some(r) if r.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                Some(_) => return Err(Violation::HeaderValue),
            };
            Ok(SessionExpires { interval: seconds, refresher })
        })
    }

    /// Min-SE in seconds (RFC 4028 §5).
    pub fn min_se(&self) -> Field<u32> {
        self.single(Name::MinSe).and_then(|value| Ok(delta(value)?.0))
    }

    /// Min-Expires in seconds (RFC 3261 §20.23).
    pub fn min_expires(&self) -> Field<u32> {
        self.single(Name::MinExpires).and_then(|value| seconds(value).ok_or(Violation::Seconds))
    }

    /// Retry-After in seconds, without its comment and parameters (RFC 3261 §20.33).
    pub fn retry_after(&self) -> Field<u32> {
        self.single(Name::RetryAfter).and_then(|value| {
            let digits = value.bytes().take_while(u8::is_ascii_digit).count();
            match value.as_bytes().get(digits) {
                None | Some(b' ' | b'\t' | b';' | b'(') => {
                    seconds(&value[..digits]).ok_or(Violation::Seconds)
                }
                Some(_) => Err(Violation::Seconds),
            }
        })
    }

    /// RSeq: 1 to 2^32-1 (RFC 3262 §7.1).
    pub fn rseq(&self) -> Field<u32> {
        self.single(Name::RSeq).and_then(sequence)
    }

    pub fn rack(&self) -> Field<RAck> {
        self.single(Name::RAck).and_then(|value| {
            let mut words = value.split([' ', '\t']).filter(|w| !w.is_empty());
            let mut next = || words.next().ok_or(Violation::HeaderValue);
            let response = sequence(next()?)?;
            let cseq = ascii::number(next()?.as_bytes(), u64::from(crate::header::CSEQ_MAX))
                .ok_or(Violation::HeaderValue)? as u32;
            let method = Method::parse(next()?.as_bytes())?;
            if words.next().is_some() {
                return Err(Violation::HeaderValue);
            }
            Ok(RAck { response, cseq, method })
        })
    }

    /// Refer-To (RFC 3515 §2.1).
    pub fn refer_to(&self) -> Field<NameAddr<'_>> {
        self.single(Name::ReferTo).and_then(NameAddr::parse)
    }

    /// Referred-By (RFC 3892 §3).
    pub fn referred_by(&self) -> Field<NameAddr<'_>> {
        self.single(Name::ReferredBy).and_then(NameAddr::parse)
    }

    pub fn replaces(&self) -> Field<Replaces<'_>> {
        self.single(Name::Replaces).and_then(Replaces::parse)
    }

    pub fn event(&self) -> Field<Event<'_>> {
        self.single(Name::Event).and_then(|value| {
            let (package, params) = token_params(value)?;
            Ok(Event { package, id: params.get("id").filter(|id| !id.is_empty()) })
        })
    }

    pub fn subscription_state(&self) -> Field<SubscriptionState<'_>> {
        self.single(Name::SubscriptionState).and_then(|value| {
            let (state, params) = token_params(value)?;
            let delta = |name| match params.get(name) {
                None => Ok(None),
                Some(value) => seconds(value).map(Some).ok_or(Violation::Seconds),
            };
            Ok(SubscriptionState {
                state,
                reason: params.get("reason"),
                expires: delta("expires")?,
                retry_after: delta("retry-after")?,
            })
        })
    }

    /// Date in seconds since 1970. It is judged with the message, so it is never malformed.
    pub fn date(&self) -> Option<i64> {
        self.get(Name::Date).and_then(|value| crate::date::parse(value).ok())
    }

    /// The values of Reason, each judged by itself.
    pub fn reasons(&self) -> impl Iterator<Item = Result<Reason<'_>, Violation>> {
        self.elements(Name::Reason).map(|value| {
            let (protocol, params) = token_params(value)?;
            let cause = match params.get("cause") {
                None => None,
                Some(cause) => {
                    Some(ascii::number(cause.as_bytes(), 999).ok_or(Violation::HeaderValue)? as u32)
                }
            };
            Ok(Reason { protocol, cause, text: params.get("text").map(crate::header::unquoted) })
        })
    }

    /// P-Asserted-Identity: one or two addresses, each judged by itself (RFC 3325 §9.1). Believe it
    /// from a trusted peer only.
    pub fn asserted_identities(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Violation>> {
        self.name_addrs(Name::PAssertedIdentity)
    }

    /// The addresses of a header that is a list of them (Diversion, Path, Service-Route,
    /// P-Preferred-Identity, History-Info, Remote-Party-ID), each judged by itself.
    pub fn name_addrs(&self, name: Name) -> impl Iterator<Item = Result<NameAddr<'_>, Violation>> {
        self.elements(name).map(NameAddr::parse)
    }
}

impl<'a> Replaces<'a> {
    /// Judges the value: a Call-ID and exactly one of each tag.
    ///
    /// # Errors
    /// [`Violation::CallId`], [`Violation::HeaderValue`], or what the parameters break.
    pub fn parse(value: &'a str) -> Result<Self, Violation> {
        let end = value.find(';').ok_or(Violation::HeaderValue)?;
        let call_id = ascii::trim(&value[..end]);
        crate::message::judge_call_id(call_id, crate::uri::Span::default())?;
        judge_params(&value[end..], |_, _, _| Ok(()))?;
        let params = Params::new(&value[end..]);
        let tag = |name| {
            params
                .get(name)
                .filter(|tag: &&str| ascii::is_token(tag.as_bytes()))
                .ok_or(Violation::HeaderValue)
        };
        Ok(Self {
            call_id,
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            early_only: params.get("early-only").is_some(),
        })
    }
}

/// `delta-seconds *( SEMI generic-param )`.
fn delta(value: &str) -> Result<(u32, Params<'_>), Violation> {
    let (number, params) = split_params(value)?;
    Ok((seconds(number).ok_or(Violation::Seconds)?, params))
}

/// `token *( SEMI generic-param )`.
fn token_params(value: &str) -> Result<(&str, Params<'_>), Violation> {
    let (token, params) = split_params(value)?;
    if ascii::is_token(token.as_bytes()) {
        Ok((token, params))
    } else {
        Err(Violation::HeaderValue)
    }
}

fn split_params(value: &str) -> Result<(&str, Params<'_>), Violation> {
    let end = value.find(';').unwrap_or(value.len());
    judge_params(&value[end..], |_, _, _| Ok(()))?;
    Ok((ascii::trim(&value[..end]), Params::new(&value[end..])))
}

fn sequence(value: &str) -> Result<u32, Violation> {
    ascii::number(value.as_bytes(), u64::from(u32::MAX))
        .filter(|&n| n > 0)
        .map(|n| n as u32)
        .ok_or(Violation::HeaderValue)
}
