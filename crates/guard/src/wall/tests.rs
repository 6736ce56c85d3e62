use std::net::IpAddr;

use super::*;
use crate::access::Actor;
use crate::id::DeviceId;

fn source(text: &str) -> Source {
    Source::from(text.parse::<IpAddr>().expect("an address"))
}

fn at(seconds: u64) -> Now {
    let micros = i64::try_from(seconds).expect("a test's span") * 1_000_000;
    Now { instant: Instant(seconds * 1_000_000_000), utc: Utc(1_700_000_000_000_000 + micros) }
}

fn wall() -> Wall {
    Wall::new(at(0), false, Vec::new())
}

fn pair(from: Source, account: &str, who: Who) -> Pair {
    Pair { source: from, tenant: TenantId::HOUSE, account: account.into(), who }
}

/// How many of `tries` guesses, one every `apart` seconds from `begin`, are compared.
fn guesses(wall: &mut Wall, pair: &Pair, tries: u64, apart: u64, begin: u64) -> usize {
    let compared = (0..tries).filter(|n| {
        let now = at(begin + n * apart);
        let compared = wall.may_compare(now.instant, pair, false);
        wall.failed(now, pair.clone(), compared, true);
        compared
    });
    compared.count()
}

fn effects(wall: &mut Wall) -> Vec<Effect> {
    std::iter::from_fn(|| wall.poll_effect()).collect()
}

fn facts(wall: &mut Wall) -> Vec<&'static str> {
    let facts = effects(wall).into_iter().filter_map(|effect| match effect {
        Effect::Fact { fact, .. } => Some(fact.name()),
        _ => None,
    });
    facts.collect()
}

fn spray(wall: &mut Wall, from: Source, accounts: u32, begin: u64) {
    for account in 0..accounts {
        let pair = pair(from, &format!("{}", 100 + account), Who::Unknown);
        wall.failed(at(begin), pair, true, false);
    }
}

#[test]
fn a_guesser_is_compared_five_times_and_then_held_twice_as_long_each_time() {
    let mut wall = wall();
    let guesser = pair(source("203.0.113.9"), "100", Who::Unknown);
    assert_eq!(guesses(&mut wall, &guesser, 500, 1, 0), 5, "within ten minutes");
    assert_eq!(facts(&mut wall), ["guessing-held"]);
    assert_eq!(guesses(&mut wall, &guesser, 1_000, 1, 700), 5, "held for twenty minutes now");
    // A whole day of a guess a second: 5 at 10, 20, 40 ... minutes, each time anew.
    let day = guesses(&mut wall, &guesser, 86_400 - 1_700, 1, 1_700);
    assert!(day <= 35, "{day} comparisons in a day");
}

#[test]
fn held_is_one_source_one_account_one_device() {
    let mut wall = wall();
    let office = source("192.0.2.1");
    let stale = pair(office, "101", Who::Known(DeviceId(1)));
    assert_eq!(guesses(&mut wall, &stale, 5, 1, 0), 5);
    let second = pair(office, "101", Who::Known(DeviceId(2)));
    let new = pair(office, "101", Who::Unknown);
    let neighbour = pair(office, "102", Who::Unknown);
    let elsewhere = pair(source("192.0.2.2"), "101", Who::Unknown);
    let bound = pair(office, "101", Who::Bound(DeviceId(1)));
    for other in [second, new, neighbour, elsewhere, bound] {
        assert!(wall.may_compare(at(6).instant, &other, false), "{other:?}");
    }
}

