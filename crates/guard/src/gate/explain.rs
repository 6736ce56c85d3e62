//! Why the gate would decide as it does, in a sentence with the figures that decided.

use super::{
    Attempt, Decision, Destination, Figures, Gate, Ground, Paid, Responsible, Room, Rule, Stage,
};
use crate::id::ExtensionId;
use crate::ledger::Ledger;
use crate::money::Money;
use crate::number::{Class, Country, Outside};
use crate::numbering::{countries, facts, name};
use crate::policy::Scope;
use crate::rate::{Rate, Source};
use pure::Now;

/// What [`Gate::judge`] would say, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    pub decision: Decision,
    pub permitted: bool,
    /// A whole sentence for people.
    pub why: String,
    /// What the number costs, where it costs anything and somebody knows, also where it is refused.
    pub rate: Option<Rate>,
    /// What would be set aside first.
    pub first: Option<Paid>,
}

impl Gate {
    /// Explains without side effects what judging would find: it is the same judgement.
    pub fn explain(&self, now: Now, attempt: &Attempt, ledger: &Ledger) -> Explained {
        let rate = match &attempt.destination {
            Destination::Outside(number) => self.deck.price(number, self.policy.home),
            Destination::Emergency(_)
            | Destination::Extension(_)
            | Destination::Service
            | Destination::Unknown => None,
        };
        let (rule, why, first) = match self.found(now, attempt, ledger, Stage::New) {
            Ok((rule, None)) => (rule, free(rule).to_owned(), None),
            Ok((rule, Some((terms, first)))) => {
                (rule, self.allowed(attempt, &terms.rate, &terms.rooms, first), Some(first))
            }
            Err(ground) => {
                let why = format!("Refused: {}.", self.ground(now, attempt, ground));
                (ground.rule, why, None)
            }
        };
        let decision = Decision { rule, policy: self.policy.version };
        Explained { decision, permitted: rule.permits(), why, rate, first }
    }

    fn allowed(&self, attempt: &Attempt, rate: &Rate, rooms: &[Room], first: Paid) -> String {
        let left = |room: &Room| room.hard.map(|hard| Money(hard.0.saturating_sub(room.spent.0)));
        let tightest =
            rooms.iter().filter(|room| room.hard.is_some()).min_by_key(|room| left(room));
        let budget = match tightest {
            Some(room) => format!(
                "{} are left of the {} budget of {} of {}",
                self.amount(left(room).unwrap_or_default()),
                room.bucket.window,
                self.account(attempt, room.bucket.account),
                self.amount(room.hard.unwrap_or_default()),
            ),
            None => "no budget bounds it".to_owned(),
        };
        let least = if first.seconds < Self::STEP {
            format!(", enough for {} seconds", first.seconds)
        } else {
            String::new()
        };
        format!("Allowed: {}; {budget}{least}.", self.price(rate))
    }

    /// `0.012 USD a minute by rate 37190 (Latvia, premium)`
    fn price(&self, rate: &Rate) -> String {
        let connect = if rate.connect > Money::ZERO {
            format!(" and {} to connect", self.amount(rate.connect))
        } else {
            String::new()
        };
        let by = match rate.source {
            Source::Deck if rate.name.is_empty() => format!("by rate {}", rate.prefix),
            Source::Deck => format!("by rate {} ({})", rate.prefix, rate.name),
            Source::Estimate => format!("by our own cautious guess for {}", rate.name),
        };
        format!("{} a minute{connect} {by}", self.amount(rate.per_minute))
    }

