//! What random worlds have outside: carriers of all kinds, rules and budgets small enough to bite, and
//! people at both ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actors::carrier::{self, Habit, Takes};
use actors::phone::Action;
use guard::access::Actor;
use guard::id::{RoleId, TrunkId};
use guard::ledger::Window;
use guard::money::Money;
use guard::number::{Class, Country};
use guard::policy::{Account, Budget, Hours, Role};
use pbx::command::{Change, Command};
use pbx::flow::Transport;
use pure::{Chance, Instant};
use sip::Status;

use super::{PACKETS, Play};
use crate::house::{self, Line};
use crate::world::{Act, InCall, OfCarrier, World};

/// What people dial, how a carrier is told, and what it is. The class of numbers at home stands for all
/// that a role has or hasn't together.
pub(super) const NUMBERS: &[(&str, &str, Class, Option<&str>)] = &[
    ("12125550177", "+12125550177", Class::National, Some("US")),
    ("14155550142", "+14155550142", Class::National, Some("US")),
    ("18005550123", "+18005550123", Class::TollFree, Some("US")),
    ("19005550123", "+19005550123", Class::Premium, Some("US")),
    ("18765550123", "+18765550123", Class::NanpAbroad, Some("JM")),
    ("011442079460000", "+442079460000", Class::International, Some("GB")),
    ("011447700900123", "+447700900123", Class::International, Some("GB")),
    ("01137127123456", "+37127123456", Class::International, Some("LV")),
    ("011881631555123", "+881631555123", Class::Satellite, None),
];

/// Two or three lines, a policy and a deck.
pub(super) fn lines(world: &mut World, chance: &mut Chance, calm: bool) -> usize {
    for (_, told, class, country) in NUMBERS {
        let country = country.map(|code| code.parse().expect("a country"));
        world.watch.bills.numbers.insert((*told).to_owned(), (*class, country));
    }
    world.server.store.deck = Arc::new(house::deck(&house::tariffs()));
    let policy = world.server.store.policy.next(|policy| {
        policy.roles.insert(RoleId(1), role(chance));
        policy.budgets = budgets(chance);
    });
    world.server.store.policy = policy;
    let names = ["acme", "bell", "cova"];
    let count = 2 + usize::from(chance.one_in(3));
    let extensions: Vec<_> = world.server.store.extensions().map(|e| e.id).collect();
    for (at, name) in names.into_iter().take(count).enumerate() {
        let id = u32::try_from(at + 1).expect("few lines");
        let line = line(Line::new(name, id), chance, calm);
        let trunk = TrunkId(line.id);
        for (which, extension) in extensions.iter().enumerate().filter(|(i, _)| i % count == at) {
            let number = format!("+1212555010{which}");
            world.server.store.install_inbound(&number, trunk, *extension);
        }
        line.build(world);
    }
    count
}

fn line(line: Line, chance: &mut Chance, calm: bool) -> Line {
    let mut line = match chance.below(5) {
        0 | 1 => line,
        2 => line.by_address(Transport::Udp).plain(),
        3 => {
            let mut line = line.by_address(Transport::Tls);
            line.account = true;
            line.carrier.challenges_invites = true;
            line
        }
        _ => {
            let mut line = line.plain();
            line.transport = if chance.one_in(2) { Transport::Udp } else { Transport::Tcp };
            line
        }
    };
    if line.registers && chance.one_in(2) {
        line.carrier.challenges_invites = true;
    }
    // What knows a password can ask for it in every request.
    line.carrier.challenges_calls = line.account && chance.one_in(3);
    if chance.one_in(6) {
        line.carrier.refuses_byes = 1 + u8::try_from(chance.below(3)).expect("below");
    }
    if chance.one_in(3) {
        line.channels = 1 + u16::try_from(chance.below(2)).expect("below");
    }
    line.carrier.channels = match chance.below(4) {
        0 => usize::from(line.channels),
        _ => 20,
    };
    line.carrier.packet_interval = PACKETS;
    line.carrier.expires = 60 + u32::try_from(chance.below(120)).expect("below");
    line.carrier.otherwise = habit(chance, calm);
    for (_, told, ..) in NUMBERS {
        if chance.one_in(2) {
            line.carrier.numbers.insert((*told).to_owned(), habit(chance, calm));
        }
    }
    // Whoever answers for help takes every call.
    line.carrier.numbers.insert(crate::model::money::HELP.to_owned(), Habit::answers());
    line
}