#[test]
fn a_held_pair_keeps_a_few_comparisons_for_help_and_for_a_phone_put_right() {
    let mut wall = wall();
    let phone = pair(source("192.0.2.1"), "101", Who::Known(DeviceId(1)));
    let stranger = pair(source("203.0.113.9"), "101", Who::Unknown);
    for held in [&phone, &stranger] {
        guesses(&mut wall, held, 5, 1, 0);
    }
    let compared = |wall: &mut Wall, pair, help, seconds: u64| {
        (0..50).filter(|_| wall.may_compare(at(seconds).instant, pair, help)).count()
    };
    assert_eq!(compared(&mut wall, &phone, false, 10), 6);
    assert_eq!(compared(&mut wall, &stranger, false, 10), 0);
    assert_eq!(compared(&mut wall, &stranger, true, 10), 6);
    // Ten minutes on the hold is over; the next one is longer.
    guesses(&mut wall, &phone, 5, 1, 700);
    assert_eq!(compared(&mut wall, &phone, false, 710), 6);
    assert_eq!(compared(&mut wall, &phone, false, 720), 0);
    assert_eq!(compared(&mut wall, &phone, false, 1_320), 1, "one more in ten minutes");
}

#[test]
fn a_success_forgets_the_failures_before_it() {
    let mut wall = wall();
    let phone = pair(source("192.0.2.1"), "101", Who::Unknown);
    for begin in 0..100 {
        assert_eq!(guesses(&mut wall, &phone, 4, 1, begin * 10), 4);
        wall.succeeded(at(begin * 10 + 5), &phone, ExtensionId(1));
    }
    assert!(wall.held(at(1_000)).is_empty());
}

#[test]
fn peace_for_a_day_forgets_all() {
    let mut wall = wall();
    let guesser = pair(source("203.0.113.9"), "100", Who::Unknown);
    guesses(&mut wall, &guesser, 5, 1, 0);
    assert_eq!(wall.held(at(5)).len(), 1);
    let later = 2 * 86_400;
    guesses(&mut wall, &guesser, 5, 1, later);
    let held = wall.held(at(later + 5));
    assert_eq!((held[0].times, held[0].until), (1, at(later + 4 + 600).utc));
    assert_eq!((held[0].compared, wall.guesses(guesser.source)), (5, 5));
}

#[test]
fn a_sprayer_that_is_nobody_is_banned_for_an_hour_and_then_for_two() {
    let mut wall = wall();
    let sprayer = source("203.0.113.9");
    spray(&mut wall, sprayer, 10, 0);
    assert!(!wall.is_banned(at(0).instant, sprayer));
    spray(&mut wall, sprayer, 11, 1);
    assert!(wall.is_banned(at(1).instant, sprayer));
    let placed = effects(&mut wall);
    let until = at(3_601).utc;
    assert!(placed.contains(&Effect::Admission(Change::Ban { source: sprayer, until })));
    assert!(placed.contains(&Effect::Close(sprayer)));
    assert_eq!(wall.poll_timeout(), Some(at(3_601).instant));
    wall.expire(at(3_601));
    assert!(!wall.is_banned(at(3_601).instant, sprayer));
    assert!(effects(&mut wall).contains(&Effect::Admission(Change::Unban(sprayer))));
    spray(&mut wall, sprayer, 11, 3_700);
    assert_eq!(wall.bans()[0].until, at(3_700 + 7_200).utc);
    assert_eq!(wall.bans()[0].times, 2);
}

#[test]
fn whoever_has_standing_is_slowed_and_never_banned() {
    let [office, carrier, roamer] = ["192.0.2.1", "198.51.100.9", "192.0.2.9"].map(source);
    let mut wall = wall();
    wall.bound(office);
    wall.carriers(BTreeSet::from([carrier]));
    wall.stands(at(0), roamer, ExtensionId(1), Duration::ZERO);
    for somebody in [office, carrier, roamer] {
        spray(&mut wall, somebody, 40, 100);
        for n in 0..100 {
            wall.asked(at(100), somebody, &format!("{n}"), true);
            wall.asked(at(200), somebody, &format!("{n}"), true);
        }
        assert!(!wall.scanner(at(200), somebody, "sipvicious", true));
        assert!(!wall.is_banned(at(201).instant, somebody));
        let new = pair(somebody, "777", Who::Unknown);
        let tries = |wall: &mut Wall| {
            (0..50).filter(|_| wall.may_compare(at(201).instant, &new, false)).count()
        };
        assert_eq!(tries(&mut wall), 6);
        let known = pair(somebody, "777", Who::Known(DeviceId(7)));
        assert!((0..50).all(|_| wall.may_compare(at(201).instant, &known, false)));
    }
    assert!(wall.bans().is_empty());
    assert_eq!(wall.slowed(at(201)).len(), 3);
    let told = effects(&mut wall);
    assert!(!told.iter().any(|e| matches!(e, Effect::Admission(Change::Ban { .. }))));
}

