//! What the wall does, and what administrators say to it.

use std::net::IpAddr;
use std::time::Duration;

use guard::access::Actor;
use guard::incident::shown;
use guard::source::Source;
use guard::wall::{Ban, BanCause, Held, Pair, Protected, Slowed, undo};
use guard::zone::Zone;
use pbx::command::{Bans, Change, Command, Reply};

use super::{Office, Result, confused, failure};
use crate::admin::protocol::{self, Answer, Banned, Failure, HeldPair, SlowedSource, StalePhone};

impl Office {
    pub(super) async fn bans(&self) -> Result<Answer> {
        let Bans { bans, held, slowed, stale } = self.wall().await?;
        let (names, devices) = match stale.is_empty() {
            true => (Vec::new(), Vec::new()),
            false => (self.names().await?.extensions, self.devices().await?),
        };
        let stale = stale.iter().filter_map(|one| {
            let known = names.iter().find(|(id, _)| *id == one.extension);
            let (_, number) = known?;
            let device = devices.iter().find(|view| Some(view.device.id) == one.device());
            Some(StalePhone {
                extension: number.clone(),
                agent: device.map(|view| view.device.agent.clone()),
                source: one.pair.source.to_string(),
                since: one.since.to_string(),
                last: one.last.to_string(),
                tries: one.tries,
                remedy: format!("ringfence extension reveal {number}"),
            })
        });
        Ok(Answer::Bans(protocol::Bans {
            stale: stale.collect(),
            banned: bans.iter().map(banned).collect(),
            held: held.iter().map(pair).collect(),
            slowed: slowed.iter().map(slow).collect(),
        }))
    }

    pub(super) async fn wall(&self) -> Result<Bans> {
        match self.ask(Command::Bans).await? {
            Reply::Bans(bans) => Ok(bans),
            _ => Err(confused()),
        }
    }

    pub(super) async fn ban(
        &self,
        actor: Actor,
        source: &str,
        seconds: u64,
        why: &str,
    ) -> Result<Answer> {
        let given = source;
        let source = read_source(given)?;
        if is_ours(source) {
            return Err(protected(Protected::Ourselves));
        }
        if is_nobodys(source) {
            return Err(failure(
                format!("{given} is no address of anybody's"),
                "name the address that bothers you, such as 203.0.113.9",
            ));
        }
        let span = Duration::from_secs(seconds);
        if span > BAN_MAX {
            return Err(failure(
                "a ban lasts 30 days at the most",
                "addresses change hands: write `--for 30d` or less, and repeat it if need be",
            ));
        }
        let why: String = why.chars().filter(|c| !c.is_control()).take(WHY_MAX).collect();
        if why.trim().is_empty() {
            return Err(failure(
                "a ban needs a reason, for whoever wonders later",
                "say it with --why, such as --why \"rings at night\"",
            ));
        }
        let before = self.wall().await?.bans.into_iter().find(|ban| ban.source == source);
        let since = self.clock.now().utc;
        let (until, cause) = (since + span, BanCause::Administrator { why });
        let by = Some(actor.clone());
        let ban = Ban { source, cause, since, until, times: 1, by };
        self.change(actor, Change::Ban(ban)).await?;
        let (policy, _) = self.policy().await?;
        let zone = Zone::named(&policy.zone).unwrap_or_else(Zone::utc);
        let before = before
            .map_or_else(String::new, |ban| format!(" (before: until {})", zone.shown(ban.until)));
        let all = match source.ip() {
            IpAddr::V4(_) => "",
            IpAddr::V6(_) => {
                " It is the whole network that the address is in: whoever has one of them has all."
            }
        };
        let until = zone.shown(until);
        Ok(Answer::DoneWith(vec![format!(
            "{source} is shut out until {until}{before}.{all} To undo it:  ringfence unban {source}"
        )]))
    }

    pub(super) async fn unban(
        &self,
        actor: Actor,
        source: &str,
        account: Option<String>,
    ) -> Result<Answer> {
        let source = read_source(source)?;
        let Bans { bans, held, slowed, .. } = self.wall().await?;
        let of = |pair: &Pair| {
            pair.source == source && account.as_deref().is_none_or(|one| *pair.account == *one)
        };
        let known = held.iter().any(|one| of(&one.pair))
            || (account.is_none()
                && (bans.iter().any(|ban| ban.source == source)
                    || slowed.iter().any(|one| one.source == source)));
        let question = (source, account.clone());
        self.change(actor, Change::Unban { source, account }).await?;
        Ok(Answer::DoneWith(vec![match (known, question) {
            (true, (source, None)) => {
                format!("{source} may try again; nothing is held against it any more.")
            }
            (true, (source, Some(account))) => {
                format!("{source} may try account {} again.", shown(&account))
            }
            (false, (source, None)) => format!(
                "Nothing was held against {source}; failures that were counted are forgotten. Who is: \
                 ringfence bans"
            ),
            (false, (source, Some(account))) => format!(
                "{source} was not held at account {}; failures that were counted are forgotten. Who is: \
                 ringfence bans",
                shown(&account)
            ),
        }]))
    }
}