fn habit(chance: &mut Chance, calm: bool) -> Habit {
    let takes = match chance.below(12) {
        0 => Takes::Refuses(Status::BUSY_HERE),
        1 => Takes::Refuses(Status::DECLINE),
        2 => Takes::Refuses(Status::NOT_FOUND),
        3 => Takes::Refuses(Status::SERVICE_UNAVAILABLE),
        4 => Takes::Rings,
        5 if !calm => Takes::Mute,
        _ => Takes::Answers { after: Duration::from_millis(chance.below(6_000)) },
    };
    Habit {
        takes,
        early_media: chance.one_in(4),
        talks: chance.one_in(4).then(|| Duration::from_millis(1_000 + chance.below(60_000))),
        answers_when_cancelled: chance.one_in(4),
        keeps_alive: chance.one_in(3),
    }
}

pub(super) fn role(chance: &mut Chance) -> Role {
    let mut classes = BTreeSet::new();
    let mut countries = BTreeSet::new();
    if !chance.one_in(12) {
        classes.extend([Class::Local, Class::National, Class::Mobile, Class::Shared]);
    }
    let mut abroad = |code: &str| {
        countries.insert(code.parse::<Country>().expect("a country"));
    };
    if chance.one_in(2) {
        classes.insert(Class::TollFree);
    }
    if chance.one_in(2) {
        classes.insert(Class::International);
        abroad("GB");
    }
    if chance.one_in(4) {
        abroad("LV");
    }
    if chance.one_in(3) {
        classes.insert(Class::NanpAbroad);
        abroad("JM");
    }
    if chance.one_in(3) {
        classes.insert(Class::Premium);
    }
    if chance.one_in(4) {
        classes.insert(Class::Satellite);
    }
    Role {
        classes,
        countries,
        hours: if chance.one_in(12) { Hours::never() } else { Hours::always() },
        calls_max: 1 + u16::try_from(chance.below(3)).expect("below"),
        calls_per_hour: 2 + u16::try_from(chance.below(30)).expect("below"),
        longest: Duration::from_secs(20 + chance.below(4_000)),
        price_max: Money([20_000, 300_000, 2_000_000, 10_000_000][chance.below(4) as usize]),
        ..Role::staff()
    }
}

pub(super) fn budgets(chance: &mut Chance) -> Vec<Budget> {
    let mut budgets = Vec::new();
    let accounts = [Account::EachExtension, Account::Role(RoleId(1)), Account::Operator];
    for of in accounts {
        for window in Window::ALL {
            if chance.one_in(3) {
                // From half a cent to a few dollars.
                let hard = 5_000 << chance.below(11);
                let soft = chance.one_in(2).then_some(Money(hard / 2));
                budgets.push(Budget { of, window, soft, hard: Some(Money(hard)) });
            }
        }
    }
    budgets
}

/// Every carrier is as it was.
pub(super) fn heal(world: &mut World) {
    for carrier in 0..world.carriers.len() {
        for what in [
            OfCarrier::Do(carrier::Action::Start),
            OfCarrier::Heal,
            OfCarrier::Open,
            OfCarrier::Lag(Duration::ZERO),
            OfCarrier::Registrar { closed: None },
        ] {
            world.act(Act::Carrier { carrier, what });
        }
    }
}

/// The lines are switched off, so that nothing is kept alive any more.
pub(super) fn take_down(world: &mut World) {
    let trunks: Vec<_> = world.server.store.trunks().cloned().collect();
    for mut trunk in trunks {
        trunk.enabled = false;
        let change = Change::SetTrunk { trunk: Box::new(trunk), secret: None };
        world.command(Command::Change { actor: Actor::System, change });
    }
}

