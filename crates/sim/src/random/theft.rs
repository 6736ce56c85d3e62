//! Somebody has stolen a password and spends as fast as every rule allows, until the next working
//! morning. What the carriers then ask for must not be more than what was printed before.
//!
//! The thief has two phones at one extension, knows the rules and the prices, mostly dials the dearest
//! number that is allowed, hangs up where an increment has just begun, and tries again at once. The
//! network is a good one: what a carrier bills beyond a round trip of half a second is stated elsewhere.

use std::sync::Arc;
use std::time::Duration;

use actors::carrier::Habit;
use actors::phone::{self, Action, Ending};
use guard::exposure::ExposureLine;
use guard::id::ExtensionId;
use guard::number::Country;
use guard::policy::Scope;
use pbx::command::{Command, Reply};
use pbx::directory::Exceptions;
use pbx::settings::Settings;
use pure::{Chance, Instant};

use super::outside::{self, NUMBERS};
use super::secret;
use crate::house::{self, Line};
use crate::link::Weather;
use crate::world::{Act, Cast, World, ordinary};

/// How a theft came out.
#[derive(Debug)]
pub struct Theft {
    pub seed: u64,
    /// The most that was printed before, in millionths.
    pub most: i64,
    /// What carriers ask for.
    pub billed: i64,
    /// What our records say.
    pub settled: i64,
    pub calls: usize,
    pub hours: f64,
    pub broken: Vec<String>,
}

/// Plays the theft of a seed.
pub fn steal(seed: u64) -> Theft {
    let mut chance = Chance::from_number(seed ^ 0x7e57);
    let weather = Weather {
        delay_min: Duration::from_millis(chance.below(60)),
        jitter: Duration::from_millis(1 + chance.below(60)),
        ..Weather::STILL
    };
    let mut world = World::new(Settings::default(), weather, chance.fork());
    world.log_max = 2_000;
    world.log_registering = false;
    world.commit_delay = Duration::from_millis(chance.below(30));
    world.relay_delay = Duration::from_millis(chance.below(4));
    // Any time of the week, mostly of its working days: nights pass sooner than weekends.
    let seconds = match chance.one_in(8) {
        true => chance.below(7 * 86_400),
        false => 43_200 + chance.below(4 * 86_400),
    };
    let seconds = i64::try_from(seconds).expect("a week");
    world.act(Act::ClockStep { seconds });
    let extension = world.server.store.install(NUMBER, &secret(NUMBER), Exceptions::default());
    world.watch.secrets.push(secret(NUMBER));
    let policy = world.server.store.policy.next(|policy| {
        let role = outside::role(&mut chance);
        policy.roles.insert(guard::id::RoleId(1), role);
        policy.budgets = outside::budgets(&mut chance);
    });
    world.server.store.policy = policy;
    world.server.store.deck = Arc::new(house::deck(&house::tariffs()));
    for (id, name) in [(1, "acme"), (2, "bell")] {
        let mut line = Line::new(name, id);
        line.carrier.packet_interval = PACKETS;
        line.carrier.otherwise = Habit::answers();
        line.build(&mut world);
    }
    world.act(Act::Start);
    for host in [1, 2] {
        let mut settings = ordinary(NUMBER, &secret(NUMBER), host);
        settings.packet_interval = PACKETS;
        settings.expires = 600;
        let name = format!("thief{host}");
        let phone = world.add(Cast { name, settings, translated: false, session: None });
        world.act(Act::Phone { phone, action: Action::Start });
    }
    world.run(Duration::from_secs(10));
    let (line, until) = printed(&mut world, extension);
    let begin = world.now();
    let end = begin.instant + until.since(begin.utc);
    spend(&mut world, &mut chance, end);
    // What is up goes on; whoever comes to work hangs it up.
    for phone in 0..world.phones.len() {
        let calls: Vec<_> = world.phones[phone].phone.calls().map(|(id, _)| id).collect();
        for call in calls {
            world.act(Act::Phone { phone, action: Action::HangUp { call } });
        }
    }
    world.run(Duration::from_secs(120));
    let records = world.carriers.iter().flat_map(|node| node.carrier.records());
    let billed: i64 = records.map(|record| record.cost).sum();
    let tolls = world.server.store.cdrs.iter().flat_map(|cdr| &cdr.tolls);
    let settled = tolls.map(|toll| toll.cost.0).sum();
    let calls = world.carriers.iter().map(|node| node.carrier.records().len()).sum();
    crate::model::money::judge(&mut world);
    let mut broken = std::mem::take(&mut world.watch.broken);
    let most = line.most.0;
    if billed > most || settled > most {
        broken.push(format!(
            "exposure: {billed} billed and {settled} settled, {most} printed ({:?})",
            line.binding
        ));
    }
    let hours = end.since(begin.instant).as_secs_f64() / 3_600.0;
    Theft { seed, most, billed, settled, calls, hours, broken }
}

