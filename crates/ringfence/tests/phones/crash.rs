//! The end of the process: killed in the middle of everything, and asked to end.

use std::time::{Duration, Instant};

use actors::phone::{Action, CallId, Ending, Event, State, Voice};
use serde_json::Value;
use sip::Status;

use crate::support::driver::{Fleet, Handset};
use crate::support::server::Server;

/// What a record says, as far as this file asks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Record {
    from: String,
    to: String,
    disposition: String,
}

#[test]
fn kill_dash_nine_leaves_no_call_open_and_loses_no_record() {
    let mut server = Server::start();
    let mut fleet = Fleet::new();
    let door = server.door();
    let mut office = Vec::new();
    for number in 0..PHONES {
        let mut settings = server.extension(&number_of(number));
        settings.packet_interval = Duration::from_millis(100);
        // The last ones ring until somebody acts.
        settings.answer_after = (number < UP).then_some(Duration::ZERO);
        office.push(fleet.plug_in(&door, settings));
    }
    fleet.wait_registered(&office, OFFICE);

    // Ten calls that come to their end.
    for pair in office[..2 * FINISHED].chunks(2) {
        let (call, _) = fleet.call(pair[0], pair[1], SOON);
        fleet.wait_state(pair[0], call, State::Up, SOON);
        fleet.act(pair[0], Action::HangUp { call });
    }
    fleet.wait_idle(&office, SOON);
    let finished = server.records(FINISHED);
    assert_eq!(finished.len(), FINISHED);

    // Everybody talks, with somebody else than before.
    let (talking, others) = office.split_at(UP);
    let (ringing, dialling) = others.split_at(2 * RINGING);
    let (callers, called) = talking.split_at(UP / 2);
    for (from, to) in callers.iter().zip(called.iter().rev()) {
        dial(&fleet, *from, *to);
    }
    fleet.wait("all calls to be up", OFFICE, |seats| {
        let up = |at: &Handset| seats[at.0].phone.calls().any(|(_, state)| *state == State::Up);
        talking.iter().all(up).then_some(())
    });
    for at in [0, UP / 2 - 1, UP / 2, UP - 1] {
        let call = fleet.calls(talking[at])[0];
        let other = Voice(voice_of(UP - 1 - at));
        fleet.wait_heard(talking[at], call, other, 3, SOON);
    }
    for pair in ringing.chunks(2) {
        fleet.call(pair[0], pair[1], SOON);
    }
    let status = server.json(&["status"]);
    let shown = status["calls_up"].as_u64();
    assert!(shown >= Some(UP as u64 / 2), "{status:#}");

    // In the same moment: some hang up, some dial, and the process is killed. The first dial is on
    // its way; what becomes of the others is left to chance.
    let hang_up = |at: usize| {
        let call = fleet.calls(talking[at])[0];
        fleet.act(talking[at], Action::HangUp { call });
    };
    let first = dialling[0];
    let heard_of = fleet.seats()[first.0].received.len();
    hang_up(0);
    dial(&fleet, first, dialling[1]);
    fleet.wait("an answer to the INVITE", SOON, |seats| {
        (seats[first.0].received.len() > heard_of).then_some(())
    });
    (1..HANGING_UP).for_each(hang_up);
    for pair in dialling[2..].chunks(2) {
        dial(&fleet, pair[0], pair[1]);
    }
    server.crash();
    let killed = Instant::now();
    let up_at_kill = {
        let up = |state: &State| matches!(state, State::Up | State::HangingUp);
        let seats = fleet.seats();
        seats.iter().filter(|seat| seat.phone.calls().any(|(_, state)| up(state))).count() / 2
    };
    server.up();
    let listening = Instant::now();

    // Nobody is left in a call, and everybody is back.
    let last = |is: fn(&Event) -> bool| {
        let seats = fleet.seats();
        let last = seats.iter().filter_map(|seat| seat.last(is)).max().unwrap_or(listening);
        last.saturating_duration_since(listening)
    };
    fleet.wait("all calls to be over", OFFICE, |seats| {
        seats.iter().all(|seat| seat.phone.calls().next().is_none()).then_some(())
    });
    let last_bye = last(|event| matches!(event, Event::Ended { .. }));
    fleet.wait_registered(&office, OFFICE);
    let last_registration = last(|event| matches!(event, Event::Registered { .. }));
    let granted = {
        let seats = fleet.seats();
        let events = seats.iter().flat_map(|seat| &seat.events);
        let granted = events.filter_map(|(_, event)| match event {
            Event::Registered { expires } => Some(*expires),
            _ => None,
        });
        Duration::from_secs(granted.min().expect("registered").into())
    };

    // Every record is there, once: finished ones as they were, the others as interrupted.
    let expected = FINISHED + UP / 2 + RINGING;
    let records = server.records(expected);
    let mut told: Vec<Record> = records.iter().map(record).collect();
    told.sort();
    let count = |is: &dyn Fn(&Record) -> bool| told.iter().filter(|record| is(record)).count();
    let in_group =
        |record: &Record, group: &[Handset]| group.iter().any(|at| number_of(at.0) == record.from);
    let (was, interrupted) = ("answered", "interrupted");
    for record in &told {
        assert!([was, interrupted].contains(&record.disposition.as_str()), "{record:?}");
    }
    for finished in finished.iter().map(record) {
        assert!(told.contains(&finished), "{finished:?} is not there any more");
    }
    let mut pairs: Vec<_> = told.iter().map(|record| (&record.from, &record.to)).collect();
    pairs.dedup();
    assert_eq!(pairs.len(), told.len(), "a call with two records");
    let ringing_told =
        count(&|record| in_group(record, ringing) && record.disposition == interrupted);
    let dialling_told = count(&|record| in_group(record, dialling));
    let interrupted_told = count(&|record| record.disposition == interrupted);

    // A new call to each phone, from one it did not speak with.
    let caller = |at: usize| (at + 1) % PHONES;
    for at in (0..PHONES).step_by(2) {
        dial(&fleet, office[caller(at)], office[at]);
    }
    fleet.wait("each phone to be reachable again", OFFICE, |seats| {
        let has = |at: usize, wanted: &[State]| {
            seats[at].phone.calls().any(|(_, state)| wanted.contains(state))
        };
        let all = (0..PHONES).all(|at| has(at, &[State::Up, State::Incoming, State::RingingThere]));
        all.then_some(())
    });
    let reachable = listening.elapsed();
    let verified = server.json(&["journal", "verify"]);

    println!("| killed with                      |            |");
    println!("| -------------------------------- | ---------- |");
    println!("| phones                           | {PHONES:>10} |");
    println!("| calls up (by the phones)         | {up_at_kill:>10} |");
    println!("| calls ringing                    | {RINGING:>10} |");
    println!(
        "| from kill to listening again     | {:>8.2} s |",
        (listening - killed).as_secs_f64()
    );
    println!("| from there to the last BYE       | {:>8.2} s |", last_bye.as_secs_f64());
    println!("| from there to all registered     | {:>8.2} s |", last_registration.as_secs_f64());
    println!("| shortest granted registration    | {:>8.0} s |", granted.as_secs_f64());
    println!("| from there to each reachable     | {:>8.2} s |", reachable.as_secs_f64());
    println!("| records: all                     | {:>10} |", told.len());
    println!(
        "|   answered and ended before      | {:>10} |",
        count(&|record| record.disposition == was)
    );
    println!("|   interrupted                    | {interrupted_told:>10} |");
    println!("|     of these ringing             | {ringing_told:>10} |");
    println!("|   dialled in the last moment     | {dialling_told:>10} |");
    println!("| journal entries                  | {:>10} |", verified["entries"]);

    assert_eq!(verified["intact"], true, "{verified:#}");
    assert!(up_at_kill >= 50, "the world was not as meant: {up_at_kill} calls up");
    assert!(last_bye <= Duration::from_secs(10), "the last call ended after {last_bye:?}");
    assert!(last_registration <= granted, "{last_registration:?} without a registration");
    assert_eq!(ringing_told, RINGING);
    assert_eq!(told.len() - dialling_told, expected);
    assert!(interrupted_told >= UP / 2 - HANGING_UP + RINGING);
    assert_eq!(fleet.confusions(), Vec::<String>::new());
}