    /// Without `Refused` and a full stop.
    fn ground(&self, now: Now, attempt: &Attempt, ground: Ground) -> String {
        let role = match attempt.responsible {
            Some(Responsible::Extension(extension)) => self.role_in_words(extension),
            Some(Responsible::Trunk(_) | Responsible::System) | None => "its role".to_owned(),
        };
        let number = match &attempt.destination {
            Destination::Outside(number) => Some(number),
            Destination::Emergency(_)
            | Destination::Extension(_)
            | Destination::Service
            | Destination::Unknown => None,
        };
        match ground.rule {
            Rule::EmergencyStranger => "emergency calls are open to known phones only".to_owned(),
            Rule::Lockdown => format!("{} is locked", self.lock(attempt)),
            Rule::NotProved => "the phone is not signed in".to_owned(),
            Rule::NobodyResponsible => "no extension answers for the call".to_owned(),
            Rule::VoicemailOutward => "voicemail never dials out".to_owned(),
            Rule::UnknownDestination => "nobody has this number".to_owned(),
            Rule::NotAllowedClass => match number.map(Outside::class) {
                Some(Class::Unknown) | None => number
                    .and_then(|number| abroad(self.policy.home, number.digits().as_str()))
                    .unwrap_or_else(|| "no numbering plan knows this number".to_owned()),
                Some(class) => format!("{class} numbers are not among those of {role}"),
            },
            Rule::NotAllowedCountry => match number.and_then(Outside::country) {
                Some(country) => {
                    let country = name(country);
                    format!("calls to {country} are not among the countries of {role}")
                }
                None => format!("{role} allows no numbers that belong to no country"),
            },
            Rule::Hours => self.hours(now, attempt, &role),
            Rule::Rate => match ground.figures {
                Some(Figures::Attempts { made, max }) => {
                    format!("{made} calls were tried within an hour, and {role} allows {max}")
                }
                _ => "too many calls were tried within an hour".to_owned(),
            },
            Rule::Concurrency => match ground.figures {
                Some(Figures::Open { open, max }) => {
                    format!("{open} calls outside are up, and {role} allows {max}")
                }
                _ => "too many calls outside are up".to_owned(),
            },
            Rule::NoPrice => "neither the deck nor an estimate knows what it costs".to_owned(),
            Rule::TooDear => {
                let price = number.and_then(|number| self.deck.price(number, self.policy.home));
                let price = price.map_or_else(|| "it".to_owned(), |rate| self.price(&rate));
                match ground.figures {
                    Some(Figures::Price { max, .. }) => {
                        format!("it costs {price}, and {role} allows {}", self.amount(max))
                    }
                    _ => format!("it costs {price}, more than {role} allows"),
                }
            }
            Rule::Longest => match ground.figures {
                Some(Figures::Longest { max }) => {
                    format!("a call of {role} may last {} seconds", max.as_secs())
                }
                _ => format!("it has lasted as long as {role} allows"),
            },
            Rule::Budget => match ground.figures {
                Some(Figures::Budget { bucket, spent, limit, needed }) => format!(
                    "{} of the {} budget of {} of {} are spent, and the next step needs {}",
                    self.amount(spent),
                    bucket.window,
                    self.account(attempt, bucket.account),
                    self.amount(limit),
                    self.amount(needed),
                ),
                _ => "a budget is spent".to_owned(),
            },
            Rule::Emergency | Rule::Internal | Rule::Service | Rule::Outside => {
                "nothing refuses it".to_owned()
            }
        }
    }

    fn hours(&self, now: Now, attempt: &Attempt, role: &str) -> String {
        let hours = match attempt.responsible {
            Some(Responsible::Extension(extension)) => self.policy.role_of(extension).1,
            Some(Responsible::Trunk(_) | Responsible::System) | None => None,
        };
        let hours = hours.map(|role| role.hours.to_string()).unwrap_or_default();
        let minute = self.zone.minute_of_week(now.utc);
        let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
        let day = days.get(usize::from(minute / 1_440)).copied().unwrap_or_default();
        let (hour, minute) = (minute % 1_440 / 60, minute % 60);
        let zone = &self.policy.zone;
        format!("{role} may call {hours}, and it is {day} {hour:02}:{minute:02} ({zone})")
    }

