//! How a call ended: one table from our cause to SIP status, Q.850 cause, the CDR's disposition and
//! a sentence for people.
//!
//! The pairs of status and Q.850 cause follow RFC 3398 §7.2.4.1 and §8.2.6.1 where those speak of the
//! case, and the nearest they have elsewhere; a `Reason` header (RFC 3326) carries the Q.850 value in answers too (RFC 6432).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::gate::Rule;

/// Why a leg or a call ended, or was never opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Somebody hung up after an answer.
    Cleared,
    Busy,
    /// It rang and nobody took it.
    NoAnswer,
    /// No phone is registered, or its flow is dead.
    Unavailable,
    /// Nobody has this number.
    NotFound,
    /// The called person pressed reject.
    Declined,
    /// The caller hung up before an answer.
    Cancelled,
    /// The gate said no.
    Refused(Rule),
    /// The phone offered media or signalling without encryption.
    NotEncrypted,
    /// No codec, or no media at all, in common.
    IncompatibleMedia,
    /// Too much at once: calls, media ports or memory.
    Congestion,
    /// We are shutting down and take no new calls.
    Draining,
    /// The far side never answered our request.
    TimedOut,
    /// Both sides' media, or their keep-alive, fell silent.
    MediaLost,
    /// The far side said that something broke in it.
    PeerFailed,
    /// A peer broke the protocol beyond repair.
    ProtocolError,
    /// Something broke in us.
    Internal,
    /// The node died while the call was up.
    Interrupted,
    /// No carrier's line is there to take the call, or none is left to try.
    NoRoute,
    /// An emergency call needed the line.
    Preempted,
    /// Somebody with the right to do so ended it.
    Administrator,
    /// It has lasted as long as any call may.
    Longest,
    /// No audio came any more.
    Silence,
    /// The carrier answered 503: its lines are taken, not ours.
    CarrierFull,
}

/// What the table says of a [`Cause`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The final status for an INVITE that wasn't answered, 400 to 699. After an answer a BYE carries
    /// the Q.850 cause alone.
    pub status: u16,
    /// ITU-T Q.850 cause value, 1 to 127.
    pub q850: u8,
    pub disposition: Disposition,
    /// For people, a whole sentence.
    pub sentence: &'static str,
}

/// What a CDR says became of a call. Stored and shown by its text, `refused:lockdown` and the like.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Disposition {
    Answered,
    Busy,
    NoAnswer,
    Unavailable,
    NotFound,
    Declined,
    Cancelled,
    Refused(Rule),
    NotEncrypted,
    Failed,
    /// Cut by a crash of this node; its length is a lower bound.
    Interrupted,
}

/// What cut a call that was up, in words: `the day budget of extension 111`. Empty where somebody hung
/// up, and in what was written before this was.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndedBy(pub Option<String>);

/// The text names no disposition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotADisposition;

impl Cause {
    pub fn outcome(self) -> Outcome {
        use Disposition as D;
        let (status, q850, disposition, sentence) = match self {
            Self::Cleared => (487, 16, D::Answered, "The call was ended normally."),
            Self::Busy => (486, 17, D::Busy, "The line is busy."),
            Self::NoAnswer => (480, 19, D::NoAnswer, "Nobody answered."),
            Self::Unavailable => {
                (480, 20, D::Unavailable, "No phone of this extension can be reached.")
            }
            Self::NotFound => (404, 1, D::NotFound, "Nobody has this number."),
            Self::Declined => (603, 21, D::Declined, "The call was declined."),
            Self::Cancelled => (487, 16, D::Cancelled, "The caller hung up before an answer."),
            Self::Refused(rule) => {
                let (status, q850, sentence) = refused(rule);
                (status, q850, D::Refused(rule), sentence)
            }
            Self::NotEncrypted => (
                488,
                65,
                D::NotEncrypted,
                "The phone offered an unencrypted call; only encrypted calls are taken.",
            ),
            Self::IncompatibleMedia => {
                (488, 88, D::Failed, "The two phones have no way of speaking in common.")
            }
            Self::Congestion => (503, 42, D::Failed, "The system is too busy for another call."),
            Self::Draining => (503, 41, D::Failed, "The system is restarting; please call again."),
            Self::TimedOut => (408, 102, D::Failed, "The other side did not respond."),
            Self::MediaLost => (502, 27, D::Failed, "The connection to a phone was lost."),
            Self::PeerFailed => (502, 38, D::Failed, "Something failed on the other side."),
            Self::ProtocolError => (500, 111, D::Failed, "The other side broke the protocol."),

            Self::NoRoute => (503, 34, D::Failed, "No line to the outside can take the call."),
            Self::Preempted => (503, 8, D::Failed, "The line was needed for an emergency call."),
            Self::Administrator => (487, 31, D::Cancelled, "An administrator ended the call."),
            Self::Longest => (487, 31, D::Answered, "The call has lasted as long as is allowed."),
            Self::Silence => (502, 27, D::Failed, "No audio came any more."),
            Self::CarrierFull => (503, 34, D::Failed, "The carrier has no line free."),
            Self::Internal => (500, 41, D::Failed, "Something failed in the phone system."),
            Self::Interrupted => {
                (503, 41, D::Interrupted, "The phone system restarted during the call.")
            }
        };
        Outcome { status, q850, disposition, sentence }
    }