/// The second process dies before the phones are back: the third still knows what is to be ended.
#[test]
fn killed_again_before_the_phones_are_back() {
    let mut server = Server::start();
    let mut fleet = Fleet::new();
    let door = server.door();
    let phones: Vec<Handset> = (0..4)
        .map(|number| {
            let mut settings = server.extension(&number_of(number));
            settings.answer_after = (number < 2).then_some(Duration::ZERO);
            fleet.plug_in(&door, settings)
        })
        .collect();
    fleet.wait_registered(&phones, SOON);
    let (up, _) = fleet.call(phones[0], phones[1], SOON);
    fleet.wait_state(phones[0], up, State::Up, SOON);
    fleet.call(phones[2], phones[3], SOON);
    for _ in 0..3 {
        server.crash();
        server.up();
    }
    fleet.wait_idle(&phones, Duration::from_secs(10));
    fleet.wait_registered(&phones, SOON);
    let mut told: Vec<Record> = server.records(2).iter().map(record).collect();
    told.sort();
    let interrupted = |from: usize, to: usize| Record {
        from: number_of(from),
        to: number_of(to),
        disposition: "interrupted".to_owned(),
    };
    assert_eq!(told, [interrupted(0, 1), interrupted(2, 3)]);
    assert_eq!(server.json(&["journal", "verify"])["intact"], true);
    assert_eq!(fleet.confusions(), Vec::<String>::new());
}