    /// Which lock reaches the attempt: the widest.
    fn lock(&self, attempt: &Attempt) -> String {
        let mut reached = self.policy.lockdown.scopes().filter(|scope| match scope {
            Scope::Operator => true,
            Scope::Tenant(tenant) => *tenant == attempt.tenant,
            Scope::Role(role) => match attempt.responsible {
                Some(Responsible::Extension(ext)) => self.policy.role_of(ext).0 == *role,
                Some(Responsible::Trunk(_) | Responsible::System) | None => false,
            },
            Scope::Extension(extension) => {
                attempt.responsible == Some(Responsible::Extension(*extension))
            }
            Scope::Trunk(trunk) => attempt.responsible == Some(Responsible::Trunk(*trunk)),
        });
        match reached.next() {
            Some(scope) => self.account(attempt, scope),
            None => "the gate".to_owned(),
        }
    }

    fn account(&self, attempt: &Attempt, account: Scope) -> String {
        match account {
            Scope::Extension(extension)
                if attempt.responsible == Some(Responsible::Extension(extension)) =>
            {
                "this extension".to_owned()
            }
            account => account.in_words(&self.policy, |_| None),
        }
    }

    fn role_in_words(&self, extension: ExtensionId) -> String {
        Scope::Role(self.policy.role_of(extension).0).in_words(&self.policy, |_| None)
    }

    fn amount(&self, money: Money) -> String {
        money.display(self.policy.currency).to_string()
    }
}

/// Whose calling code an unknown number begins with, and that the rest is no number there: most often
/// a digit is missing.
fn abroad(home: Country, dialled: &str) -> Option<String> {
    let usual = facts(home)?.international_prefix;
    let way = ["+", usual, "00"].into_iter().find(|way| dialled.starts_with(way))?;
    let rest = dialled.strip_prefix(way)?;
    // No calling code is the beginning of another.
    let (code, country) = (1..=3).find_map(|length| {
        let code = rest.get(..length)?;
        let mut of = countries().filter(|facts| facts.calling_code.to_string() == code);
        let first = of.next()?;
        let alone = of.next().is_none();
        Some((code, alone.then_some(first.name)))
    })?;
    let place = country.map_or_else(|| "a known code".to_owned(), str::to_owned);
    let digits = rest.len() - code.len();
    let gap = if way == "+" { "" } else { " " };
    Some(format!(
        "{way}{gap}{code} is {place}, but the {digits} digits after it are no number there"
    ))
}

