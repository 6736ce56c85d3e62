//! Every table and screen about money, as it is read, and the shapes that scripts go by.

use std::collections::BTreeSet;

use super::*;
use crate::admin::protocol::{
    AtMost, AtRisk, Attention, Banned, Bans, Budget, BudgetRule, Cost, Costs, Coverage, Edit,
    Encryption, Explained, Exposure, ExposureLine, HeldPair, Number, Passes, Policy, PolicyChange,
    PolicyVersion, Rate, Rates, RatesChange, Reach, Role, Sink, SlowedSource, StalePhone, Status,
    Stopped, TestStep, Toll, Trunk, TrunkSettings, TrunkTest,
};

fn owned(text: &str) -> String {
    text.to_owned()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn check(question: &Question, answer: &Answer, expected: &str) {
    let shown = text(question, answer);
    assert_eq!(shown, expected, "\n{shown}");
}

/// The names of a value's fields: what a script relies on.
fn check_fields(answer: &Answer, expected: &str) {
    let value: serde_json::Value = serde_json::from_str(&json(answer)).unwrap();
    let one = match &value {
        serde_json::Value::Array(list) => &list[0],
        other => other,
    };
    let names: BTreeSet<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, expected.split(' ').collect());
}

fn trunk(name: &str) -> Trunk {
    Trunk {
        name: owned(name),
        enabled: true,
        state: owned("up"),
        since: some("2026-11-22T08:00:00.000Z"),
        expires: some("2026-11-22T09:00:00.000Z"),
        why: None,
        retry: None,
        server: owned("sip.example.net"),
        transport: owned("tls"),
        access: owned("registration"),
        addresses: Vec::new(),
        user: some("4711"),
        auth_user: None,
        caller_id: some("+12025550123"),
        asserted_identity: true,
        from_account: false,
        private: false,
        codecs: vec![owned("PCMA"), owned("PCMU")],
        channels: 10,
        calls: 2,
        priority: 10,
        silence_limit_seconds: 120,
        longest_seconds: 14_400,
        own_authority: false,
        media: owned("srtp"),
        md5: false,
        places: vec![owned("TLS 192.0.2.7:5061")],
        tls: some("TLSv1.3 TLS13_AES_128_GCM_SHA256"),
        weaknesses: Vec::new(),
        created: owned("2026-11-01T00:00:00.000Z"),
    }
}

fn weak_trunk() -> Trunk {
    Trunk {
        state: owned("down"),
        why: some("nobody listens\u{202e}"),
        retry: some("2026-11-22T08:01:00.000Z"),
        expires: None,
        transport: owned("udp"),
        access: owned("address"),
        user: None,
        media: owned("plain"),
        codecs: Vec::new(),
        calls: 0,
        places: Vec::new(),
        tls: None,
        addresses: vec![owned("192.0.2.8")],
        weaknesses: vec![owned("signalling is not encrypted"), owned("audio is not encrypted")],
        ..trunk("old")
    }
}

fn rate() -> Rate {
    Rate {
        prefix: owned("3712"),
        name: owned("Latvia, mobile"),
        per_minute: owned("0.05"),
        connect: owned("0.10"),
        first: 60,
        increment: 1,
        source: owned("deck"),
    }
}

fn at_most(all: &str) -> AtMost {
    AtMost {
        currency: owned("USD"),
        all: owned(all),
        one: owned(all),
        until: owned("2026-11-26T08:00:00.000Z"),
        summary: format!("At most {all} USD can be lost until Thursday 08:00."),
    }
}

fn role() -> Role {
    Role {
        name: owned("staff"),
        default: true,
        classes: vec![owned("local"), owned("national")],
        countries: vec![owned("LV")],
        hours: owned("mon-fri 08:00-18:00"),
        calls: 3,
        calls_per_hour: 60,
        longest_seconds: 14_400,
        currency: owned("USD"),
        price_max: owned("0.50"),
        extensions: vec![owned("101")],
    }
}

