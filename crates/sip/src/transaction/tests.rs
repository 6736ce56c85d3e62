//! Ladders: `in` arrives, `core` is what our own side does, all other lines are what the engine did.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::Status;

/// The wire of a test: reliable or not, and which of several peers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Wire {
    reliable: bool,
    peer: u8,
}

impl Path for Wire {
    fn is_reliable(&self) -> bool {
        self.reliable
    }
}

struct World {
    engine: Transactions<Wire>,
    wire: Wire,
    now: Instant,
    trace: Vec<String>,
    /// The last request that came up, or was sent: answers are built from it.
    request: Option<Request>,
    key: Option<Key>,
    begun: BTreeSet<Key>,
    ended: BTreeSet<Key>,
}

impl World {
    fn new(reliable: bool, config: Config) -> Self {
        Self {
            engine: Transactions::new(config, Chance::from_number(1)),
            wire: Wire { reliable, peer: 0 },
            now: Instant(0),
            trace: Vec::new(),
            request: None,
            key: None,
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    fn note(&mut self, what: &str) {
        self.trace.push(format!("{}ms {what}", self.now.0 / 1_000_000));
    }

    fn give(&mut self, input: Input<Wire>) {
        self.engine.handle(Now { instant: self.now, ..Now::default() }, input);
        while let Some(output) = self.engine.poll_output() {
            let line = match output {
                Output::Transmit { bytes, .. } => {
                    format!("out {}", name(&Message::parse(bytes).expect("own writing")))
                }
                Output::NewRequest { key, request, .. } => {
                    assert!(self.begun.insert(key));
                    let line = format!("up {}", request.method());
                    (self.key, self.request) = (Some(key), Some(request));
                    line
                }
                Output::Cancel { key, invite, .. } => {
                    assert!(self.begun.insert(key));
                    format!("up CANCEL {}", if invite.is_some() { "of ours" } else { "of nothing" })
                }
                Output::Ack { invite, .. } => {
                    format!("up ACK {}", if invite.is_some() { "of ours" } else { "of nothing" })
                }
                Output::Response { response, .. } => format!("up {}", response.status()),
                Output::Stray { response, .. } => format!("stray {}", response.status()),
                Output::Overloaded { request, .. } => format!("overloaded {}", request.method()),
                Output::Refused { key } => {
                    self.begun.remove(&key);
                    "refused".to_owned()
                }
                Output::Timeout { timer, .. } => format!("timeout {timer:?}"),
                Output::TransportFailed { .. } => "failed".to_owned(),
                Output::Terminated { key } => {
                    assert!(self.ended.insert(key), "{key:?} ended twice");
                    "end".to_owned()
                }
            };
            self.note(&line);
        }
    }

    /// Lets all deadlines before `until` pass, one instant after the other.
    fn wait(&mut self, until: Instant) {
        for _ in 0..100_000 {
            match self.engine.poll_timeout() {
                Some(at) if at < until => {
                    assert!(at >= self.now);
                    self.now = at;
                    self.give(Input::Timeout);
                }
                _ => {
                    if until.0 < u64::MAX {
                        self.now = until;
                    }
                    return;
                }
            }
        }
        panic!("the engine never rests");
    }

    fn act(&mut self, actor: &str, what: &str) {
        let path = self.wire;
        match (actor, what) {
            ("in", "breaks") => self.give(Input::Failed { path }),
            ("in", _) if what.as_bytes()[0].is_ascii_digit() => {
                let request = self.request.clone().expect("a request was sent");
                let message = Message::Response(answer(&request, what));
                self.give(Input::Received { path, message });
            }
            ("in", _) => {
                let (path, what) = match what.strip_suffix(" elsewhere") {
                    Some(what) => (Wire { peer: 1, ..path }, what),
                    None => (path, what),
                };
                let message = Message::Request(request(what));
                self.give(Input::Received { path, message });
            }
            ("core", "cancels") => {
                let key = self.key.expect("an INVITE was sent");
                self.give(Input::Cancel { key });
            }
            ("core", _) if what.as_bytes()[0].is_ascii_digit() => {
                let request = self.request.clone().expect("a request came");
                let key = self.key.expect("a request came");
                self.give(Input::Respond { key, response: answer(&request, what) });
            }
            ("core", _) => {
                let key = self.engine.reserve();
                let request = request(what);
                (self.key, self.request) = (Some(key), Some(request.clone()));
                self.begun.insert(key);
                self.give(Input::Send { key, path, request, rank: Rank::Ordinary });
            }
            _ => panic!("who is {actor}?"),
        }
    }

    fn is_empty(&self) -> bool {
        self.engine.live.is_empty()
            && self.engine.by_match.is_empty()
            && self.engine.by_ack.is_empty()
            && self.engine.by_path.is_empty()
            && self.engine.timers.is_empty()
    }
}

fn name(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method().to_string(),
        Message::Response(response) => response.status().to_string(),
    }
}

/// `ACK2` is the ACK of a 2xx: with a branch of its own. `OLD` has a branch of RFC 2543.
fn request(what: &str) -> Request {
    let (method, branch) = match what {
        "ACK2" => ("ACK", "z9hG4bKack"),
        "OLD-INVITE" => ("INVITE", "1"),
        "OLD-ACK" => ("ACK", "1"),
        method => (method, "z9hG4bKone"),
    };
    let to_tag = if matches!(method, "ACK" | "BYE") { ";tag=ours" } else { "" };
    let text = format!(
        "{method} sip:bob@pbx SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch={branch}\r\n\
         Max-Forwards: 70\r\nRoute: <sip:edge;lr>\r\nFrom: <sip:alice@pbx>;tag=a\r\n\
         To: <sip:bob@pbx>{to_tag}\r\nCall-ID: c1\r\nCSeq: 7 {method}\r\n\
         Contact: <sip:alice@a.example>\r\nContent-Length: 0\r\n\r\n"
    );
    match Message::parse(text.into()).expect("well-formed") {
        Message::Request(request) => request,
        Message::Response(_) => unreachable!("it has a request line"),
    }
}

fn answer(request: &Request, status: &str) -> Response {
    let status = Status::new(status.parse().expect("a number")).expect("a status");
    Response::builder(request, status).to_tag("ours").build().expect("well-formed")
}

fn ladder(reliable: bool, script: &str) {
    ladder_with(reliable, Config::default(), script);
}

/// Plays the `in` and `core` lines, and demands that the whole trace is the script.
fn ladder_with(reliable: bool, config: Config, script: &str) {
    let mut world = World::new(reliable, config);
    let lines: Vec<Vec<&str>> = script
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default().split_whitespace().collect())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    for words in &lines {
        if let [at, actor @ ("in" | "core"), what @ ..] = &words[..] {
            let ms: u64 = at.trim_end_matches("ms").parse().expect("a time");
            world.wait(Instant(ms * 1_000_000));
            let what = what.join(" ");
            world.note(&format!("{actor} {what}"));
            world.act(actor, &what);
        }
    }
    world.wait(Instant(u64::MAX));
    let expected: Vec<String> = lines.iter().map(|words| words.join(" ")).collect();
    assert_eq!(world.trace.join("\n"), expected.join("\n"));
    assert!(world.is_empty(), "{:?}", world.engine);
}