#[test]
fn asked_to_end_it_says_bye_to_all_and_loses_nothing() {
    let mut server = Server::start();
    let mut fleet = Fleet::new();
    let door = server.door();
    let phones: Vec<Handset> = (0..24)
        .map(|number| {
            let mut settings = server.extension(&number_of(number));
            settings.answer_after = (number < 22).then_some(Duration::ZERO);
            fleet.plug_in(&door, settings)
        })
        .collect();
    fleet.wait_registered(&phones, SOON);
    for pair in phones[..20].chunks(2) {
        let (call, _) = fleet.call(pair[0], pair[1], SOON);
        fleet.wait_state(pair[0], call, State::Up, SOON);
    }
    let (rings, _) = fleet.call(phones[22], phones[23], SOON);
    // One phone hangs, so that the server has somebody to wait for.
    let (deaf, late) = (phones[0], phones[20]);
    fleet.deafen(deaf, true);

    server.terminate();
    let asked = Instant::now();
    let ended = [&phones[1..20], &phones[22..]].concat();
    fleet.wait_idle(&ended, Duration::from_secs(5));
    let last_bye = asked.elapsed();
    for at in &phones[1..20] {
        let seats = fleet.seats();
        let ended = seats[at.0].events.iter().find_map(|(_, event)| match event {
            Event::Ended { ending, .. } => Some(*ending),
            _ => None,
        });
        assert_eq!(ended, Some(Ending::OtherHungUp), "{at:?}");
    }
    let unavailable = Ending::Refused(Status::SERVICE_UNAVAILABLE);
    fleet.wait_event(phones[22], &Event::Ended { call: rings, ending: unavailable }, SOON);
    fleet.act(late, Action::Dial { number: number_of(21) });
    fleet.wait_event(late, &Event::Ended { call: CallId(1), ending: unavailable }, SOON);
    let status = server.ended(Duration::from_secs(15));
    let gone = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{status}\n{}", server.output());
    println!(
        "last BYE {:.2} s, end {:.2} s after SIGTERM",
        last_bye.as_secs_f64(),
        gone.as_secs_f64()
    );

    server.up();
    let mut told: Vec<Record> = server.records(11).iter().map(record).collect();
    assert_eq!(told.iter().filter(|record| record.from == number_of(22)).count(), 1, "{told:#?}");
    told.retain(|record| ![number_of(20), number_of(22)].contains(&record.from));
    assert_eq!(told.len(), 10, "{told:#?}");
    assert!(told.iter().all(|record| record.disposition == "answered"), "{told:#?}");
    assert_eq!(server.json(&["journal", "verify"])["intact"], true);
    fleet.deafen(deaf, false);
    fleet.wait_registered(&phones, SOON);
}

fn dial(fleet: &Fleet, from: Handset, to: Handset) {
    fleet.act(from, Action::Dial { number: number_of(to.0) });
}

fn record(value: &Value) -> Record {
    let text =
        |field: &str| value[field].as_str().unwrap_or_else(|| panic!("{value:#}")).to_owned();
    Record { from: text("from"), to: text("to"), disposition: text("disposition") }
}

/// Phone 0 has extension 2000.
fn number_of(at: usize) -> String {
    voice_of(at).to_string()
}

fn voice_of(at: usize) -> u64 {
    2_000 + at as u64
}

/// Phones in calls that are up, all of which are to be ended; two of them in the last moment.
const UP: usize = 104;
const HANGING_UP: usize = 2;
/// Calls that ring.
const RINGING: usize = 3;
/// Calls dialled in the moment of the end.
const DIALLING: usize = 3;
const FINISHED: usize = 10;
const PHONES: usize = UP + 2 * RINGING + 2 * DIALLING;
const SOON: Duration = Duration::from_secs(20);
/// For what a whole office does at once, on a busy machine.
const OFFICE: Duration = Duration::from_secs(60);