fn toll() -> Toll {
    Toll {
        leg: owned("00ff"),
        trunk: owned("carrier"),
        number: owned("+37120000000"),
        class: owned("international"),
        country: some("LV"),
        rule: owned("outside"),
        policy: 3,
        rate: rate(),
        answered: some("2026-11-22T08:00:05.000Z"),
        seconds: 61,
        currency: owned("USD"),
        cost: owned("0.150834"),
        held: owned("0.20"),
    }
}

fn call() -> Call {
    Call {
        id: owned("3fa90000000000000000000000000000"),
        from: owned("101"),
        to: owned("+37120000000"),
        responsible: some("101"),
        started: owned("2026-11-22T08:00:00.000Z"),
        answered: some("2026-11-22T08:00:05.000Z"),
        ended: owned("2026-11-22T08:01:06.000Z"),
        seconds: 61,
        disposition: owned("answered"),
        ended_by: some("the day budget of extension 101"),
        rule: some("outside"),
        policy: Some(3),
        emergency: false,
        origin: owned("forward"),
        cost: vec![owned("0.150834 USD")],
        tolls: vec![toll()],
        legs: Vec::new(),
        ladder: None,
    }
}

fn costs() -> Costs {
    let cost = |of: &str, cost: &str| Cost {
        of: owned(of),
        currency: owned("USD"),
        legs: 2,
        answered: 1,
        seconds: 61,
        cost: owned(cost),
    };
    Costs {
        by: owned("extension"),
        lines: vec![cost("101", "0.150834"), cost("102", "0.00")],
        totals: vec![cost("all", "0.150834")],
    }
}