#[test]
fn an_invite_that_nobody_answers() {
    ladder(
        false,
        "   0ms core INVITE
            0ms out INVITE
          500ms out INVITE
         1500ms out INVITE
         3500ms out INVITE
         7500ms out INVITE
        15500ms out INVITE
        31500ms out INVITE     // seven in all (§17.1.1.2)
        32000ms timeout B
        32000ms end",
    );
    ladder(true, "0ms core INVITE\n0ms out INVITE\n32000ms timeout B\n32000ms end");
}

#[test]
fn an_invite_that_is_refused() {
    ladder(
        false,
        "   0ms core INVITE
            0ms out INVITE
          100ms in 180
          100ms up 180 
          900ms in 486
          900ms out ACK
          900ms up 486
         1400ms in 486
         1400ms out ACK
        32900ms end            // Timer D",
    );
}

#[test]
fn an_invite_that_forks() {
    ladder(
        false,
        "   0ms core INVITE
            0ms out INVITE
          100ms in 200
          100ms up 200
          600ms in 200
          600ms up 200         // the caller sends its ACK again
        32100ms end            // Timer M (RFC 6026 §7.2)
        33000ms in 200
        33000ms stray 200",
    );
}

#[test]
fn an_invite_that_is_cancelled_waits_for_a_provisional() {
    ladder(
        false,
        "   0ms core INVITE
            0ms out INVITE
          100ms core cancels
          200ms in 180
          200ms up 180
          200ms out CANCEL     // §9.1
          300ms in 487
          300ms out ACK
          300ms up 487
          700ms out CANCEL     // nobody answered the CANCEL itself
         1700ms out CANCEL
         3700ms out CANCEL
         7700ms out CANCEL
        11700ms out CANCEL
        15700ms out CANCEL
        19700ms out CANCEL
        23700ms out CANCEL
        27700ms out CANCEL
        31700ms out CANCEL
        32200ms timeout F
        32200ms end
        32300ms end",
    );
}