#[test]
fn standing_lifts_a_ban_and_ends_after_thirty_days() {
    let mut wall = wall();
    let somebody = source("203.0.113.9");
    spray(&mut wall, somebody, 11, 0);
    effects(&mut wall);
    let phone = pair(somebody, "101", Who::Unknown);
    wall.succeeded(at(10), &phone, ExtensionId(1));
    assert!(!wall.is_banned(at(10).instant, somebody));
    let told: Vec<Effect> =
        effects(&mut wall).into_iter().filter(|e| matches!(e, Effect::Admission(_))).collect();
    let [unban, trust] = [Change::Unban(somebody), Change::Trust(somebody)].map(Effect::Admission);
    assert_eq!(told, [unban, trust]);
    let month = 30 * 86_400;
    wall.expire(at(month));
    assert!(wall.standing(somebody).is_some());
    wall.expire(at(month + 10));
    assert!(wall.standing(somebody).is_none());
    assert!(effects(&mut wall).contains(&Effect::Admission(Change::Distrust(somebody))));
}

#[test]
fn a_replaced_secret_takes_the_thiefs_standing_and_lets_the_owner_try_again() {
    let mut wall = wall();
    let thief = source("203.0.113.9");
    wall.stands(at(0), thief, ExtensionId(1), Duration::ZERO);
    assert_eq!(wall.may_ban(thief), Err(Protected::SignedIn));
    let phone = pair(source("192.0.2.1"), "101", Who::Unknown);
    guesses(&mut wall, &phone, 5, 1, 0);
    wall.renewed(ExtensionId(1), TenantId::HOUSE, "101");
    assert_eq!(wall.may_ban(thief), Ok(()));
    assert!(wall.may_compare(at(6).instant, &phone, false));
}

#[test]
fn forty_phones_that_come_back_at_once_are_no_scan() {
    let mut wall = wall();
    let office = source("192.0.2.1");
    for second in 0..3 {
        for phone in 0..40 {
            wall.asked(at(second), office, &format!("{}", 100 + phone), true);
        }
    }
    for phone in 0..40 {
        wall.answered(office, &format!("{}", 100 + phone));
    }
    for phone in 0..40 {
        wall.asked(at(60), office, &format!("{}", 100 + phone), true);
    }
    assert!(effects(&mut wall).is_empty());
}

#[test]
fn accounts_that_are_only_asked_for_are_a_scan() {
    let sees = |proved| {
        let mut wall = wall();
        let scanner = source("203.0.113.9");
        for second in 0..120 {
            wall.asked(at(second), scanner, &format!("{}", 100 + second), proved);
        }
        (facts(&mut wall), wall.is_banned(at(120).instant, scanner))
    };
    assert_eq!(sees(true), (vec!["scanner-seen", "ban-placed"], true));
    // Whoever writes the packet writes the address.
    assert_eq!(sees(false), (vec!["scanner-seen"], false));
}

#[test]
fn a_tool_is_told_once_and_banned_where_it_is_proved() {
    let mut wall = wall();
    let tool = source("203.0.113.9");
    for second in 0..100 {
        assert!(wall.scanner(at(second), tool, "friendly-scanner", false));
    }
    assert_eq!(facts(&mut wall), ["scanner-seen"]);
    assert!(wall.scanner(at(100), tool, "friendly-scanner", true));
    assert_eq!(wall.bans()[0].until, at(700).utc);
}