/// Why a source is not to be banned, and what to do instead.
pub(super) fn protected(by: Protected) -> Failure {
    let remedy = match by {
        Protected::Ourselves => "stop what bothers you on this machine itself",
        Protected::Carrier => {
            "`ringfence trunk list` shows which; `ringfence trunk disable NAME` ends it"
        }
        Protected::Phones(_) | Protected::SignedIn => {
            "`ringfence devices` shows the phones; `ringfence extension disable NUMBER`, or a new secret \
             with `ringfence extension rotate NUMBER`, shuts out whoever signed in there"
        }
    };
    failure(format!("this source is not shut out: {by}"), remedy)
}

/// An address, or a network as it is shown.
fn read_source(text: &str) -> Result<Source> {
    let text = text.trim();
    let (address, length) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let range = || {
        failure(
            format!("{text} is a range: ranges can't be banned here"),
            "name one address, or use your firewall for a range",
        )
    };
    let address = address.parse::<IpAddr>();
    match (&address, length) {
        (Ok(IpAddr::V4(_)), Some("32")) | (Ok(IpAddr::V6(_)), Some("64" | "128")) | (_, None) => {}
        (Ok(_), Some(_)) => return Err(range()),
        (Err(_), Some(_)) => {}
    }
    address.map(Source::from).map_err(|_| {
        failure(
            format!("{text} is no address"),
            "write an address such as 203.0.113.9 or 2001:db8::1; `ringfence bans` shows them",
        )
    })
}

fn banned(ban: &Ban) -> Banned {
    Banned {
        source: ban.source.to_string(),
        since: ban.since.to_string(),
        until: ban.until.to_string(),
        times: ban.times,
        why: ban.cause.to_string(),
        remedy: format!("ringfence unban {}", ban.source),
    }
}

fn pair(held: &Held) -> HeldPair {
    let (source, account) = (held.pair.source.to_string(), held.pair.account.to_string());
    HeldPair {
        remedy: undo(held.pair.source, &account),
        home: held.home.is_some(),
        source,
        account,
        known_device: held.pair.who.is_known(),
        since: held.since.to_string(),
        until: held.until.to_string(),
        times: held.times,
        compared: held.compared,
    }
}

fn slow(slowed: &Slowed) -> SlowedSource {
    SlowedSource {
        source: slowed.source.to_string(),
        since: slowed.since.to_string(),
        until: slowed.until.to_string(),
        why: format!("it failed to sign in to {} accounts", slowed.accounts),
        remedy: format!("ringfence unban {}", slowed.source),
    }
}

/// Whether it is an address of this machine, or the network of one.
fn is_ours(source: Source) -> bool {
    source.ip().is_loopback() || own_sources().contains(&source)
}

fn own_sources() -> Vec<Source> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let address = |found: nix::sys::socket::SockaddrStorage| {
        let v4 = found.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
        v4.or_else(|| found.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
    };
    let found = interfaces.filter_map(|interface| interface.address.and_then(address));
    found.map(Source::from).collect()
}

/// Nobody sends from there.
fn is_nobodys(source: Source) -> bool {
    match source.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    }
}

/// An address changes hands within weeks.
const BAN_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A reason is a sentence.
const WHY_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_this_machine_is_ours() {
        let own = own_sources();
        assert!(own.contains(&Source::from(IpAddr::from([127, 0, 0, 1]))), "{own:?}");
        assert!(own.iter().all(|source| is_ours(*source)));
        assert!(!is_ours(Source::from(IpAddr::from([192, 0, 2, 1]))));
    }

    #[test]
    fn ranges_are_refused_and_what_was_shown_is_read() {
        for shown in ["203.0.113.9", "203.0.113.9/32", "2001:db8::/64", "2001:db8::7"] {
            assert!(read_source(shown).is_ok(), "{shown}");
        }
        for range in ["203.0.113.0/24", "2001:db8::/48", "203.0.113.9/64"] {
            assert!(read_source(range).unwrap_err().wrong.contains("range"), "{range}");
        }
        assert!(read_source("pbx/64").unwrap_err().wrong.contains("no address"));
    }
}
