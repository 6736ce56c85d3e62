//! What is worth an alert by itself: one fact, one finding.
//!
//! *The model.* A call for help (whoever runs a telephone system in the United States must be able to
//! tell somebody on the premises at once: Kari's Law, 47 CFR 9.16), and the few things that an intruder
//! with the administrator's rights would do, or that mean that evidence is being lost. *What it
//! misses:* tripwires on new extensions, trunks and rules come with the console.

use super::{At, Finding};
use crate::fact::{Exception, Fact, KnownBy, Severity};
use crate::incident::{Key, What, shown};

pub(super) fn observe(at: At, fact: &Fact) -> Option<Finding> {
    let found = |key, what, severity, words| Finding::new(at, key, what, severity, words);
    Some(match fact {
        Fact::EmergencyCalled { call, extension, device, number, known, from, .. } => {
            let (from, number) = (shown(&from.reveal().0), shown(number));
            let unproved = known.0.is_some_and(KnownBy::proved_nothing);
            let words = match unproved {
                false => format!("{from} called {number} for help."),
                true if from.is_empty() => {
                    format!("Somebody unknown, who proved nothing, called {number} for help.")
                }
                true => format!(
                    "Somebody at the address of {from}, who proved nothing, called {number} for help."
                ),
            };
            // Whoever proved nothing must not hide the same device's own call.
            let key = match (device, extension) {
                (None, None) => Key::Call(*call),
                _ => Key::Help { device: *device, extension: *extension, proved: !unproved },
            };
            let finding = found(key, What::Emergency, Severity::Error, words);
            let done = unproved.then(|| "It was put through if a line was free.".to_owned());
            Finding { extension: *extension, done, ..finding }
        }
        Fact::PersistFailed { what, error } => {
            let words = format!("Writing {} failed: {}", shown(what), shown(error));
            found(Key::Node(What::Storage), What::Storage, Severity::Error, words)
        }
        Fact::ChangeRefused { change, why, .. } => {
            let words = format!("A change ({}) was not made: {}", shown(change), shown(why));
            found(Key::Node(What::Storage), What::Storage, Severity::Error, words)
        }
        Fact::JournalBroken { sequence, why, .. } => {
            let words = format!("The journal is broken at entry {sequence}: {}", shown(why));
            found(Key::Node(What::Journal), What::Journal, Severity::Error, words)
        }
        Fact::SecretRevealed { extension, number, actor } => {
            let words = format!("The password of extension {} was looked at.", shown(number));
            let key = Key::Secret(*extension);
            let finding = found(key, What::SecretRevealed, Severity::Notice, words);
            let by = Some(actor.reveal().clone());
            Finding { extension: Some(*extension), by, ..finding }
        }
        Fact::ExceptionGranted { device, exception, actor } => {
            let words = format!("Phone {device} may now {}.", weakness(*exception));
            let key = Key::Exception(*device);
            let finding = found(key, What::Exception, Severity::Warn, words);
            Finding { by: Some(actor.reveal().clone()), ..finding }
        }
        Fact::PhonesExceptionGranted { extension, number, exception, actor } => {
            let may = weakness(*exception);
            let words = format!("All phones of extension {} may now {may}.", shown(number));
            let key = Key::PhonesException(*extension);
            let finding = found(key, What::Exception, Severity::Warn, words);
            let by = Some(actor.reveal().clone());
            Finding { extension: Some(*extension), by, ..finding }
        }
        _ => return None,
    })
}

fn weakness(exception: Exception) -> &'static str {
    match exception {
        Exception::PlainSignalling => "signal unencrypted",
        Exception::PlainMedia => "send audio unencrypted",
        Exception::Md5 => "sign in with MD5",
    }
}