#[test]
fn administrators_ban_nobody_of_ours_and_undo_at_once() {
    let mut wall = wall();
    let (office, stranger) = (source("192.0.2.1"), source("203.0.113.9"));
    wall.bound(office);
    assert_eq!(wall.may_ban(office), Err(Protected::Phones(1)));
    assert_eq!(wall.may_ban(source("127.0.0.1")), Err(Protected::Ourselves));
    assert_eq!(wall.may_ban(stranger), Ok(()));
    let ban = Ban {
        source: stranger,
        cause: BanCause::Administrator { why: "rings at night".to_owned() },
        since: at(0).utc,
        until: at(7_200).utc,
        times: 1,
        by: Some(Actor::System),
    };
    wall.ban(at(0), ban);
    let guesser = pair(stranger, "100", Who::Unknown);
    guesses(&mut wall, &guesser, 5, 1, 0);
    assert!(wall.is_banned(at(7_199).instant, stranger));
    wall.unban(stranger, None);
    assert!(!wall.is_banned(at(6).instant, stranger));
    assert!(wall.may_compare(at(6).instant, &guesser, false));
    guesses(&mut wall, &guesser, 5, 1, 10);
    let other = pair(stranger, "101", Who::Unknown);
    guesses(&mut wall, &other, 5, 1, 10);
    wall.unban(stranger, Some("100"));
    assert!(wall.may_compare(at(20).instant, &guesser, false));
    assert!(!wall.may_compare(at(20).instant, &other, false));
}

#[test]
fn bans_come_back_after_a_restart_and_the_old_ones_are_forgotten() {
    let mut wall = wall();
    let [new, old] = ["203.0.113.9", "203.0.113.10"].map(source);
    spray(&mut wall, new, 11, 0);
    spray(&mut wall, old, 11, 0);
    let mut kept = wall.bans();
    kept.iter_mut().filter(|ban| ban.source == old).for_each(|ban| ban.until = at(50).utc);
    // The clock of a process begins anew.
    let later = Now { instant: Instant(5), utc: at(100).utc };
    let mut wall = Wall::new(later, false, kept);
    assert!(wall.is_banned(later.instant, new) && !wall.is_banned(later.instant, old));
    let told = effects(&mut wall);
    assert!(told.contains(&Effect::Forget(old)));
    let until = at(3_600).utc;
    assert!(told.contains(&Effect::Admission(Change::Ban { source: new, until })));
}

#[test]
fn a_full_table_frees_nobody_and_locks_nobody_out() {
    let mut wall = wall();
    let first = pair(source("203.0.113.9"), "100", Who::Unknown);
    guesses(&mut wall, &first, 5, 0, 0);
    // An attacker with a /48 of its own, one guess at five accounts from each /64.
    for network in 0..u32::try_from(PAIRS_MAX / 4).expect("small") {
        let rented = source(&format!("2001:db8:{:x}:{:x}::1", 7, network));
        for account in 0..5 {
            let pair = pair(rented, &format!("{}", 100 + account), Who::Unknown);
            assert!(wall.may_compare(at(1).instant, &pair, false));
            wall.failed(at(1), pair, true, true);
        }
    }
    assert!(!wall.may_compare(at(2).instant, &first, false), "somebody else's hold stands");
    let honest = pair(source("192.0.2.1"), "100", Who::Unknown);
    assert!(wall.may_compare(at(2).instant, &honest, false));
    assert_eq!(guesses(&mut wall, &honest, 9, 0, 2), 5, "and a newcomer is counted like any");
}

/// The account is the attacker's to choose, and the line is pasted into a root shell.
#[test]
fn what_undoes_a_hold_can_be_pasted() {
    let from = source("203.0.113.9");
    assert_eq!(undo(from, "101"), "ringfence unban 203.0.113.9 --account 101");
    for hostile in ["", "101; reboot", "$(reboot)", "--all", "a b", "\u{202e}101", "`x`"] {
        assert_eq!(undo(from, hostile), "ringfence unban 203.0.113.9", "{hostile}");
    }
}

