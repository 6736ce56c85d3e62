//! Where this node is at home, decided once: the first policy, and what is in force where the newest
//! can't be read.
//!
//! The home country says which numbers call for help, how numbers are dialled and what is abroad, so
//! it is written with the first policy before anything starts, and no later start changes it in
//! passing.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use guard::access::Actor;
use guard::fact::Fact;
use guard::number::Country;
use guard::numbering;
use guard::pii::Pii;
use guard::policy::Policy;
use guard::zone::Zone;
use pure::Now;
use store::{Noted, Stored, Writer};

use crate::data_dir::Trouble;

/// What this machine says of where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Surroundings {
    /// From the locale: `de_DE.UTF-8` stands in Germany.
    pub(crate) country: Option<Country>,
    /// IANA name of the system's time zone.
    pub(crate) zone: Option<String>,
}

/// The rules in force at a start, and what of them nobody has said.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) policy: Arc<Policy>,
    pub(crate) guessed: bool,
    zone_guessed: bool,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Policy { home, currency, zone, .. } = &*self.policy;
        let name = numbering::name(*home);
        write!(f, "at home in {name} ({home}), amounts in {currency}, time zone {zone}")?;
        match (self.guessed, self.zone_guessed) {
            (true, _) => write!(
                f,
                "\n(guessed; others: ringfence policy set home GB, ringfence policy set currency GBP, ringfence policy \
                 set zone Europe/London)"
            ),
            (false, true) => {
                write!(f, "\n(zone guessed; another one: ringfence policy set zone Europe/London)")
            }
            (false, false) => Ok(()),
        }
    }
}

/// Sees to it that `stored` holds a policy, written where there was none. `given`: the country that
/// was named at this start.
///
/// # Errors
/// Where another home than the policy's was named, or the database takes no rows.
pub(crate) async fn settle(
    writer: &Writer,
    stored: &mut Stored,
    given: Option<Country>,
    surroundings: Surroundings,
    now: Now,
) -> Result<Standing, Trouble> {
    let guessed = given.is_none() && stored.policy.is_none() && stored.policy_lost.is_none();
    let zone_guessed = guessed || stored.policy.is_none();
    let home = given.or(surroundings.country).unwrap_or(Country::US);
    let policy = match (stored.policy.take(), stored.policy_lost) {
        (Some(policy), None) => policy,
        (found, Some(lost)) => {
            let last = found.unwrap_or_else(|| Policy::first(home));
            tracing::error!(
                lost = lost.0,
                "the newest policy does not read: nobody may call outside until one is set; \
                 emergency calls and calls inside go on"
            );
            closed(&last, lost)
        }
        (None, None) => {
            let policy = first(home, surroundings.zone);
            let rows = vec![pbx::record::Row::Policy(policy.clone())];
            let change = format!("the first: home {home}, time zone {}", policy.zone);
            let actor = Pii::new(Actor::System);
            let fact = Fact::PolicyChanged { version: policy.version, change, actor };
            let noted = Noted { now, tenant: None, fact };
            writer.change(rows, vec![noted]).await.map_err(|_| {
                Trouble::new(
                    "the database takes no rows",
                    "see that the disk of the data folder has room and works, then start again",
                )
            })?;
            policy
        }
    };
    if let Some(other) = given.filter(|given| *given != policy.home) {
        return Err(Trouble::new(
            format!("this node is at home in {}, not in {other}", policy.home),
            format!(
                "start without --home; to move it, start and run: ringfence policy set home {other}"
            ),
        ));
    }
    stored.policy = Some(policy.clone());
    Ok(Standing { policy, guessed, zone_guessed })
}

fn first(home: Country, zone: Option<String>) -> Arc<Policy> {
    let first = Policy::first(home);
    match zone {
        Some(zone) => Arc::new(Policy { zone, ..(*first).clone() }),
        None => first,
    }
}

/// The last policy known, without anything that costs money: what the lost one forbade is not known.
fn closed(last: &Policy, lost: guard::gate::PolicyVersion) -> Arc<Policy> {
    let mut closed = last.clone();
    closed.version = lost.max(last.version);
    for role in closed.roles.values_mut() {
        role.classes.clear();
        role.countries.clear();
    }
    Arc::new(closed)
}