#[test]
fn trunks_show_what_is_weak() {
    let list = Answer::Trunks(vec![trunk("carrier"), weak_trunk()]);
    check(&Question::TrunkList, &list, "trunk    state                  server           transport  media  calls    priority  weaknesses
carrier  up                     sip.example.net  tls        srtp   2 of 10  10        none
old      down: nobody listens\u{fffd}  sip.example.net  udp        plain  0 of 10  10        signalling is not encrypted, audio is not encrypted
");
    let show = |name: &str| Question::TrunkShow { name: owned(name) };
    check(
        &show("carrier"),
        &Answer::Trunks(vec![trunk("carrier")]),
        "Trunk carrier: up
  since          2026-11-22T08:00:00.000Z
  registered     until 2026-11-22T09:00:00.000Z
  server         sip.example.net
  signalling     tls (TLSv1.3 TLS13_AES_128_GCM_SHA256)
  media          SRTP, mandatory
  authority      the public ones
  known by       registration, account 4711
  next call to   TLS 192.0.2.7:5061
  caller         +12025550123 for whoever has none, in P-Asserted-Identity
  codecs         PCMA, PCMU
  calls          2 of 10 at once, priority 10
  ends           after 2 min of silence, after 4 h in any case
  weaknesses     none
",
    );
    let settings = Box::new(TrunkSettings::default());
    let add = Question::TrunkAdd { name: owned("old"), settings };
    check(
        &add,
        &Answer::Trunks(vec![weak_trunk()]),
        "Trunk old is added. Now:  ringfence trunk test old

Trunk old: down
  why            nobody listens\u{fffd} (tried again 2026-11-22T08:01:00.000Z)
  since          2026-11-22T08:00:00.000Z
  server         sip.example.net
  signalling     udp
  media          plain RTP
  authority      the public ones
  known by       address
  calls from     192.0.2.8
  next call to   nowhere
  caller         +12025550123 for whoever has none, in P-Asserted-Identity
  codecs         all
  calls          0 of 10 at once, priority 10
  ends           after 2 min of silence, after 4 h in any case
  weaknesses     signalling is not encrypted, audio is not encrypted
",
    );
    let names = "name enabled state since expires why retry server transport access addresses user \
                 auth_user caller_id asserted_identity from_account private codecs channels calls \
                 priority silence_limit_seconds longest_seconds own_authority media md5 places tls \
                 weaknesses created";
    check_fields(&list, names);
}

#[test]
fn a_test_of_a_trunk_shows_its_steps() {
    let step = |what: &str, passed, found: &str| TestStep {
        what: owned(what),
        passed,
        found: owned(found),
        remedy: (!passed)
            .then(|| owned("Give it anew:  ringfence trunk set carrier --secret-file -")),
    };
    let test = TrunkTest {
        name: owned("carrier"),
        passed: false,
        steps: vec![
            step("look-up", true, "sip.example.net is at 192.0.2.7:5061."),
            step("registration", false, "The carrier refused the password (403)."),
        ],
        weaknesses: vec![owned("digest may use MD5")],
        remedies: vec![owned("If it can:  ringfence trunk set carrier --allow-md5=false")],
        disabled: true,
    };
    let question = Question::TrunkTest { name: owned("carrier") };
    check(
        &question,
        &Answer::TrunkTested(test.clone()),
        "  ✓ passed  look-up       sip.example.net is at 192.0.2.7:5061.
  ✗ failed  registration  The carrier refused the password (403).
            Give it anew:  ringfence trunk set carrier --secret-file -
  ! weak    digest may use MD5
            If it can:  ringfence trunk set carrier --allow-md5=false
Trunk carrier does not work. No call was placed.
It is out of service and was brought up for this test alone:  ringfence trunk enable carrier
",
    );
    check_fields(&Answer::TrunkTested(test), "name passed steps weaknesses remedies disabled");
}

#[test]
fn empty_lists_say_what_to_do_first() {
    for (question, answer) in [
        (Question::TrunkList, Answer::Trunks(Vec::new())),
        (Question::NumberList, Answer::Numbers(Vec::new())),
        (Question::BudgetShow, Answer::Budgets(Vec::new())),
        (Question::Bans, Answer::Bans(Bans::default())),
    ] {
        let shown = text(&question, &answer);
        assert!(shown.contains(":  ringfence "), "{shown}");
    }
}

#[test]
fn bans_say_why_until_when_and_how_to_undo_them() {
    let list = Answer::Bans(Bans {
        banned: vec![Banned {
            source: owned("203.0.113.9"),
            since: owned("2026-11-26T01:00:00.000Z"),
            until: owned("2026-11-26T02:00:00.000Z"),
            times: 1,
            why: owned("it is the attack tool sipvicious"),
            remedy: owned("ringfence unban 203.0.113.9"),
        }],
        held: vec![HeldPair {
            source: owned("192.0.2.1"),
            account: owned("101"),
            known_device: true,
            home: true,
            since: owned("2026-11-26T01:00:00.000Z"),
            until: owned("2026-11-26T01:10:00.000Z"),
            times: 2,
            compared: 10,
            remedy: owned("ringfence unban 192.0.2.1 --account 101"),
        }],
        slowed: vec![SlowedSource {
            source: owned("203.0.113.5"),
            since: owned("2026-11-26T01:00:00.000Z"),
            until: owned("2026-11-26T01:10:00.000Z"),
            why: owned("it failed to sign in to 11 accounts"),
            remedy: owned("ringfence unban 203.0.113.5"),
        }],
        stale: vec![StalePhone {
            extension: owned("102"),
            agent: some("Yealink T46"),
            source: owned("203.0.113.5"),
            since: owned("2026-11-26T01:00:00.000Z"),
            last: owned("2026-11-26T01:05:00.000Z"),
            tries: 8,
            remedy: owned("ringfence extension reveal 102"),
        }],
    });
    let shown = text(&Question::Bans, &list);
    for part in [
        "it is the attack tool sipvicious",
        "ringfence unban 203.0.113.9",
        "a phone with a wrong password",
        "it failed to sign in to 11 accounts",
        "Yealink T46",
        "ringfence extension reveal 102",
        "ringfence unban 192.0.2.1 --account 101",
        "2026-11-26T01:10:00.000Z",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    check_fields(&list, "banned held slowed stale");
}

#[test]
fn sinks_say_whether_they_work_since_when_and_why_not() {
    let sink = |sink, state: &str| Sink {
        sink,
        kind: owned("webhook"),
        to: owned("https://hooks.example.com/…XY"),
        server: None,
        created: owned("2026-11-26T01:00:00.000Z"),
        state: owned(state),
        since: None,
        works: state == "works",
        why: None,
        failures: 0,
        waiting: 0,
        test_failed: None,
        test_why: None,
        remedy: None,
    };
    let at = some("2026-11-26T01:05:00.000Z");
    let why = format!("127.0.0.1:9 can't be reached: {}", "refused ".repeat(20));
    let list = Answer::Sinks(vec![
        sink(1, "not-tried"),
        Sink { since: at.clone(), ..sink(2, "works") },
        Sink {
            since: at.clone(),
            why: Some(why.clone()),
            failures: 10,
            waiting: 5,
            remedy: some("see that the server runs; then: ringfence alerts sink test 3"),
            ..sink(3, "fails")
        },
        Sink { test_failed: at, test_why: some("it answers 404"), ..sink(4, "not-tried") },
    ]);
    let shown = text(&Question::SinkList, &list);
    for part in [
        "not tried yet",
        "works since 2026-11-26T01:05:00.000Z",
        "fails since 2026-11-26T01:05:00.000Z (10 tries)",
        "last test failed 2026-11-26T01:05:00.000Z",
        "ringfence alerts sink test 3",
        "it answers 404",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // A reason is told whole: what is cut off is the part that helps.
    assert_eq!(shown.matches("refused").count(), 20, "{shown}");
    let names = "sink kind to server created state since works why failures waiting test_failed \
                 test_why remedy";
    check_fields(&list, names);
}

#[test]
fn numbers_show_who_answers() {
    let list = Answer::Numbers(vec![Number {
        number: owned("+12025550123"),
        trunk: owned("carrier"),
        extension: owned("101"),
    }]);
    check(
        &Question::NumberList,
        &list,
        "number        trunk    extension
+12025550123  carrier  101
",
    );
    check_fields(&list, "number trunk extension");
}

#[test]
fn the_policy_shows_in_the_words_that_set_it() {
    let policy = Policy {
        version: 3,
        home: owned("US"),
        currency: owned("USD"),
        zone: owned("America/New_York"),
        outside_line: some("9"),
        area: None,
        lockdown: vec![owned("extension 104")],
        emergency_guarantee_days: 30,
        emergency_for_strangers: false,
        working_hours: owned("mon-fri 08:00-18:00"),
        default_role: owned("staff"),
        roles: vec![role()],
        budgets: vec![BudgetRule {
            of: owned("each-extension"),
            per: owned("day"),
            soft: None,
            hard: some("10.00"),
        }],
    };
    let answer = Answer::Policy(Box::new(policy));
    check(&Question::PolicyShow { version: None }, &answer, "Policy version 3
  home                   US
  currency               USD
  zone                   America/New_York
  outside-line           9
  area                   none
  default-role           staff
  working-hours          mon-fri 08:00-18:00
  lockdown               ON: extension 104
  emergency              guaranteed for 30 days after a phone's last registration
  strangers' emergency   refused

role             classes         countries  hours                at once  an hour  longest  price max  extensions
staff (default)  local,national  LV         mon-fri 08:00-18:00  3        60       4 h      0.50 USD   101

budget of       per  warns at  ends at
each-extension  day  -         10.00 USD
");
    let names = "version home currency zone outside_line area lockdown emergency_guarantee_days \
                 emergency_for_strangers working_hours default_role roles budgets";
    check_fields(&answer, names);
    let roles = Answer::Roles(vec![role()]);
    check(
        &Question::RoleShow { name: owned("staff") },
        &roles,
        "Role staff, the default one
  classes            local, national
  countries abroad   LV (Latvia)
  hours              mon-fri 08:00-18:00
  calls at once      3
  calls an hour      60
  longest call       4 h
  highest price      0.50 USD a minute
  extensions         101 and whoever has no other
",
    );
    let names = "name default classes countries hours calls calls_per_hour longest_seconds currency \
                 price_max extensions";
    check_fields(&roles, names);
}

#[test]
fn a_change_says_what_it_does_and_what_could_be_lost() {
    let edit = Edit::Lockdown { reach: Reach::Everything, on: false };
    let question = Question::PolicyChange { edit, dry_run: false };
    let change = |saved, changes: &[&str]| {
        Answer::PolicyChanged(Box::new(PolicyChange {
            saved,
            from: 2,
            version: 3,
            changes: changes.iter().map(|words| owned(words)).collect(),
            loosens: true,
            still_locked: Vec::new(),
            before: at_most("0.00"),
            after: at_most("23.40"),
        }))
    };
    check(
        &question,
        &change(true, &["the lockdown of operator ends"]),
        "Policy version 3 is in force:
  the lockdown of operator ends
Before: At most 0.00 USD can be lost until Thursday 08:00.
After:  At most 23.40 USD can be lost until Thursday 08:00.
",
    );
    check(
        &question,
        &change(false, &["the lockdown of operator ends"]),
        "Nothing was saved. Version 3 would be:
  the lockdown of operator ends
Before: At most 0.00 USD can be lost until Thursday 08:00.
After:  At most 23.40 USD can be lost until Thursday 08:00.
",
    );
    check(
        &question,
        &change(false, &[]),
        "Nothing changes: policy version 2 says so already.
",
    );
    let names = "saved from version changes loosens still_locked before after";
    check_fields(&change(true, &[]), names);
    let history = Answer::PolicyHistory(vec![PolicyVersion {
        version: 3,
        since: owned("2026-11-22T08:00:00.000Z"),
        changes: vec![owned("the lockdown of operator ends")],
    }]);
    check(
        &Question::PolicyHistory { limit: 1 },
        &history,
        "     3  2026-11-22T08:00:00.000Z
        the lockdown of operator ends
",
    );
    check_fields(&history, "version since changes");
}

#[test]
fn an_explanation_names_rule_price_and_reason() {
    let explained = Explained {
        number: owned("00371 20000000"),
        from: owned("101"),
        destination: owned("+37120000000"),
        class: some("international"),
        country: some("LV"),
        role: owned("staff"),
        permitted: true,
        rule: owned("outside"),
        policy: 3,
        currency: owned("USD"),
        rate: Some(rate()),
        first_hold: some("0.15"),
        first_seconds: Some(60),
        trunks: vec![owned("carrier"), owned("old")],
        why: owned("The role staff may dial LV, and 9.85 USD of the day's budget are left."),
        fails: None,
        remedy: None,
    };
    let answer = Answer::Explained(Box::new(explained));
    let question = Question::Explain { number: owned("00371 20000000"), from: owned("101") };
    check(
        &question,
        &answer,
        "00371 20000000 from 101: allowed
  destination   +37120000000
  class         international
  country       LV (Latvia)
  role          staff
  rule          outside (policy version 3)
  price         0.05 USD a minute, 0.10 USD to connect, billed in 60/1 s (Latvia, mobile; by the price list)
  first hold    0.15 USD for 60 s
  trunks        carrier, then old
  why           The role staff may dial LV, and 9.85 USD of the day's budget are left.
",
    );
    let names = "number from destination class country role permitted rule policy currency rate \
                 first_hold first_seconds trunks why fails remedy";
    check_fields(&answer, names);
}

#[test]
fn rates_show_where_they_come_from() {
    let rates = Rates {
        version: 2,
        currency: owned("USD"),
        lines: 90,
        price: Some(rate()),
        class: some("international"),
        country: some("LV"),
        rates: vec![rate()],
    };
    let show = Question::RatesShow { number: owned("+37120000000") };
    check(&show, &Answer::Rates(rates.clone()), "+37120000000 is international, LV: 0.05 USD a minute, 0.10 USD to connect, billed in 60/1 s (Latvia, mobile; by the price list)

prefix  name            a minute  connect  billed in  source
3712    Latvia, mobile  0.05      0.10     60/1 s     deck
");
    check(
        &Question::RatesList { limit: 1 },
        &Answer::Rates(rates.clone()),
        "Price list 2, 90 lines in USD

prefix  name            a minute  connect  billed in  source
3712    Latvia, mobile  0.05      0.10     60/1 s     deck
and 89 more: --limit shows them
",
    );
    let unknown = Rates { price: None, rates: Vec::new(), version: 0, ..rates.clone() };
    let part = Rates { class: some("unknown"), country: None, ..unknown.clone() };
    let part = text(&show, &Answer::Rates(part));
    assert!(part.starts_with("No plan knows +37120000000 as a whole number"), "{part}");
    check(
        &show,
        &Answer::Rates(unknown),
        "+37120000000 is international, LV: nobody knows what it costs, so it is refused
",
    );
    check_fields(&Answer::Rates(rates), "version currency lines price class country rates");
    let change = Answer::RatesChanged(Box::new(RatesChange {
        saved: true,
        version: 2,
        currency: owned("USD"),
        lines: 90,
        added: 4,
        removed: 0,
        dearer: 34,
        cheaper: 1,
        otherwise: 0,
        loosens: vec![owned("1 line would become cheaper")],
        lowest: some("0.05"),
        highest: some("2.00"),
        passes: vec![Passes { role: owned("staff"), price_max: owned("0.50"), lines: 61 }],
        later: 12,
        later_first: some("2026-12-01"),
        later_kept: 1,
        before: at_most("23.40"),
        after: at_most("24.00"),
    }));
    check(
        &Question::RatesImport { bytes: 1, dry_run: false },
        &change,
        "Price list 2 is in force: 90 lines.
         4  new
        34  dearer
         1  cheaper
  prices  0.05 to 2.00 USD a minute
  role staff: 61 lines within its highest price of 0.50
  later   12 lines take effect later, the first on 2026-12-01; import the file again then
          until then 1 line of the present list stays in force
  look    1 line would become cheaper
  before  At most 23.40 USD can be lost until Thursday 08:00.
  after   At most 24.00 USD can be lost until Thursday 08:00.
",
    );
    let names = "saved version currency lines added removed dearer cheaper otherwise loosens lowest highest \
                 passes later later_first later_kept before after";
    check_fields(&change, names);
}

#[test]
fn budgets_show_spent_and_left() {
    let list = Answer::Budgets(vec![
        Budget {
            of: owned("extension 101"),
            per: owned("day"),
            currency: owned("USD"),
            soft: some("8.00"),
            hard: some("10.00"),
            spent: owned("0.0045"),
            left: some("9.9955"),
            begins: owned("2026-11-22T00:00:00.000Z"),
            ends: owned("2026-11-23T00:00:00.000Z"),
        },
        Budget {
            of: owned("operator"),
            per: owned("week"),
            currency: owned("USD"),
            soft: some("80.00"),
            hard: None,
            spent: owned("12.50"),
            left: None,
            begins: owned("2026-11-16T00:00:00.000Z"),
            ends: owned("2026-11-23T00:00:00.000Z"),
        },
    ]);
    check(
        &Question::BudgetShow,
        &list,
        "of             per   spent       warns at   ends at    left        until
extension 101  day   0.0045 USD  8.00 USD   10.00 USD  9.9955 USD  2026-11-23T00:00:00.000Z
operator       week  12.50 USD   80.00 USD  -          -           2026-11-23T00:00:00.000Z
",
    );
    check_fields(&list, "of per currency soft hard spent left begins ends");
}

#[test]
fn exposure_begins_with_its_sentence() {
    let line = |of: &str, most: &str, tail: &str, binding: &str| ExposureLine {
        of: owned(of),
        most: owned(most),
        tail: owned(tail),
        binding: owned(binding),
    };
    let answer = Answer::Exposure(Box::new(Exposure {
        summary: owned(
            "At most 23.40 USD can be lost until Thursday 08:00; a single stolen password at most \
             20.00 USD (extension 104, day budget).",
        ),
        currency: owned("USD"),
        from: owned("2026-11-25T18:00:00.000Z"),
        until: owned("2026-11-26T08:00:00.000Z"),
        until_local: owned("Thursday 08:00"),
        lines: vec![
            line("extension 101", "0.00", "0.00", "nothing outside may be dialled"),
            line("extension 104", "20.00", "0.05", "day budget"),
            line("operator", "23.40", "0.10", "week budget"),
        ],
    }));
    check(&Question::Exposure, &answer, "At most 23.40 USD can be lost until Thursday 08:00; a single stolen password at most 20.00 USD (extension 104, day budget).

of             at most    of it the tail  until           what bounds it
extension 101  0.00 USD   0.00            Thursday 08:00  nothing outside may be dialled
extension 104  20.00 USD  0.05            Thursday 08:00  day budget
operator       23.40 USD  0.10            Thursday 08:00  week budget

The tail is what a carrier may bill for after a call has ended here: it can't be closed from our side.
");
    check_fields(&answer, "summary currency from until until_local lines");
}

#[test]
fn what_follows_from_a_change_is_said_below_it() {
    let question = Question::TrunkEnable { name: owned("carrier"), enabled: false };
    let lost = owned("Calls for help cannot leave: no trunk is in service.");
    check(
        &question,
        &Answer::DoneWith(vec![lost]),
        "Trunk carrier is out of service. Calls that are up go on.
Calls for help cannot leave: no trunk is in service.
",
    );
}

#[test]
fn an_allowed_call_that_no_trunk_can_carry_says_so_first() {
    let explained = Explained {
        number: owned("911"),
        from: owned("101"),
        destination: owned("emergency 911"),
        class: None,
        country: None,
        role: owned("staff"),
        permitted: true,
        rule: owned("emergency"),
        policy: 3,
        currency: owned("USD"),
        rate: None,
        first_hold: None,
        first_seconds: None,
        trunks: Vec::new(),
        why: owned("Allowed: a call for help always is."),
        fails: some("no trunk can carry it now: this call would fail (there is no trunk)"),
        remedy: some("Connect a carrier."),
    };
    check(
        &Question::Explain { number: owned("911"), from: owned("101") },
        &Answer::Explained(Box::new(explained)),
        "911 from 101: allowed, but no trunk can carry it now: this call would fail (there is no trunk)
  destination   emergency 911
  role          staff
  rule          emergency (policy version 3)
  why           Allowed: a call for help always is.
  remedy        Connect a carrier.
",
    );
}

/// Tables show the clock on the wall; JSON keeps UTC, and what only looks like a time stays.
#[test]
fn times_are_shown_in_the_zone_of_the_policy() {
    let zone = Zone::named("America/New_York").unwrap();
    let answer = Answer::Call(Box::new(call()));
    let show = Question::CallShow { call: owned("3fa9"), ladder: false };
    let shown = text(&show, &localised(answer.clone(), || zone));
    assert!(shown.contains("  started    2026-11-22 03:00:00 EST\n"), "{shown}");
    assert!(json(&answer).contains("2026-11-22T08:00:00.000Z"));
}

#[test]
fn calls_show_what_they_cost_where_it_was_asked_for() {
    let question = Question::Calls {
        up: false,
        extension: None,
        since: None,
        from: None,
        limit: 1,
        costs: None,
    };
    let list = |costs| Answer::Calls(Calls { up: Vec::new(), records: vec![call()], costs });
    check(&question, &list(Some(costs())), "call      started                   from  to            outcome                                             seconds  cost          media  weaknesses
3fa90000  2026-11-22T08:00:00.000Z  101   +37120000000  answered, ended by the day budget of extension 101  61       0.150834 USD         none

extension  legs outside  answered  minutes  cost
101        2             1         1:01     0.150834 USD
102        2             1         1:01     0.00 USD
all        2             1         1:01     0.150834 USD
");
    assert!(!text(&question, &list(None)).contains("0.150834"));
    let show = Question::CallShow { call: owned("3fa9"), ladder: false };
    let one = Answer::Call(Box::new(call()));
    check(
        &show,
        &one,
        "Call 3fa90000000000000000000000000000
  101 called +37120000000: answered, ended by the day budget of extension 101
  started    2026-11-22T08:00:00.000Z
  answered   2026-11-22T08:00:05.000Z
  ended      2026-11-22T08:01:06.000Z (61 s)
  rule       outside (policy version 3)
  origin     forward
  cost       0.150834 USD

  outside, over trunk carrier
    number       +37120000000 (international, LV)
    rule         outside (policy version 3)
    rate         0.05 USD a minute, 0.10 USD to connect, billed in 60/1 s (Latvia, mobile; by the price list)
    charged      61 s from 2026-11-22T08:00:05.000Z
    cost         0.150834 USD (set aside at most 0.20)
",
    );
    let names = "id from to responsible started answered ended seconds disposition ended_by rule policy \
                 emergency origin cost tolls legs";
    check_fields(&one, names);
}

#[test]
fn the_status_screen_answers_whether_all_is_well() {
    let status = Status {
        version: owned("0.1.0"),
        extensions: 2,
        devices_known: 2,
        devices_registered: 1,
        weak: 1,
        trunks: 2,
        trunks_up: 1,
        since: some("2026-11-26T08:00:00.000Z"),
        summary: owned("One thing needs attention. Trunk old is down: nobody answers"),
        at_risk: Some(AtRisk {
            currency: owned("USD"),
            most: owned("23.40"),
            until: owned("Thursday 08:00"),
            binding: owned("week budget"),
            spent_today: owned("1.05"),
            ..AtRisk::default()
        }),
        encryption: Encryption {
            phones: Coverage { all: 1, signalling: 1, media: 0 },
            trunks: Coverage::default(),
            exceptions: vec![owned("Phone 104 (Handset 1.0): audio may be unencrypted")],
        },
        stopped: Stopped {
            calls_refused: 14,
            per_minute: owned("92.40 USD"),
            sign_ins_failed: 3,
            held_now: vec![
                owned("203.0.113.5 at 101 until 09:28"),
                owned("192.0.2.7 at 102 until 09:30"),
            ],
            held_count: 2,
            at_least: true,
            ..Stopped::default()
        },
        attention: vec![Attention {
            what: owned("Trunk old is down: nobody answers"),
            remedy: owned("ringfence trunk test old"),
        }],
        ..Status::default()
    };
    check(
        &Question::Status,
        &Answer::Status(Box::new(status)),
        "One thing needs attention. Trunk old is down: nobody answers

What needs attention
  ! Trunk old is down: nobody answers
      remedy: ringfence trunk test old

What could be lost
  at most       23.40 USD until Thursday 08:00 (week budget)
  spent today   1.05 USD

What is encrypted
  phones        1: 1 with encrypted signalling, 0 with encrypted audio
  trunks        none
  exception     Phone 104 (Handset 1.0): audio may be unencrypted

What was stopped in the last 24 hours
  calls            at least 14; a minute of them together would have cost 92.40
                   USD
  clear audio      0
  failed sign-ins  at least 3
  bans             0
  broken rules     0
  held now         2: 203.0.113.5 at 101 until 09:28, 192.0.2.7 at 102 until
                   09:30 (ringfence bans)
  shut out now     0

What is up
  phones        1 registered, 2 known
  extensions    2
  trunks        1 up, 2 in all
  calls         0
  node          0, Ringfence 0.1.0, up since 2026-11-26T08:00:00.000Z
",
    );
}

#[test]
fn lines_break_between_words_and_stand_below_each_other() {
    let text = "word ".repeat(20);
    let shown = wrapped(&text, "   1.0 s  ");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines.iter().all(|line| line.len() <= WIDTH), "{shown}");
    assert!(lines[0].starts_with("   1.0 s  word") && lines[1].starts_with("          word"));
    assert_eq!(wrapped("", "head"), "head\n");
}