/// What is printed of the stolen extension, and until when it holds.
fn printed(world: &mut World, extension: ExtensionId) -> (ExposureLine, pure::Utc) {
    world.replies.clear();
    world.command(Command::Exposure);
    let Some(Reply::Exposure(exposure)) = world.replies.pop() else {
        panic!("exposure is answered at once");
    };
    let line = exposure.lines.iter().find(|line| line.of == Scope::Extension(extension));
    (*line.expect("a line for each extension"), exposure.until)
}

fn spend(world: &mut World, chance: &mut Chance, end: Instant) {
    let policy = world.server.store.policy.clone();
    let (_, role) = policy.role_of(ExtensionId(0));
    let role = role.expect("the default role").clone();
    let mut loot: Vec<(&str, i64)> = Vec::new();
    for (dialled, told, class, country) in NUMBERS {
        let country: Option<Country> = country.map(|code| code.parse().expect("a country"));
        let here = country.is_none_or(|c| c == policy.home || role.countries.contains(&c));
        let tariffs = house::tariffs();
        let price = actors::carrier::Tariff::of(&tariffs, told).map_or(0, |t| t.per_minute);
        if role.classes.contains(class) && here && price <= role.price_max.0 {
            loot.push((dialled, price));
        }
    }
    loot.sort_by_key(|(_, price)| -price);
    let mut patience = TRY_AGAIN;
    while world.now().instant < end && !loot.is_empty() {
        let phone = usize::from(chance.one_in(2));
        let which = match chance.one_in(4) {
            true => usize::try_from(chance.below(loot.len() as u64)).expect("below"),
            false => 0,
        };
        let up: usize = world.phones.iter().map(|node| node.phone.calls().count()).sum();
        if up <= usize::from(role.calls_max) {
            let action = Action::Dial { number: loot[which].0.to_owned() };
            world.act(Act::Phone { phone, action });
        }
        // Some calls are hung up a moment after an increment has begun, others talk on.
        let seen = world.phones[phone].events.len();
        world.run(Duration::from_millis(1_500 + chance.below(2_000)));
        let refused = world.phones[phone].events[seen..].iter().any(|(_, event)| {
            matches!(event, phone::Event::Ended { ending: Ending::Refused(_), .. })
        });
        patience = match refused {
            true => (patience * 2).min(TRY_AGAIN_MAX),
            false => TRY_AGAIN,
        };
        if chance.one_in(3)
            && let Some(call) = world.newest_call(phone)
        {
            world.run(Duration::from_secs(60 * chance.below(3)) + Duration::from_millis(200));
            world.act(Act::Phone { phone, action: Action::HangUp { call } });
        }
        let left = end.since(world.now().instant);
        world.run(patience.min(left));
    }
}

const NUMBER: &str = "101";
/// Few packets, so that a night takes no time; more often than anybody's limit of silence.
const PACKETS: Duration = Duration::from_secs(20);
const TRY_AGAIN: Duration = Duration::from_secs(1);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thief_spends_more_than_was_printed() {
        let (mut near, mut spent) = (0, 0);
        for seed in 1..=60 {
            let theft = steal(seed);
            assert!(theft.broken.is_empty(), "{theft:#?}");
            near += usize::from(theft.billed * 2 > theft.most);
            spent += usize::from(theft.billed > 0);
        }
        // A bound that nobody comes near, or thieves who get nothing, would prove little.
        assert!(spent > 30 && near >= 5, "{spent} spent, {near} came near");
    }
}