#[test]
fn an_invite_that_rings_for_too_long() {
    ladder(
        true,
        "   0ms core INVITE
            0ms out INVITE
         1000ms in 180
         1000ms up 180
       186000ms timeout C
       186001ms core cancels
       186001ms out CANCEL
       218000ms timeout Cancelled
       218000ms end
       218001ms timeout F
       218001ms end",
    );
}

#[test]
fn another_request_is_repeated_up_to_t2() {
    ladder(
        false,
        "   0ms core OPTIONS
            0ms out OPTIONS
          500ms out OPTIONS
         1500ms out OPTIONS
         2000ms in 100
         2000ms up 100
         6000ms out OPTIONS    // Timer E is T2 in Proceeding
         7000ms in 200
         7000ms up 200
         8000ms in 200         // absorbed
        12000ms end            // Timer K",
    );
}

#[test]
fn an_answered_invite_repeats_its_2xx_until_the_ack() {
    ladder(
        true,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
         1000ms core 180
         1000ms out 180
         2000ms in INVITE
         2000ms out 180
         3000ms core 200
         3000ms out 200
         3500ms out 200        // end to end, so on TCP too (§13.3.1.4)
         4500ms out 200
         5000ms in ACK2 elsewhere
         5000ms up ACK of ours
         5100ms in ACK2        // said again
         6000ms in INVITE      // absorbed (RFC 6026 §7.1)
        37000ms end            // Timer L, counted from the ACK",
    );
}

#[test]
fn a_2xx_without_an_ack_is_told() {
    ladder(
        false,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
            0ms core 200
            0ms out 200
          500ms out 200
         1500ms out 200
         3500ms out 200
         7500ms out 200
        11500ms out 200
        15500ms out 200
        19500ms out 200
        23500ms out 200
        27500ms out 200
        31500ms out 200
        32000ms timeout Retransmit2xx
        32000ms end",
    );
}

#[test]
fn a_refused_invite_is_repeated_until_the_ack() {
    ladder(
        false,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
          100ms core 486
          100ms out 486
          600ms out 486        // Timer G
          700ms in INVITE
          700ms out 486
          800ms in ACK elsewhere
          800ms up ACK of nothing
          900ms in ACK
         5900ms end            // Timer I",
    );
}

#[test]
fn a_cancel_means_an_invite_of_the_same_path_only() {
    ladder(
        true,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
          100ms in CANCEL elsewhere
          100ms up CANCEL of nothing
          200ms in CANCEL
          200ms up CANCEL of ours
          300ms core 487
          300ms out 487
          400ms in ACK
          400ms end
         3600ms out 100        // RFC 4320 §4.1: the CANCELs that the core of this test leaves alone
         3700ms out 100
        32100ms timeout Unanswered
        32100ms end
        32200ms timeout Unanswered
        32200ms end",
    );
}