    /// What ended a call that was up, to be read after "ended by"; `None` where one of the two who
    /// spoke hung up.
    pub fn ended_by(self) -> Option<&'static str> {
        Some(match self {
            Self::Cleared | Self::Cancelled => return None,
            Self::Refused(rule) => match rule {
                Rule::Budget => "a budget",
                Rule::Lockdown => "a lockdown",
                Rule::Longest => "the longest duration of its role",
                Rule::Hours => "the hours of its role",
                Rule::NotAllowedClass | Rule::NotAllowedCountry => "a rule on what may be dialled",
                Rule::TooDear | Rule::NoPrice => "a rule on prices",
                Rule::Concurrency | Rule::Rate => "a rule on how many calls may be up",
                Rule::EmergencyStranger
                | Rule::NotProved
                | Rule::NobodyResponsible
                | Rule::VoicemailOutward
                | Rule::UnknownDestination
                | Rule::Emergency
                | Rule::Internal
                | Rule::Service
                | Rule::Outside => "a rule",
            },
            Self::Administrator => "an administrator",
            Self::Longest => "the longest duration of a call",
            Self::Silence => "silence: no audio came any more",
            Self::MediaLost => "a lost connection",
            Self::TimedOut | Self::Unavailable => "the other side, which did not respond",
            Self::Preempted => "an emergency call that needed the line",
            Self::Draining | Self::Interrupted => "a restart of the phone system",
            Self::PeerFailed
            | Self::ProtocolError
            | Self::NotFound
            | Self::Declined
            | Self::Busy
            | Self::NoAnswer
            | Self::NoRoute
            | Self::CarrierFull => "a failure on the other side",
            Self::NotEncrypted | Self::IncompatibleMedia => {
                "a change of its audio that can't be taken"
            }
            Self::Congestion | Self::Internal => "a failure in the phone system",
        })
    }

    /// What a final answer of the called side means (RFC 3398 §8.2.6.1). A 2xx is no cause: `None`,
    /// and so is a redirection, which is followed or refused elsewhere.
    pub fn from_status(status: u16) -> Option<Self> {
        Some(match status {
            ..=399 => return None,
            404 | 410 | 484 | 485 | 604 => Self::NotFound,
            408 | 504 => Self::TimedOut,
            480 | 430 | 482 | 483 => Self::Unavailable,
            486 | 600 => Self::Busy,
            487 => Self::Cancelled,
            488 | 415 | 606 => Self::IncompatibleMedia,
            401 | 403 | 407 | 433 => Self::Declined,
            503 => Self::Congestion,
            400..=499 => Self::ProtocolError,
            500..=599 => Self::PeerFailed,
            // 603, 607, 608, and what a later RFC adds to the global failures.
            600.. => Self::Declined,
        })
    }

    /// What a Q.850 value in a peer's `Reason` means.
    pub fn from_q850(value: u8) -> Self {
        match value {
            1 | 2 | 3 | 22 | 28 => Self::NotFound,
            16 | 31 => Self::Cleared,
            17 => Self::Busy,
            18 | 19 => Self::NoAnswer,
            20 | 27 => Self::Unavailable,
            21 | 55 | 57 => Self::Declined,
            8 | 9 => Self::Preempted,
            34 | 38 | 41 | 42 | 44 | 47 => Self::Congestion,
            58 | 65 | 70 | 79 | 88 => Self::IncompatibleMedia,
            102 => Self::TimedOut,
            _ => Self::ProtocolError,
        }
    }
}