impl Surroundings {
    /// Asks the environment and the files in which systems keep their time zone.
    pub(crate) fn here() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        Self { country: country(variable), zone: zone(variable, Path::new("/etc")) }
    }
}

/// The first locale variable that names a territory, in the order of POSIX: `C` names none.
fn country(variable: impl Fn(&str) -> Option<String>) -> Option<Country> {
    let locales = ["LC_ALL", "LC_TELEPHONE", "LANG"].into_iter().filter_map(variable);
    let mut countries = locales.filter_map(|locale| {
        let (_, rest) = locale.split_once('_')?;
        rest.get(..2)
            .filter(|_| !rest[2..].starts_with(|c: char| c.is_alphanumeric()))?
            .parse()
            .ok()
            .filter(|country| numbering::is_known(*country))
    });
    countries.next()
}

/// TZ, then /etc/timezone, then where /etc/localtime points: the first that names a zone.
fn zone(variable: impl Fn(&str) -> Option<String>, etc: &Path) -> Option<String> {
    let from_variable = variable("TZ").map(|tz| tz.trim_start_matches(':').to_owned());
    let from_file = || std::fs::read_to_string(etc.join("timezone")).ok();
    let from_link = || {
        let target = std::fs::read_link(etc.join("localtime")).ok()?;
        let (_, zone) = target.to_str()?.split_once("zoneinfo/")?;
        Some(zone.to_owned())
    };
    let named = |zone: String| Some(zone.trim().to_owned()).filter(|zone| is_zone(zone));
    from_variable
        .and_then(named)
        .or_else(|| from_file().and_then(named))
        .or_else(|| from_link().and_then(named))
}

/// Whether a policy takes it: a zone by name, and not a rule such as `CET-1CEST`.
fn is_zone(zone: &str) -> bool {
    Zone::named(zone).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_the_country_where_it_names_one() {
        let of = |pairs: &[(&str, &str)]| {
            let found = country(|name| {
                pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            });
            found.map(|country| country.to_string())
        };
        let de = Some("DE".to_owned());
        assert_eq!(of(&[("LANG", "de_DE.UTF-8")]), de);
        assert_eq!(of(&[("LANG", "en_US.UTF-8"), ("LC_TELEPHONE", "de_DE")]), de);
        assert_eq!(of(&[("LC_ALL", "C.UTF-8"), ("LANG", "de_DE@euro")]), de);
        assert_eq!(of(&[("LC_ALL", "de_DE"), ("LANG", "fr_FR")]), de);
        for none in ["", "C", "POSIX", "en", "es_419", "en_DEU", "en_", "de_dé"] {
            assert_eq!(of(&[("LANG", none)]), None, "{none}");
        }
    }

    #[test]
    fn the_time_zone_is_found_where_systems_keep_it() {
        let etc = tempfile::tempdir().unwrap();
        let with = |tz: Option<&str>| zone(|_| tz.map(str::to_owned), etc.path());
        assert_eq!(with(None), None);
        let link = etc.path().join("localtime");
        std::os::unix::fs::symlink("/usr/share/zoneinfo/America/New_York", &link).unwrap();
        assert_eq!(with(None).as_deref(), Some("America/New_York"));
        std::fs::write(etc.path().join("timezone"), "Europe/Berlin\n").unwrap();
        assert_eq!(with(None).as_deref(), Some("Europe/Berlin"));
        assert_eq!(with(Some(":Asia/Tokyo")).as_deref(), Some("Asia/Tokyo"));
        assert_eq!(with(Some("UTC")).as_deref(), Some("UTC"));
        // A rule is no name, and neither is a path.
        for rule in ["CET-1CEST,M3.5.0", "", "../../etc/passwd", "/Europe/Berlin"] {
            assert_eq!(with(Some(rule)).as_deref(), Some("Europe/Berlin"), "{rule}");
        }
    }

    #[test]
    fn a_lost_policy_closes_what_costs_money_and_nothing_else() {
        let last = Policy::first("DE".parse().unwrap());
        let shut = closed(&last, guard::gate::PolicyVersion(7));
        assert_eq!((shut.version.0, shut.home), (7, last.home));
        assert!(shut.roles.values().all(|r| r.classes.is_empty() && r.countries.is_empty()));
        assert_eq!(shut.lockdown, last.lockdown);
        assert_eq!(shut.emergency_guarantee, last.emergency_guarantee);
    }
}