fn free(rule: Rule) -> &'static str {
    match rule {
        Rule::Emergency => "Allowed: a call for help always is.",
        Rule::Internal => "Allowed: extensions may call each other.",
        _ => "Allowed: it ends in the house and costs nothing.",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pure::{Instant, Utc};

    use super::*;
    use crate::gate::tests::{ALICE, calls_from_alice, sunday};
    use crate::gate::{Standing, Verdict};
    use crate::ledger::Window;
    use crate::number::{Country, Digits};
    use crate::policy::{Account, Budget, Hours, Policy, Role};
    use crate::rate::RateDeck;

    fn latvia() -> Destination {
        let digits = Digits::parse("+37190123456").expect("digits");
        let country = "LV".parse().expect("capitals");
        Destination::Outside(Outside::new(digits, Class::Premium, Some(country)))
    }

    fn told(change: impl FnOnce(&mut Policy, &mut Role)) -> String {
        let policy = Policy::first(Country::US).next(|policy| {
            policy.zone = "UTC".to_owned();
            let mut staff = Role::staff();
            staff.classes.insert(Class::Premium);
            staff.countries.insert("LV".parse().expect("capitals"));
            change(policy, &mut staff);
            policy.roles.insert(policy.default_role, staff);
        });
        let text = "prefix,name,price\n37190,\"Latvia, premium\",0.45\n";
        let deck = RateDeck::import(text.as_bytes(), policy.currency, 1).expect("a deck");
        let gate = Gate::new(policy, Arc::new(deck));
        let attempt = calls_from_alice(latvia());
        let ledger = Ledger::default();
        let explained = gate.explain(sunday(), &attempt, &ledger);
        // It is the same judgement.
        match gate.judge(sunday(), &attempt, &ledger) {
            Verdict::Permit(permit) => assert_eq!(permit.decision(), explained.decision),
            Verdict::Denial(denial) => assert_eq!(denial.decision, explained.decision),
            Verdict::NeedReserve(request) => {
                assert_eq!((explained.permitted, explained.first), (true, Some(request.first())));
                assert_eq!(explained.rate.as_ref(), Some(request.rate()));
            }
            Verdict::NeedPin(_) => panic!("nothing asks for a PIN"),
        }
        explained.why
    }

    #[test]
    fn the_sentence_has_the_figures_that_decided() {
        assert_eq!(
            told(|_, _| {}),
            "Allowed: 0.45 USD a minute by rate 37190 (Latvia, premium); 20.00 USD are left of the day \
             budget of this extension of 20.00 USD."
        );
        assert_eq!(
            told(|_, staff| staff.countries.clear()),
            "Refused: calls to Latvia are not among the countries of role staff."
        );
        assert_eq!(
            told(|_, staff| drop(staff.classes.split_off(&Class::Premium))),
            "Refused: premium numbers are not among those of role staff."
        );
        assert_eq!(
            told(|_, staff| staff.price_max = Money(440_000)),
            "Refused: it costs 0.45 USD a minute by rate 37190 (Latvia, premium), and role staff allows \
             0.44 USD."
        );
        assert_eq!(
            told(|_, staff| staff.hours = "mon-fri 20:00-21:00".parse::<Hours>().expect("hours")),
            "Refused: role staff may call mon-fri 20:00-21:00, and it is Sunday 16:50 (UTC)."
        );
        assert_eq!(
            told(|_, staff| staff.calls_max = 0),
            "Refused: 0 calls outside are up, and role staff allows 0."
        );
        assert_eq!(
            told(|_, staff| staff.calls_per_hour = 0),
            "Refused: 0 calls were tried within an hour, and role staff allows 0."
        );
        let tight = |policy: &mut Policy, _: &mut Role| {
            let (of, window) = (Account::Operator, Window::Hour);
            policy.budgets.push(Budget { of, window, soft: None, hard: Some(Money(100_000)) });
        };
        assert_eq!(
            told(tight),
            "Refused: 0.00 USD of the hour budget of the operator of 0.10 USD are spent, and the next \
             step needs 0.45 USD."
        );
        assert_eq!(
            told(|policy, _| policy.budgets.clear()),
            "Allowed: 0.45 USD a minute by rate 37190 (Latvia, premium); no budget bounds it."
        );
        assert_eq!(
            told(|policy, _| policy.lockdown.add(Scope::Extension(ALICE))),
            "Refused: this extension is locked."
        );
    }

    #[test]
    fn an_unknown_number_abroad_is_told_by_its_country() {
        let told = |dialled| abroad(Country::US, dialled);
        let latvia = "011 371 is Latvia, but the 7 digits after it are no number there";
        assert_eq!(told("0113712000000").as_deref(), Some(latvia));
        let plus = "+371 is Latvia, but the 2 digits after it are no number there";
        assert_eq!(told("+37120").as_deref(), Some(plus));
        assert_eq!(told("2125550"), None);
    }

    #[test]
    fn an_estimate_is_called_one() {
        let policy = Policy::first(Country::US).next(|policy| {
            let staff = policy.roles.get_mut(&policy.default_role).expect("staff");
            staff.classes.insert(Class::Premium);
            staff.countries.insert("LV".parse().expect("capitals"));
            staff.price_max = Money(20_000_000);
        });
        let deck = RateDeck::estimates(policy.currency);
        let gate = Gate::new(policy, Arc::new(deck));
        let explained = gate.explain(sunday(), &calls_from_alice(latvia()), &Ledger::default());
        assert_eq!(
            explained.why,
            "Allowed: 10.00 USD a minute and 10.00 USD to connect by our own cautious guess for Latvia, \
             premium (estimate); 20.00 USD are left of the day budget of this extension of 20.00 USD."
        );
        let stranger = Attempt { standing: Standing::Stranger, ..calls_from_alice(latvia()) };
        let late = Now { instant: Instant(0), utc: Utc(0) };
        let explained = gate.explain(late, &stranger, &Ledger::default());
        assert_eq!(explained.why, "Refused: the phone is not signed in.");
        assert!(!explained.permitted && explained.first.is_none() && explained.rate.is_some());
    }
}