impl Outcome {
    /// The value of a `Reason` header (RFC 3326), such as `Q.850;cause=17;text="The line is busy."`.
    pub fn reason(&self) -> String {
        format!("Q.850;cause={};text=\"{}\"", self.q850, self.sentence)
    }
}

/// Between a disposition and what follows it: `, ended by the day budget of extension 111`.
impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(words) => write!(f, ", ended by {words}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(rule) => f.pad(&format!("refused:{}", rule.name())),
            _ => f.pad(self.plain()),
        }
    }
}

impl Disposition {
    const PLAIN: [Self; 10] = [
        Self::Answered,
        Self::Busy,
        Self::NoAnswer,
        Self::Unavailable,
        Self::NotFound,
        Self::Declined,
        Self::Cancelled,
        Self::NotEncrypted,
        Self::Failed,
        Self::Interrupted,
    ];

    fn plain(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not-found",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Refused(_) => "refused",
            Self::NotEncrypted => "not-encrypted",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl FromStr for Disposition {
    type Err = NotADisposition;

    fn from_str(text: &str) -> Result<Self, NotADisposition> {
        if let Some(name) = text.strip_prefix("refused:") {
            return Rule::from_name(name).map(Self::Refused).ok_or(NotADisposition);
        }
        Self::PLAIN.into_iter().find(|known| known.plain() == text).ok_or(NotADisposition)
    }
}

impl TryFrom<String> for Disposition {
    type Error = NotADisposition;

    fn try_from(text: String) -> Result<Self, NotADisposition> {
        text.parse()
    }
}

impl From<Disposition> for String {
    fn from(disposition: Disposition) -> Self {
        disposition.to_string()
    }
}

impl fmt::Display for NotADisposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a call's disposition")
    }
}

impl std::error::Error for NotADisposition {}