/// A pair that is held at its own office says so.
#[test]
fn a_hold_knows_whether_its_place_is_somebodys() {
    let mut wall = wall();
    let (office, street) = (source("203.0.113.5"), source("198.51.100.7"));
    wall.bound(office);
    for from in [office, street] {
        guesses(&mut wall, &pair(from, "101", Who::Unknown), 5, 0, 0);
    }
    let held = wall.held(at(1));
    let home = |of: Source| held.iter().find(|one| one.pair.source == of).unwrap().home;
    assert_eq!((home(office), home(street)), (Some(Protected::Phones(1)), None));
    spray(&mut wall, office, 11, 2);
    let slowed = wall.slowed(at(5));
    let [one] = &slowed[..] else { panic!("{slowed:?}") };
    assert!(one.accounts >= 11 && one.since <= at(5).utc && one.since >= at(2).utc, "{one:?}");
}

#[test]
fn switched_off_it_is_no_wall() {
    let mut wall = Wall::new(at(0), true, Vec::new());
    let guesser = pair(source("203.0.113.9"), "100", Who::Unknown);
    assert_eq!(guesses(&mut wall, &guesser, 100, 1, 0), 100);
    spray(&mut wall, guesser.source, 100, 0);
    assert!(!wall.scanner(at(0), guesser.source, "sipvicious", true));
    assert!(effects(&mut wall).is_empty());
}

/// A guest in an office whose phone lost its power: how often either is compared.
#[test]
fn a_phone_that_comes_back_without_a_name_is_let_in_beside_a_guest_who_guesses() {
    let mut wall = wall();
    let home = pair(source("192.0.2.1"), "100", Who::Home);
    assert_eq!(guesses(&mut wall, &home, 5, 1, 0), 5);
    assert!(!wall.held(at(6)).is_empty());
    assert!(wall.may_compare(at(10).instant, &home, false), "the phone");
    wall.succeeded(at(10), &home, ExtensionId(1));
    assert!(!wall.held(at(11)).is_empty(), "and the guest begins nothing anew");
    let day = guesses(&mut wall, &home, 86_400, 1, 20);
    assert!((50..=140).contains(&day), "{day} comparisons in a day");
    // Whoever knows what a phone there is known by has some more.
    let known = pair(source("192.0.2.1"), "100", Who::Known(DeviceId(1)));
    let day = guesses(&mut wall, &known, 86_400, 1, 200_000);
    assert!((140..=230).contains(&day), "{day} comparisons in a day");
    // Where nobody of this extension ever was, there is nothing to spare.
    let stranger = pair(source("203.0.113.9"), "100", Who::Unknown);
    assert!(guesses(&mut wall, &stranger, 86_400, 1, 100_000) <= 40);
}

#[test]
fn whoever_invents_names_empties_no_limit() {
    let mut wall = wall();
    let office = source("192.0.2.1");
    wall.stands(at(0), office, ExtensionId(1), Duration::ZERO);
    let guesser = pair(office, "100", Who::Unknown);
    let mut compared = 0;
    for round in 0..6 {
        let begin = round * 35;
        compared += guesses(&mut wall, &guesser, 4, 1, begin);
        for n in 0..34_000 {
            let junk = pair(office, &format!("junk-{round}-{n}"), Who::Unknown);
            wall.failed(at(begin + 5), junk, true, false);
        }
        assert!(wall.nobodies.iter().count() <= NOBODIES_PER_SOURCE_MAX);
    }
    // The slow lane of a sprayer apart, five in ten minutes.
    assert!(compared <= 5, "{compared}");
    assert_eq!(wall.pairs.iter().count(), 1);
}

#[test]
fn forged_scanners_are_some_lines_a_minute() {
    let mut wall = wall();
    for n in 0..3_800_u32 {
        let from = source(&std::net::Ipv4Addr::from_bits(0xcb00_0000 + n).to_string());
        assert!(wall.scanner(at(u64::from(n) / 190), from, "friendly-scanner", false));
    }
    wall.tell(at(61).instant);
    let told = facts(&mut wall);
    assert_eq!(told.len(), 11, "{told:?}");
    assert_eq!(told.last(), Some(&"strangers-summed"));
}