#[test]
fn another_request_is_answered_once_and_again() {
    ladder(
        false,
        "   0ms in OPTIONS
            0ms up OPTIONS
          100ms in OPTIONS     // discarded (§17.2.2)
          200ms core 180       // RFC 4320 §4.1: never
         3500ms out 100
         4000ms core 408       // RFC 4320 §4.2: never
         5000ms core 200
         5000ms out 200
         6000ms in OPTIONS
         6000ms out 200
        37000ms end            // Timer J",
    );
}

#[test]
fn old_branches_match_by_their_fields() {
    ladder(
        false,
        "   0ms in OLD-INVITE
            0ms out 100
            0ms up INVITE
          100ms in OLD-INVITE
          100ms out 100
          200ms core 404
          200ms out 404
          300ms in OLD-ACK
         5300ms end",
    );
}

#[test]
fn a_broken_path_ends_what_is_on_it() {
    ladder(
        true,
        "   0ms core INVITE
            0ms out INVITE
          100ms in BYE
          100ms up BYE
          200ms in breaks
          200ms failed
          200ms end
          200ms failed
          200ms end",
    );
}

#[test]
fn an_ack_may_come_another_way_than_the_broken_one() {
    ladder(
        true,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
          100ms core 200
          100ms out 200
          200ms in breaks
          200ms failed
          300ms in ACK2 elsewhere
          300ms up ACK of ours
        32300ms end            // Timer L, counted from the ACK",
    );
}

#[test]
fn at_the_bound_work_in_progress_goes_on() {
    let config = Config { live_max: 1, reserve: 1, ..Config::default() };
    ladder_with(
        true,
        config,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
          100ms in OPTIONS
          100ms overloaded OPTIONS
          200ms in CANCEL      // from the reserve
          200ms up CANCEL of ours
          300ms in INVITE elsewhere
          300ms overloaded INVITE
         3700ms out 100
        32200ms timeout Unanswered
        32200ms end
       600000ms timeout Unanswered
       600000ms end",
    );
}

#[test]
fn a_to_tag_or_a_cancel_of_nothing_opens_no_reserve() {
    let config = Config { live_max: 1, reserve: 1, ..Config::default() };
    ladder_with(
        true,
        config,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
          100ms in BYE                 // with a To tag, of nobody's dialog
          100ms overloaded BYE
          200ms in CANCEL elsewhere    // there it means nothing
          200ms overloaded CANCEL
          300ms core 486
          300ms out 486
          400ms in ACK
          400ms end",
    );
}

#[test]
fn what_was_admitted_and_finds_no_room_says_so() {
    let config = Config { live_max: 1, reserve: 1, ..Config::default() };
    let mut world = World::new(true, config);
    let mut outcomes = Vec::new();
    for (peer, rank) in
        [Rank::Progress, Rank::Progress, Rank::Progress, Rank::Emergency, Rank::Emergency]
            .into_iter()
            .enumerate()
    {
        let peer = u8::try_from(peer).expect("five");
        let path = Wire { reliable: true, peer };
        let now = Now { instant: world.now, ..Now::default() };
        let request = request("INVITE");
        world.engine.handle(now, Input::Admit { path, request, rank });
        while let Some(output) = world.engine.poll_output() {
            match output {
                Output::Overloaded { admitted, .. } => outcomes.push(admitted.then_some("again")),
                Output::NewRequest { .. } => outcomes.push(Some("up")),
                _ => {}
            }
        }
    }
    // One place, one of the reserve, and one that only an emergency gets.
    let (up, again) = (Some("up"), Some("again"));
    assert_eq!(outcomes, [up, up, again, up, again]);
}