impl Play {
    pub(super) fn call_outside(&mut self, when: Instant) {
        let phone = self.someone();
        // Most people call at home.
        let which = match self.chance.one_in(2) {
            true => self.chance.below(3),
            false => self.chance.below(NUMBERS.len() as u64),
        };
        let (dialled, ..) = NUMBERS[usize::try_from(which).expect("below")];
        let number = dialled.to_owned();
        let action = match self.chance.one_in(8) {
            true => Action::DialWithoutOffer { number },
            false => Action::Dial { number },
        };
        self.world.at(when, Act::Phone { phone, action });
        let mut at = when;
        for _ in 0..self.chance.below(3) {
            at += self.span(Duration::from_secs(12));
            let what = match self.chance.below(4) {
                0 => InCall::Hold,
                1 => InCall::Resume,
                2 => InCall::Move,
                _ => InCall::Press('5'),
            };
            self.world.at(at, Act::InCall { phone, what });
        }
        if self.chance.one_in(6) {
            let carrier = self.some_carrier();
            let actions = [carrier::Action::HoldAll, carrier::Action::ResumeAll];
            for action in actions {
                let what = OfCarrier::Do(action);
                self.world.at(at, Act::Carrier { carrier, what });
                at += self.span(Duration::from_secs(6));
            }
        }
        let end = match self.chance.below(6) {
            0 => when + self.span(Duration::from_millis(3_000)),
            1 => when + Duration::from_secs(70 + self.chance.below(120)),
            _ => at + self.span(Duration::from_secs(30)),
        };
        self.world.at(end, Act::InCall { phone, what: InCall::HangUp });
    }

    pub(super) fn call_from_outside(&mut self, when: Instant) {
        let numbers: Vec<_> = self.world.server.store.inbound().cloned().collect();
        let which = usize::try_from(self.chance.below(numbers.len() as u64)).expect("below");
        let inbound = &numbers[which];
        let carrier = usize::try_from(inbound.trunk.0 - 1).expect("small");
        let settings = self.world.carriers[carrier].carrier.settings();
        let registers = self.world.server.store.trunks().any(|trunk| {
            trunk.id == inbound.trunk
                && matches!(trunk.access, pbx::directory::TrunkAccess::Registration(_))
        });
        let account = settings.accounts.first().map(|account| account.user.clone());
        let what = OfCarrier::Do(carrier::Action::Call {
            from: "+14155550199".to_owned(),
            number: inbound.number.clone(),
            account: account.filter(|_| registers),
            host: crate::server::HOST.to_string(),
        });
        self.world.at(when, Act::Carrier { carrier, what });
        let end = when + self.span(Duration::from_secs(60));
        let what = OfCarrier::Do(carrier::Action::HangUpAll);
        self.world.at(end, Act::Carrier { carrier, what });
    }

    pub(super) fn fault_outside(&mut self, when: Instant) {
        let carrier = self.some_carrier();
        let (what, back) = match self.chance.below(6) {
            0 => (OfCarrier::Cut, OfCarrier::Heal),
            1 => (OfCarrier::Close, OfCarrier::Open),
            2 => {
                let (die, start) = (carrier::Action::Die, carrier::Action::Start);
                (OfCarrier::Do(die), OfCarrier::Do(start))
            }
            3 => {
                let lag = self.span(Duration::from_secs(3));
                (OfCarrier::Lag(lag), OfCarrier::Lag(Duration::ZERO))
            }
            4 => {
                let closed = Some(5);
                (OfCarrier::Registrar { closed }, OfCarrier::Registrar { closed: None })
            }
            _ => {
                let hang_up = || OfCarrier::Do(carrier::Action::HangUpAll);
                (hang_up(), hang_up())
            }
        };
        self.world.at(when, Act::Carrier { carrier, what });
        let until = when + Duration::from_secs(5) + self.span(Duration::from_secs(100));
        self.world.at(until, Act::Carrier { carrier, what: back });
    }

    fn some_carrier(&mut self) -> usize {
        usize::try_from(self.chance.below(self.lines as u64)).expect("below their number")
    }
}
