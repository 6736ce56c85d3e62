//! What the wall does, and what administrators say to it.

use std::net::IpAddr;
use std::time::Duration;

use guard::access::Actor;
use guard::source::Source;
use guard::wall::{Ban, BanCause, Held, Protected, Slowed};
use pbx::command::{Bans, Change, Command, Reply};

use super::{Office, Result, confused, failure};
use crate::admin::protocol::{self, Answer, Banned, Failure, HeldPair, SlowedSource};

impl Office {
    pub(super) async fn bans(&self) -> Result<Answer> {
        let Reply::Bans(Bans { bans, held, slowed }) = self.ask(Command::Bans).await? else {
            return Err(confused());
        };
        Ok(Answer::Bans(protocol::Bans {
            banned: bans.iter().map(banned).collect(),
            held: held.iter().map(pair).collect(),
            slowed: slowed.iter().map(slow).collect(),
        }))
    }

    pub(super) async fn ban(
        &self,
        actor: Actor,
        source: &str,
        seconds: u64,
        why: &str,
    ) -> Result<Answer> {
        let source = read_source(source)?;
        let span = Duration::from_secs(seconds);
        if span > BAN_MAX {
            return Err(failure(
                "a ban lasts 30 days at the most",
                "addresses change hands: write `--for 30d` or less, and repeat it if need be",
            ));
        }
        let why: String = why.chars().filter(|c| !c.is_control()).take(WHY_MAX).collect();
        let since = self.clock.now().utc;
        let (until, cause) = (since + span, BanCause::Administrator { why });
        let by = Some(actor.clone());
        self.change(actor, Change::Ban(Ban { source, cause, since, until, times: 1, by })).await
    }

    pub(super) async fn unban(
        &self,
        actor: Actor,
        source: &str,
        account: Option<String>,
    ) -> Result<Answer> {
        let source = read_source(source)?;
        self.change(actor, Change::Unban { source, account }).await
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
    let address = text.trim().trim_end_matches("/64").parse::<IpAddr>();
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
        remedy: format!("ringfence unban {source} --account {account}"),
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
        until: slowed.until.to_string(),
        remedy: format!("ringfence unban {}", slowed.source),
    }
}

/// An address changes hands within weeks.
const BAN_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A reason is a sentence.
const WHY_MAX: usize = 200;