/// Whoever may call for help from one address doesn't take the reserve from the others.
#[test]
fn one_share_has_a_few_calls_for_help_beside_it() {
    let config = Config { live_max: 100, reserve: 100, per_path_max: 1, ..Config::default() };
    let mut world = World::new(true, config);
    for peer in 0..2 {
        let path = Wire { reliable: true, peer };
        let mut up = 0;
        for n in 0..40 {
            let now = Now { instant: world.now, ..Now::default() };
            let text = request("INVITE").as_bytes().clone();
            let text = String::from_utf8(text.to_vec()).expect("ASCII");
            let text = text.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{n}"));
            let Ok(Message::Request(request)) = Message::parse(text.into_bytes().into()) else {
                panic!("a request")
            };
            world.engine.handle(now, Input::Admit { path, request, rank: Rank::Emergency });
            while let Some(output) = world.engine.poll_output() {
                up += usize::from(matches!(output, Output::NewRequest { .. }));
            }
        }
        assert_eq!(up, HELP_PER_SHARE_MAX, "of peer {peer}");
    }
}

#[test]
fn one_path_gets_its_share_and_no_more() {
    let config = Config { per_path_max: 1, ..Config::default() };
    ladder_with(
        true,
        config,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
          100ms in OPTIONS
          100ms overloaded OPTIONS
          200ms in CANCEL              // work in progress has a share of its own
          200ms up CANCEL of ours
          300ms in INVITE elsewhere    // others are served
          300ms out 100
          300ms up INVITE
          400ms core 486
          400ms out 486
         3700ms out 100
         5400ms timeout H
         5400ms end
        32200ms timeout Unanswered
        32200ms end
       600000ms timeout Unanswered
       600000ms end",
    );
}

#[test]
fn what_only_absorbs_repetitions_is_no_work_under_way() {
    let config = Config { live_max: 1, reserve: 0, per_path_max: 1, ..Config::default() };
    ladder_with(
        false,
        config,
        "   0ms in OPTIONS
            0ms up OPTIONS
          100ms core 200
          100ms out 200
          200ms in OPTIONS            // said again
          200ms out 200
          300ms in INVITE             // there is room for it
          300ms out 100
          300ms up INVITE
          400ms in OPTIONS elsewhere  // the INVITE is under way
          400ms overloaded OPTIONS
          500ms core 200
          500ms out 200
          600ms in ACK2
          600ms up ACK of ours
        32100ms end
        32600ms end",
    );
}

/// A peer chooses how long an answer is, by what it is echoed: what is longer than honest ones holds its place.
#[test]
fn a_long_answer_counts_until_it_is_forgotten() {
    let config = Config { live_max: 1, reserve: 0, ..Config::default() };
    let mut world = World::new(false, config);
    world.act("in", "OPTIONS");
    let request = world.request.clone().expect("it came up");
    let status = Status::new(200).expect("a status");
    let long = "x".repeat(KEPT_MAX);
    let response =
        Response::builder(&request, status).to_tag("ours").other("X-Long", &long).build();
    let key = world.key.expect("it came up");
    world.give(Input::Respond { key, response: response.expect("well-formed") });
    world.act("in", "OPTIONS elsewhere");
    assert_eq!(world.trace.last().expect("a line"), "0ms overloaded OPTIONS");
    world.wait(Instant(u64::MAX));
    assert!(world.is_empty(), "{:?}", world.engine);
}

/// Memory is bounded by what is kept, and who was answered the longest ago is forgotten first.
#[test]
fn at_the_bound_of_what_rests_the_oldest_is_forgotten() {
    let config = Config { resting_max: 1_200, ..Config::default() };
    ladder_with(
        false,
        config,
        "   0ms in OPTIONS
            0ms up OPTIONS
          100ms core 200
          100ms out 200
          200ms in OPTIONS elsewhere
          200ms up OPTIONS
          300ms core 200
          300ms out 200
          300ms end                   // the first
          400ms in OPTIONS            // a new request
          400ms up OPTIONS
          500ms in OPTIONS elsewhere  // said again
          500ms out 200
         3900ms out 100               // RFC 4320 §4.1
        32300ms end
        32400ms timeout Unanswered
        32400ms end",
    );
}