/// Status, Q.850 cause and sentence of a denial. 21 is "call rejected", 57 "bearer capability not
/// authorised", the value carriers use for a barred class.
fn refused(rule: Rule) -> (u16, u8, &'static str) {
    match rule {
        Rule::EmergencyStranger => (403, 21, "Emergency calls are open to known phones only."),
        Rule::NotProved => (403, 21, "This phone is not signed in."),
        Rule::Lockdown => (403, 21, "Calls are locked; emergency calls still work."),
        Rule::NobodyResponsible => (403, 21, "Nobody answers for this call."),
        Rule::UnknownDestination => (404, 1, "Nobody has this number."),
        Rule::VoicemailOutward => (403, 21, "Voicemail never dials out."),
        Rule::NotAllowedClass => (403, 57, "Numbers of this kind are not allowed from this phone."),
        Rule::NotAllowedCountry => {
            (403, 57, "Calls to this country are not allowed from this phone.")
        }
        Rule::Hours => (403, 57, "Outside calls are not allowed at this hour."),
        Rule::Concurrency => (486, 17, "Too many outside calls are up from this phone."),
        Rule::Rate => (403, 21, "Too many outside calls within an hour."),
        Rule::NoPrice => (403, 57, "Nobody knows what this number costs, so it is refused."),
        Rule::TooDear => (403, 57, "This number costs more than is allowed from this phone."),
        Rule::Longest => (403, 21, "The call has lasted as long as is allowed."),
        Rule::Budget => (403, 21, "The budget for outside calls is spent."),
        // Permits; a denial never carries them.
        Rule::Emergency | Rule::Internal | Rule::Service | Rule::Outside => {
            (403, 21, "The call was refused.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Cause> {
        let mut all = vec![
            Cause::Cleared,
            Cause::Busy,
            Cause::NoAnswer,
            Cause::Unavailable,
            Cause::NotFound,
            Cause::Declined,
            Cause::Cancelled,
        ];
        all.extend(Rule::ALL.into_iter().filter(|rule| !rule.permits()).map(Cause::Refused));
        all.extend([
            Cause::NotEncrypted,
            Cause::IncompatibleMedia,
            Cause::Congestion,
            Cause::Draining,
            Cause::TimedOut,
            Cause::MediaLost,
            Cause::PeerFailed,
            Cause::ProtocolError,
            Cause::Internal,
            Cause::Interrupted,
            Cause::NoRoute,
            Cause::Preempted,
            Cause::Administrator,
            Cause::Longest,
            Cause::Silence,
            Cause::CarrierFull,
        ]);
        all
    }

    #[test]
    fn the_table_reads_so() {
        let line = |cause: Cause| {
            let Outcome { status, q850, disposition, sentence } = cause.outcome();
            format!("{status} {q850:>3} {disposition:<27} {sentence}\n")
        };
        let table: String = all().into_iter().map(line).collect();
        let expected = "\
487  16 answered                    The call was ended normally.
486  17 busy                        The line is busy.
480  19 no-answer                   Nobody answered.
480  20 unavailable                 No phone of this extension can be reached.
404   1 not-found                   Nobody has this number.
603  21 declined                    The call was declined.
487  16 cancelled                   The caller hung up before an answer.
403  21 refused:emergency-stranger  Emergency calls are open to known phones only.
403  21 refused:lockdown            Calls are locked; emergency calls still work.
403  21 refused:not-proved          This phone is not signed in.
403  21 refused:nobody-responsible  Nobody answers for this call.
403  21 refused:voicemail-outward   Voicemail never dials out.
404   1 refused:unknown-destination Nobody has this number.
403  57 refused:not-allowed-class   Numbers of this kind are not allowed from this phone.
403  57 refused:not-allowed-country Calls to this country are not allowed from this phone.
403  57 refused:hours               Outside calls are not allowed at this hour.
403  21 refused:rate                Too many outside calls within an hour.
486  17 refused:concurrency         Too many outside calls are up from this phone.
403  57 refused:no-price            Nobody knows what this number costs, so it is refused.
403  57 refused:too-dear            This number costs more than is allowed from this phone.
403  21 refused:longest             The call has lasted as long as is allowed.
403  21 refused:budget              The budget for outside calls is spent.
488  65 not-encrypted               The phone offered an unencrypted call; only encrypted calls are taken.
488  88 failed                      The two phones have no way of speaking in common.
503  42 failed                      The system is too busy for another call.
503  41 failed                      The system is restarting; please call again.
408 102 failed                      The other side did not respond.
502  27 failed                      The connection to a phone was lost.
502  38 failed                      Something failed on the other side.
500 111 failed                      The other side broke the protocol.
500  41 failed                      Something failed in the phone system.
503  41 interrupted                 The phone system restarted during the call.
503  34 failed                      No line to the outside can take the call.
503   8 failed                      The line was needed for an emergency call.
487  31 cancelled                   An administrator ended the call.
487  31 answered                    The call has lasted as long as is allowed.
502  27 failed                      No audio came any more.
503  34 failed                      The carrier has no line free.
";
        assert_eq!(table, expected, "\n{table}");
    }

    #[test]
    fn dispositions_are_read_back() {
        for cause in all() {
            let disposition = cause.outcome().disposition;
            assert_eq!(disposition.to_string().parse(), Ok(disposition));
            let json = serde_json::to_string(&disposition).expect("a string");
            assert_eq!(
                serde_json::from_str::<Disposition>(&json).expect("as written"),
                disposition
            );
        }
        assert_eq!("refused:magic".parse::<Disposition>(), Err(NotADisposition));
        assert_eq!("refused".parse::<Disposition>(), Err(NotADisposition));
    }

    #[test]
    fn every_final_failure_has_a_cause() {
        assert!((100..400).all(|status| Cause::from_status(status).is_none()));
        assert!((400..700).all(|status| Cause::from_status(status).is_some()));
        assert_eq!(Cause::from_status(486), Some(Cause::Busy));
        assert_eq!(Cause::from_status(600), Some(Cause::Busy));
        assert_eq!(Cause::from_status(603), Some(Cause::Declined));
        assert_eq!(Cause::from_status(500), Some(Cause::PeerFailed));
    }

    #[test]
    fn a_reason_is_a_quoted_string() {
        let reason = Cause::Busy.outcome().reason();
        assert_eq!(reason, "Q.850;cause=17;text=\"The line is busy.\"");
        for cause in all() {
            let sentence = cause.outcome().sentence;
            assert!(
                sentence.is_ascii() && !sentence.contains(['"', '\\', '\r', '\n']),
                "{sentence}"
            );
        }
    }
}