#[test]
fn a_challenge_leaves_nothing_behind() {
    for reliable in [true, false] {
        ladder(
            reliable,
            "   0ms in INVITE
                0ms out 100
                0ms up INVITE
              100ms core 401
              100ms out 401
              100ms end
              200ms in ACK
              200ms up ACK of nothing",
        );
    }
}

/// Forged requests within calls that don't exist fill no table, and their forged sender hears little.
#[test]
fn that_there_is_no_such_call_is_said_once() {
    for reliable in [true, false] {
        ladder(
            reliable,
            "   0ms in INVITE
                0ms out 100
                0ms up INVITE
                0ms core 481
                0ms out 481
                0ms end",
        );
    }
    ladder(
        false,
        "   0ms in BYE
            0ms up BYE
            0ms core 481
            0ms out 481
            0ms end
          500ms in BYE
          500ms up BYE
          500ms core 481
          500ms out 481
          500ms end",
    );
}

#[test]
fn on_datagrams_whoever_lost_a_challenge_gets_another() {
    ladder(
        false,
        "   0ms in REGISTER
            0ms up REGISTER
            0ms core 401
            0ms out 401
            0ms end
          500ms in REGISTER
          500ms up REGISTER
          500ms core 401
          500ms out 401
          500ms end",
    );
}

#[test]
fn on_a_connection_a_refusal_doesnt_wait_long_for_its_ack() {
    ladder(
        true,
        "   0ms in INVITE
            0ms out 100
            0ms up INVITE
          100ms core 486
          100ms out 486
         5100ms timeout H
         5100ms end
         6000ms in ACK                 // too late, and harmless
         6000ms up ACK of nothing",
    );
}

#[test]
fn an_ack_of_a_refusal_repeats_what_the_invite_said() {
    let invite = request("INVITE");
    let ack = companion(&invite, Method::Ack, "<sip:bob@pbx>;tag=theirs").expect("it fits");
    assert_eq!(ack.headers().top_via().branch(), invite.headers().top_via().branch());
    assert_eq!(ack.headers().get(Name::Route), Some("<sip:edge;lr>"));
    assert_eq!(ack.headers().to().tag(), Some("theirs"));
    assert_eq!(ack.headers().cseq().number, 7);
}

proptest! {
    /// Whatever happens: no panic, every transaction ends once, and nothing is left in any table.
    #[test]
    fn everything_ends(
        reliable in any::<bool>(),
        events in proptest::collection::vec((0_usize..20, 0_u64..8_000), 1..60),
    ) {
        let acts = [
            ("in", "INVITE"), ("in", "ACK"), ("in", "ACK2"), ("in", "CANCEL"), ("in", "BYE"),
            ("in", "OLD-INVITE"), ("in", "OLD-ACK"), ("in", "INVITE elsewhere"), ("in", "breaks"),
            ("core", "INVITE"), ("core", "OPTIONS"), ("core", "cancels"),
            ("core", "180"), ("core", "200"), ("core", "486"),
            ("in", "100"), ("in", "180"), ("in", "200"), ("in", "487"), ("core", "ACK"),
        ];
        let config = Config { live_max: 4, reserve: 1, resting_max: 1_200, ..Config::default() };
        let mut world = World::new(reliable, config);
        for (act, gap) in events {
            world.wait(world.now + Duration::from_millis(gap));
            let (actor, what) = acts[act];
            let needs_request = what.as_bytes()[0].is_ascii_digit() || what == "cancels";
            if !needs_request || world.request.is_some() {
                world.act(actor, what);
            }
            prop_assert!(world.engine.at_work() <= 5);
            prop_assert!(world.engine.resting_bytes() <= 1_200);
        }
        world.wait(Instant(u64::MAX));
        prop_assert!(world.is_empty(), "{:?}", world.engine);
        prop_assert!(world.begun.is_subset(&world.ended));
    }
}
