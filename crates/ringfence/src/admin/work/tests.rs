//! The office over an exchange that keeps what it is told and judges nothing.
#![allow(clippy::unwrap_used, reason = "helpers of tests: clippy allows it in test functions only")]

use super::*;
use crate::admin::protocol::{
    Confidential, Edit, Key, Reach, RoleChange, TrunkAccess, TrunkSettings, TrunkTransport, Whose,
};
use crate::exchange_thread::inbox;
use guard::exposure::{Binding, Exposure, ExposureLine};
use guard::gate::{Decision, Paid, PolicyVersion, Rule};
use guard::ledger::{self, Window};
use guard::money::Money;
use guard::number::{Class, Country};
use guard::policy::{Policy, Scope};
use guard::rate::RateDeck;
use guard::wall::{Ban, Protected};
use pbx::command::{Bans, Explanation, TestStep, TrunkSecret, TrunkState, TrunkTest, TrunkView};
use pbx::directory::{Inbound, Trunk, TrunkMedia};
use std::os::unix::fs::PermissionsExt as _;

const ALICE: ExtensionId = ExtensionId(0xa11ce);

/// What the exchange would keep.
struct Kept {
    policy: Arc<Policy>,
    deck: Arc<RateDeck>,
    trunks: Vec<Trunk>,
    secrets: Vec<Option<String>>,
    inbound: Vec<Inbound>,
    alice: directory::Extension,
    /// So many times somebody else is faster.
    overtaken: usize,
    resets: Vec<Scope>,
    saved: Vec<String>,
    bans: Vec<Ban>,
}

impl Kept {
    fn answer(&mut self, command: Command) -> Reply {
        match command {
            Command::Policy => Reply::Policy(self.policy.clone(), self.deck.clone()),
            Command::Extensions { which, .. } => {
                let wanted = match which {
                    Which::All => true,
                    Which::Numbered(number) => self.alice.number.as_str() == number,
                    Which::Ids(ids) => ids.contains(&self.alice.id),
                };
                let alice = ExtensionView { extension: self.alice.clone(), devices: Vec::new() };
                Reply::Extensions(wanted.then_some(alice).into_iter().collect())
            }
            Command::Trunks => Reply::Trunks(self.trunks.iter().map(view).collect()),
            Command::Bans => {
                let (held, slowed, stale) = (Vec::new(), Vec::new(), Vec::new());
                Reply::Bans(Bans { bans: self.bans.clone(), held, slowed, stale })
            }
            Command::Inbound => Reply::Inbound(self.inbound.clone()),
            Command::Exposure => Reply::Exposure(Box::new(exposure(&self.policy))),
            Command::ExposureUnder { policy, .. } => Reply::Exposure(Box::new(exposure(&policy))),
            Command::ExposureReset { .. } => Reply::Exposure(Box::new(exposure(&self.policy))),
            Command::Budgets => Reply::Budgets(vec![ledger::Account {
                account: Scope::Extension(ALICE),
                window: Window::Day,
                begin: Utc(0),
                end: Utc(86_400_000_000),
                spent: Money(12_500_000),
                soft: None,
                hard: Some(Money(10_000_000)),
            }]),
            Command::TestTrunk { .. } => Reply::TrunkTested(TrunkTest {
                steps: vec![TestStep {
                    what: "look-up",
                    passed: false,
                    found: "no such name".to_owned(),
                    mend: Some(pbx::command::Mend::Server),
                }],
                weaknesses: Vec::new(),
                passed: false,
            }),
            Command::Explain { .. } => Reply::Explained(Box::new(Explanation {
                destination: "+37120000000".to_owned(),
                class: Some(Class::International),
                country: "LV".parse().ok(),
                role: "staff".to_owned(),
                decision: Decision { rule: Rule::NotAllowedClass, policy: self.policy.version },
                permitted: false,
                why: "The role staff may not dial international numbers.".to_owned(),
                rate: None,
                first: Some(Paid { seconds: 60, held: Money(250_000) }),
                trunks: Vec::new(),
                disabled: false,
                no_way: None,
            })),
            Command::Change { change, .. } => self.change(change),
            other => panic!("{other:?}"),
        }
    }

    fn change(&mut self, change: Change) -> Reply {
        match change {
            Change::SetPolicy { after, policy, what } => {
                if self.overtaken > 0 {
                    self.overtaken -= 1;
                    self.policy = self.policy.next(|policy| policy.outside_line = Some('9'));
                }
                if after != self.policy.version {
                    return Reply::Refused(Refusal::Outdated);
                }
                self.policy = policy;
                self.saved.push(what);
            }
            Change::SetDeck { deck } => self.deck = deck,
            Change::AddTrunk { trunk, secret } => {
                self.trunks.push(*trunk);
                self.secrets.push(secret.map(|TrunkSecret(clear)| clear.to_string()));
            }
            Change::SetTrunk { trunk, secret } => {
                let at = self.trunks.iter().position(|one| one.id == trunk.id).unwrap();
                self.trunks[at] = *trunk;
                if let Some(TrunkSecret(clear)) = secret {
                    self.secrets[at] = Some(clear.to_string());
                }
            }
            Change::SetInbound { inbound } => self.inbound.push(inbound),
            Change::SetCallerId { caller_id: Some(number), .. }
                if self.inbound.iter().all(|one| one.number != number) =>
            {
                return Reply::Refused(Refusal::NotOurNumber);
            }
            Change::SetCallerId { caller_id, .. } => self.alice.caller_id = caller_id,
            Change::RemoveTrunk { trunk } if self.inbound.iter().any(|one| one.trunk == trunk) => {
                return Reply::Refused(Refusal::InUse);
            }
            Change::RemoveTrunk { trunk } => self.trunks.retain(|one| one.id != trunk),
            Change::RemoveInbound { number } => self.inbound.retain(|one| one.number != number),
            Change::ResetBudget { account } => self.resets.push(account),
            Change::Ban(ban) if ban.source.ip().is_loopback() => {
                return Reply::Refused(Refusal::Protected(Protected::Ourselves));
            }
            Change::Ban(ban) => {
                self.bans.retain(|known| known.source != ban.source);
                self.bans.push(ban);
            }
            Change::Unban { source, .. } => self.bans.retain(|ban| ban.source != source),
            other => panic!("{other:?}"),
        }
        Reply::Done
    }
}

fn view(trunk: &Trunk) -> TrunkView {
    TrunkView {
        trunk: trunk.clone(),
        state: TrunkState::Connecting,
        places: Vec::new(),
        tls: None,
        calls: 0,
        weaknesses: trunk.weaknesses(),
    }
}

/// Ten units for each country that staff may call, so that a test sees it change.
fn exposure(policy: &Policy) -> Exposure {
    let (_, role) = policy.role_of(ALICE);
    let countries = i64::try_from(role.unwrap().countries.len()).unwrap();
    let most = Money(10_000_000 * countries);
    let account = Scope::Extension(ALICE);
    let line = |of| ExposureLine {
        of,
        most,
        tail: Money(0),
        binding: match countries {
            0 => Binding::NothingAllowed,
            _ => Binding::Budget { account, window: Window::Day },
        },
    };
    Exposure {
        currency: policy.currency,
        from: Utc(0),
        // Thursday, 1 January 1970, at eight.
        until: Utc(8 * 3_600_000_000),
        lines: vec![line(account), line(Scope::Operator)],
    }
}

struct Desk {
    office: Office,
    kept: Arc<Mutex<Kept>>,
    _folder: tempfile::TempDir,
    _store: store::Writer,
}

async fn desk() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let clock = Clock::start();
    let key = Arc::new(MasterKey::draw(&mut Chance::from_number(1)));
    let options = store::Options {
        master: key.clone(),
        chance: Chance::from_number(2),
        now: clock.now().utc,
        durability: store::Durability::Process,
        size_max: None,
        first: store::First { node: NodeId(0), realm: "test".to_owned() },
    };
    let opened = store::open(&store::Folder::open(&path).unwrap(), options).await.unwrap();
    let sealed = Sealed::seal(&key, &mut Chance::from_number(3), b"test", b"secret");
    let mut policy = (*Policy::first(Country::US)).clone();
    policy.zone = "UTC".to_owned();
    let policy = Arc::new(policy);
    let kept = Kept {
        deck: Arc::new(RateDeck::estimates(policy.currency)),
        policy,
        trunks: Vec::new(),
        secrets: Vec::new(),
        inbound: Vec::new(),
        bans: Vec::new(),
        alice: directory::Extension {
            id: ALICE,
            tenant: TenantId::HOUSE,
            number: ExtensionNumber::new("101", Country::US).unwrap(),
            name: "Alice".to_owned(),
            enabled: true,
            secret: directory::Secret { sealed, since: Utc(0) },
            previous: None,
            exceptions: Exceptions::default(),
            caller_id: None,
            created: Utc(0),
        },
        overtaken: 0,
        resets: Vec::new(),
        saved: Vec::new(),
    };
    let kept = Arc::new(Mutex::new(kept));
    let (exchange, events) = inbox();
    let answering = kept.clone();
    std::thread::spawn(move || events.answer(|command| answering.lock().unwrap().answer(command)));
    let office = Office {
        node: NodeId(0),
        tenant: TenantId::HOUSE,
        realm: "test".to_owned(),
        realms: vec![("access".to_owned(), RealmId(0)), ("carrier".to_owned(), RealmId(4))],
        key,
        clock,
        chance: Chance::from_number(4).into(),
        exchange,
        store: opened.reader.clone(),
        alerts: None,
        door: Door {
            domain: "localhost".to_owned(),
            port: 5061,
            ca_file: path.join("ca.pem"),
            ca_sha256: String::new(),
            ca_url: None,
            certificate: None,
        },
        front: crate::front::tests::front(),
        in_clear: Vec::new(),
    };
    Desk { office, kept, _folder: folder, _store: opened.writer }
}

impl Desk {
    async fn ask(&self, question: Question) -> Answer {
        self.ask_with(question, b"").await
    }

    async fn ask_with(&self, question: Question, body: &[u8]) -> Answer {
        let actor = Actor::LocalAdmin { uid: 1_000, name: "grace".to_owned() };
        self.office.answer(actor, question, body.to_vec()).await
    }

    async fn refused(&self, question: Question) -> Failure {
        let shown = format!("{question:?}");
        match self.ask(question).await {
            Answer::Failed(failure) => {
                assert!(!failure.wrong.is_empty() && !failure.remedy.is_empty(), "{shown}");
                failure
            }
            other => panic!("{shown}: {other:?}"),
        }
    }

    async fn trunk(&self, question: Question) -> crate::admin::protocol::Trunk {
        match self.ask(question).await {
            Answer::Trunks(mut list) if list.len() == 1 => list.remove(0),
            other => panic!("{other:?}"),
        }
    }

    async fn change(&self, edit: Edit, dry_run: bool) -> crate::admin::protocol::PolicyChange {
        match self.ask(Question::PolicyChange { edit, dry_run }).await {
            Answer::PolicyChanged(change) => *change,
            other => panic!("{other:?}"),
        }
    }
}

fn add(settings: TrunkSettings) -> Question {
    Question::TrunkAdd { name: "carrier".to_owned(), settings: Box::new(settings) }
}

fn set(settings: TrunkSettings) -> Question {
    Question::TrunkSet { name: "carrier".to_owned(), settings: Box::new(settings) }
}

fn account() -> TrunkSettings {
    TrunkSettings {
        server: Some("sip.example.net".to_owned()),
        user: Some("4711".to_owned()),
        secret: Some(Confidential(zeroize::Zeroizing::new("s3cret".to_owned()))),
        ..TrunkSettings::default()
    }
}

fn abroad(country: &str) -> Edit {
    let change = RoleChange { countries: vec![country.parse().unwrap()], ..RoleChange::default() };
    Edit::RoleSet { name: "staff".to_owned(), change }
}

#[tokio::test]
async fn a_trunk_is_encrypted_unless_somebody_says_otherwise_and_each_lack_is_named() {
    let desk = desk().await;
    let trunk = desk.trunk(add(account())).await;
    assert_eq!((trunk.access.as_str(), trunk.transport.as_str()), ("registration", "tls"));
    assert_eq!((trunk.media.as_str(), trunk.md5, trunk.channels), ("srtp", false, 10));
    assert_eq!((trunk.silence_limit_seconds, trunk.longest_seconds), (120, 14_400));
    assert_eq!(trunk.weaknesses, Vec::<String>::new());
    let weak = TrunkSettings {
        transport: Some(TrunkTransport::Udp),
        plain_rtp: Some(true),
        allow_md5: Some(true),
        ..TrunkSettings::default()
    };
    let trunk = desk.trunk(set(weak)).await;
    let named = ["signalling is not encrypted", "audio is not encrypted", "digest may use MD5"];
    assert_eq!(trunk.weaknesses, named);
    // What was not said stayed.
    assert_eq!((trunk.access.as_str(), trunk.user.as_deref()), ("registration", Some("4711")));
    let kept = desk.kept.lock().unwrap();
    assert_eq!(kept.trunks[0].realm, RealmId(4), "the realm called carrier");
    assert_eq!(kept.trunks[0].media, TrunkMedia::DangerousPlain);
}

#[tokio::test]
async fn a_trunks_secret_is_sealed_under_its_own_name_and_kept_until_there_is_another() {
    let desk = desk().await;
    desk.trunk(add(account())).await;
    let opened = |kept: &Kept| {
        let secret = credentials::open_trunk(&desk.office.key, &kept.trunks[0]).unwrap();
        secret.map(|TrunkSecret(clear)| clear.to_string())
    };
    {
        let kept = desk.kept.lock().unwrap();
        assert_eq!(kept.secrets, [Some("s3cret".to_owned())]);
        assert_eq!(opened(&kept).as_deref(), Some("s3cret"));
    }
    desk.trunk(set(TrunkSettings { channels: Some(2), ..TrunkSettings::default() })).await;
    assert_eq!(opened(&desk.kept.lock().unwrap()).as_deref(), Some("s3cret"));
    let secret = Some(Confidential(zeroize::Zeroizing::new("other".to_owned())));
    desk.trunk(set(TrunkSettings { secret, ..TrunkSettings::default() })).await;
    let kept = desk.kept.lock().unwrap();
    assert_eq!(opened(&kept).as_deref(), Some("other"));
    assert_eq!(kept.secrets, [Some("other".to_owned())]);
}

#[tokio::test]
async fn what_a_trunk_cannot_be_is_refused_with_a_remedy() {
    let desk = desk().await;
    let with = |change: fn(&mut TrunkSettings)| {
        let mut settings = account();
        change(&mut settings);
        add(settings)
    };
    for question in [
        with(|of| of.server = None),
        with(|of| of.server = Some("sip.example.net:0".to_owned())),
        with(|of| of.server = Some("sip example".to_owned())),
        with(|of| of.server = Some("sip.example.net:port".to_owned())),
        with(|of| of.secret = None),
        with(|of| of.user = None),
        with(|of| of.user = Some("47\"11".to_owned())),
        with(|of| of.realm = Some("moon".to_owned())),
        with(|of| of.caller_id = Some("101".to_owned())),
        with(|of| of.codecs = Some(vec!["PC MA".to_owned()])),
        with(|of| of.codecs = Some(vec!["PCMA".to_owned(), "PCMX".to_owned()])),
        with(|of| of.channels = Some(0)),
        with(|of| of.silence_limit_seconds = Some(5)),
        with(|of| of.longest_seconds = Some(200_000)),
        with(|of| of.authority = Some("no certificate".to_owned())),
        with(|of| of.access = Some(TrunkAccess::Address(vec!["0.0.0.0".parse().unwrap()]))),
        Question::TrunkAdd { name: "two words".to_owned(), settings: Box::new(account()) },
        Question::TrunkShow { name: "nobody".to_owned() },
        set(TrunkSettings { channels: Some(2), ..TrunkSettings::default() }),
    ] {
        desk.refused(question).await;
    }
    desk.trunk(add(account())).await;
    assert!(desk.refused(add(account())).await.wrong.contains("already"));
}

#[tokio::test]
async fn numbers_belong_to_trunks_and_callers_show_their_own_only() {
    let desk = desk().await;
    desk.trunk(add(account())).await;
    let number = |number: &str| Question::NumberAdd {
        number: number.to_owned(),
        trunk: "carrier".to_owned(),
        extension: "101".to_owned(),
    };
    let shows = |number: &str| Question::ExtensionCallerId {
        number: "101".to_owned(),
        caller_id: Some(number.to_owned()),
    };
    assert!(desk.refused(shows("+12025550123")).await.remedy.contains("number add"));
    for wrong in ["+1", "101", "+0202555012", "+12345678901234567", "emergency"] {
        desk.refused(number(wrong)).await;
    }
    assert_eq!(desk.ask(number("+1 (202) 555-0123")).await, Answer::Done);
    assert_eq!(desk.ask(shows("+12025550123")).await, Answer::Done);
    let Answer::Numbers(list) = desk.ask(Question::NumberList).await else { panic!() };
    let one = (&*list[0].number, &*list[0].trunk, &*list[0].extension);
    assert_eq!(one, ("+12025550123", "carrier", "101"));
    let remove = Question::TrunkRemove { name: "carrier".to_owned() };
    let refused = desk.refused(remove.clone()).await;
    assert_eq!(refused.wrong, "trunk carrier brings calls to +12025550123");
    let extension = Question::ExtensionRemove { number: "101".to_owned() };
    let refused = desk.refused(extension).await;
    assert_eq!(refused.wrong, "extension 101 answers +12025550123");
    let gone = Question::NumberRemove { number: "+12025550123".to_owned() };
    let Answer::DoneWith(said) = desk.ask(gone.clone()).await else { panic!() };
    assert_eq!(said, ["Extension 101 showed it outside, and shows the trunk's number now."]);
    assert_eq!(desk.kept.lock().unwrap().alice.caller_id, None);
    desk.refused(gone).await;
    let Answer::DoneWith(said) = desk.ask(remove).await else { panic!() };
    assert!(
        said[0].starts_with("Calls for help cannot leave: no trunk is in service."),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_change_of_the_rules_tells_what_could_be_lost_before_it_is_saved() {
    let desk = desk().await;
    let tried = desk.change(abroad("LV"), true).await;
    assert_eq!((tried.saved, tried.loosens, tried.from, tried.version), (false, true, 1, 2));
    assert_eq!(tried.changes, ["role staff may dial numbers of LV (Latvia)"]);
    assert_eq!((tried.before.all.as_str(), tried.after.all.as_str()), ("0.00", "10.00"));
    assert!(
        tried.before.summary.starts_with("Nothing can be lost until Thursday 1970-01-01 08:00")
    );
    let expected = "At most 10.00 USD can be lost until Thursday 1970-01-01 08:00; a single stolen password at \
                    most 10.00 USD (extension 101, day budget).";
    assert_eq!(tried.after.summary, expected);
    assert_eq!(desk.kept.lock().unwrap().policy.version, PolicyVersion(1));
    let done = desk.change(abroad("LV"), false).await;
    assert!(done.saved);
    assert_eq!(desk.kept.lock().unwrap().saved, ["role staff may dial numbers of LV (Latvia)"]);
    // The same again changes nothing, and makes no version.
    let again = desk.change(abroad("LV"), false).await;
    assert_eq!((again.saved, again.changes.len(), again.version), (false, 0, 2));
    assert_eq!(desk.kept.lock().unwrap().policy.version, PolicyVersion(2));
}

#[tokio::test]
async fn who_was_overtaken_once_is_saved_over_the_others_change_and_twice_is_told() {
    let desk = desk().await;
    desk.kept.lock().unwrap().overtaken = 1;
    let change = desk.change(abroad("LV"), false).await;
    assert_eq!((change.saved, change.from, change.version), (true, 2, 3));
    {
        let mut kept = desk.kept.lock().unwrap();
        assert_eq!(kept.policy.outside_line, Some('9'), "the other's change is not lost");
        kept.overtaken = 2;
    }
    let edit = abroad("EE");
    let failure = desk.refused(Question::PolicyChange { edit, dry_run: false }).await;
    assert!(failure.wrong.contains("somebody else"), "{failure:?}");
}

#[tokio::test]
async fn rules_that_do_not_hold_together_are_refused_with_what_to_mend() {
    let desk = desk().await;
    let zone = Edit::Set { key: Key::Zone, value: "Europe/Atlantis".to_owned() };
    let failure = desk.refused(Question::PolicyChange { edit: zone, dry_run: false }).await;
    assert!(failure.wrong.contains("Atlantis"), "{failure:?}");
    assert!(failure.remedy.contains("IANA"), "{failure:?}");
    assert_eq!(desk.kept.lock().unwrap().policy.version, PolicyVersion(1));
}

/// Calls for help need a trunk: whoever takes the last one away is told.
#[tokio::test]
async fn the_last_trunk_goes_with_a_word_about_calls_for_help() {
    let desk = desk().await;
    desk.trunk(add(account())).await;
    let enable = |enabled| Question::TrunkEnable { name: "carrier".to_owned(), enabled };
    let Answer::DoneWith(said) = desk.ask(enable(false)).await else { panic!() };
    assert!(said[0].contains("trunk enable NAME"), "{said:?}");
    assert_eq!(desk.ask(enable(true)).await, Answer::Done);
}

#[tokio::test]
async fn another_currency_and_a_clashing_outside_line_are_told() {
    let desk = desk().await;
    let edit = |key, value: &str| Edit::Set { key, value: value.to_owned() };
    let change = desk.change(edit(Key::Currency, "EUR"), true).await;
    assert!(change.loosens);
    assert_eq!(
        change.changes,
        [
            "currency of every amount: USD → EUR",
            "no amount is converted: what was 10.00 USD in budgets and highest prices is 10.00 EUR, and \
             what was spent in USD counts as EUR",
        ]
    );
    let line = edit(Key::OutsideLine, "1");
    let refused = desk.refused(Question::PolicyChange { edit: line, dry_run: false }).await;
    assert_eq!(refused.wrong, "extension 101 begins with 1");
    let home = edit(Key::Home, "UK");
    let refused = desk.refused(Question::PolicyChange { edit: home, dry_run: false }).await;
    assert_eq!(refused.wrong, "UK is no country here: the United Kingdom is GB");
    let home = desk.change(edit(Key::Home, "GE"), true).await;
    assert!(home.changes[0].contains("GE (Georgia); calls for help: "), "{:?}", home.changes);
}

/// What is lifted is not all that is locked.
#[tokio::test]
async fn a_lifted_lockdown_says_what_stays_locked() {
    let desk = desk().await;
    let lock = |reach, on| Edit::Lockdown { reach, on };
    desk.change(lock(Reach::Extension("101".to_owned()), true), false).await;
    desk.change(lock(Reach::Everything, true), false).await;
    let lifted = desk.change(lock(Reach::Everything, false), false).await;
    assert_eq!(lifted.still_locked, ["extension 101"]);
}

/// A price of nothing takes its calls out of every budget, and a cheaper one stretches it.
#[tokio::test]
async fn a_price_list_that_loosens_says_how() {
    let desk = desk().await;
    let of = |csv: &str| {
        let bytes = u64::try_from(csv.len()).unwrap();
        (Question::RatesImport { bytes, dry_run: false }, csv.as_bytes().to_vec())
    };
    let changed = |answer| match answer {
        Answer::RatesChanged(change) => *change,
        other => panic!("{other:?}"),
    };
    let (question, body) = of("prefix,rate,name\n1,0.02,USA\n1800,0,Toll-free\n1876,0.3,Jamaica\n");
    let first = changed(desk.ask_with(question, &body).await);
    assert_eq!(first.loosens, Vec::<String>::new());
    assert_eq!((first.lowest.as_deref(), first.highest.as_deref()), (Some("0.00"), Some("0.30")));
    assert_eq!((first.passes[0].role.as_str(), first.passes[0].lines), ("staff", 3));
    // Jamaica's line is gone: it would cost what the rest of +1 costs.
    let (question, body) = of("prefix,rate,name\n1,0.02,USA\n1800,0,Toll-free\n371,0,Latvia\n");
    let second = changed(desk.ask_with(question, &body).await);
    assert_eq!(
        second.loosens,
        [
            "1 line would cost nothing a minute, so no budget counts them: 371 Latvia",
            "1 line would become cheaper, so a budget lasts longer: 1876 0.30 → 0.02 USD a minute",
        ]
    );
    let cleared = changed(desk.ask(Question::RatesClear { dry_run: true }).await);
    assert!(cleared.loosens[0].contains("is forgotten"), "{:?}", cleared.loosens);
}

#[tokio::test]
async fn a_price_list_is_compared_with_the_present_one() {
    let desk = desk().await;
    let import = |csv: &str, dry_run| {
        let bytes = u64::try_from(csv.len()).unwrap();
        (Question::RatesImport { bytes, dry_run }, csv.as_bytes().to_vec())
    };
    let changed = |answer| match answer {
        Answer::RatesChanged(change) => *change,
        other => panic!("{other:?}"),
    };
    let (question, body) = import("prefix,rate,name\n371,0.05,Latvia\n372,0.04,Estonia\n", false);
    let first = changed(desk.ask_with(question, &body).await);
    assert_eq!((first.saved, first.lines, first.added, first.version), (true, 2, 2, 1));
    let next = "prefix,rate,name\n371,0.06,Latvia\n3712,0.10,Latvia mobile\n";
    let (question, body) = import(next, true);
    let second = changed(desk.ask_with(question, &body).await);
    let counts = (second.saved, second.added, second.removed, second.dearer, second.cheaper);
    assert_eq!(counts, (false, 1, 1, 1, 0));
    assert_eq!(desk.kept.lock().unwrap().deck.version, 1, "a dry run saves nothing");

    let show = Question::RatesShow { number: "+37120000000".to_owned() };
    let Answer::Rates(shown) = desk.ask(show).await else { panic!() };
    assert_eq!(shown.rates.len(), 1);
    assert_eq!(shown.rates[0].per_minute, "0.05");
    let Answer::RatesCsv(csv) = desk.ask(Question::RatesExport).await else { panic!() };
    let again = RateDeck::import(csv.as_bytes(), "USD".parse().unwrap(), 1).unwrap();
    assert_eq!(again, *desk.kept.lock().unwrap().deck);

    let (question, body) = import("prefix,rate\n371,0.05\nabc,1\n44,x\n", false);
    let Answer::Failed(failure) = desk.ask_with(question, &body).await else { panic!() };
    assert!(failure.wrong.contains("line 3") && failure.wrong.contains("line 4"), "{failure:?}");
    let cleared = changed(desk.ask(Question::RatesClear { dry_run: false }).await);
    assert_eq!((cleared.removed, cleared.lines, cleared.version), (2, 0, 2));
}

#[tokio::test]
async fn a_price_list_with_dates_says_what_waits() {
    let desk = desk().await;
    let import = |csv: &str| {
        let bytes = u64::try_from(csv.len()).unwrap();
        (Question::RatesImport { bytes, dry_run: false }, csv.as_bytes().to_vec())
    };
    let (question, body) = import("prefix,rate\n371,0.05\n");
    desk.ask_with(question, &body).await;
    let (question, body) = import(
        "prefix,rate,Effective date\n1,0.01,2001-01-01\n371,0.09,2999-12-01\n372,0.09,1 Dec 2998\n",
    );
    let Answer::RatesChanged(change) = desk.ask_with(question, &body).await else { panic!() };
    assert_eq!((change.lines, change.later, change.later_kept), (2, 2, 1));
    assert_eq!(change.later_first.as_deref(), Some("2998-12-01"));
    assert_eq!((change.removed, change.cheaper), (0, 0), "the former price of 371 stays");
    let (question, body) = import("prefix,rate,Date\n371,0.05,03/04/2026\n");
    let Answer::Failed(failure) = desk.ask_with(question, &body).await else { panic!() };
    assert!(failure.wrong.contains("line 2, date, `03/04/2026`"), "{failure:?}");
}

#[tokio::test]
async fn what_the_exchange_tells_is_shown_by_its_names() {
    let desk = desk().await;
    desk.trunk(add(account())).await;
    let Answer::Budgets(budgets) = desk.ask(Question::BudgetShow).await else { panic!() };
    let one = &budgets[0];
    assert_eq!(
        (one.of.as_str(), one.per.as_str(), one.spent.as_str()),
        ("extension 101", "day", "12.50")
    );
    // More than the bound was spent: nothing is left, and not less than nothing.
    assert_eq!(one.left.as_deref(), Some("0.00"));
    let reset = |of, dry_run| Question::BudgetReset { of, dry_run };
    let own = || Whose::Extension("101".to_owned());
    let Answer::BudgetReset(tried) = desk.ask(reset(own(), true)).await else { panic!() };
    assert_eq!((tried.saved, tried.of.as_str()), (false, "extension 101"));
    assert!(desk.kept.lock().unwrap().resets.is_empty(), "a dry run forgets nothing");
    let Answer::BudgetReset(done) = desk.ask(reset(own(), false)).await else { panic!() };
    assert!(done.saved);
    assert_eq!(desk.kept.lock().unwrap().resets, [Scope::Extension(ALICE)]);
    desk.refused(reset(Whose::EachExtension, true)).await;

    let explain =
        |from: &str| Question::Explain { number: "00371".to_owned(), from: from.to_owned() };
    let Answer::Explained(explained) = desk.ask(explain("101")).await else { panic!() };
    assert_eq!((explained.rule.as_str(), explained.permitted), ("not-allowed-class", false));
    assert_eq!(explained.first_hold.as_deref(), Some("0.25"));
    desk.refused(explain("999")).await;

    let test = Question::TrunkTest { name: "carrier".to_owned() };
    let Answer::TrunkTested(tested) = desk.ask(test).await else { panic!() };
    assert!(!tested.passed && tested.steps[0].found == "no such name");

    let Answer::Exposure(exposure) = desk.ask(Question::Exposure).await else { panic!() };
    let of: Vec<&str> = exposure.lines.iter().map(|line| line.of.as_str()).collect();
    assert_eq!(of, ["extension 101", "operator"]);
}

#[tokio::test]
async fn who_may_not_is_told_so_before_anything_is_asked() {
    let desk = desk().await;
    for question in [
        add(account()),
        Question::PolicyChange { edit: abroad("LV"), dry_run: true },
        Question::PolicyChange {
            edit: Edit::Lockdown { reach: Reach::Everything, on: true },
            dry_run: true,
        },
        Question::RatesClear { dry_run: true },
        Question::BudgetReset { of: Whose::Operator, dry_run: true },
        Question::Unban { source: "192.0.2.1".to_owned(), account: None },
    ] {
        // An erased administrator has the least that anybody has.
        let answer = desk.office.answer(Actor::Erased, question.clone(), Vec::new()).await;
        let Answer::Failed(failure) = answer else { panic!("{question:?}") };
        assert!(failure.wrong.contains("not allowed to you"), "{question:?}");
    }
}

#[tokio::test]
async fn bans_are_placed_shown_with_their_remedy_and_lifted() {
    let desk = desk().await;
    let ban = |source: &str, seconds| Question::Ban {
        source: source.to_owned(),
        seconds,
        why: "rings\r\nat night".to_owned(),
    };
    let Answer::DoneWith(said) = desk.ask(ban("2001:db8::7", 3_600)).await else { panic!() };
    assert!(said[0].starts_with("2001:db8::/64 is shut out until ") && said[0].contains("network"));
    let Answer::DoneWith(said) = desk.ask(ban("2001:db8::7", 7_200)).await else { panic!() };
    assert!(said[0].contains("(before: until "), "{said:?}");
    let Answer::Bans(list) = desk.ask(Question::Bans).await else { panic!() };
    let [one] = &list.banned[..] else { panic!("{list:?}") };
    assert_eq!(one.source, "2001:db8::/64");
    assert_eq!(one.why, "an administrator said so (ringsat night)");
    assert_eq!(one.remedy, "ringfence unban 2001:db8::/64");
    for (question, wrong) in [
        (ban("127.0.0.1", 3_600), "it is this machine"),
        (ban("::1", 3_600), "it is this machine"),
        (ban("0.0.0.0", 3_600), "no address of anybody's"),
        (ban("224.0.0.1", 3_600), "no address of anybody's"),
        (ban("255.255.255.255", 3_600), "no address of anybody's"),
        (ban("203.0.113.0/24", 3_600), "ranges can't be banned here"),
        (ban("somewhere", 3_600), "is no address"),
        (ban("192.0.2.1", 31 * 86_400), "30 days at the most"),
    ] {
        let Answer::Failed(failure) = desk.ask(question).await else { panic!("{wrong}") };
        assert!(failure.wrong.contains(wrong), "{failure:?}");
    }
    // What was shown is what undoes it.
    let source = "2001:db8::/64".to_owned();
    let unban = Question::Unban { source, account: None };
    let Answer::DoneWith(said) = desk.ask(unban.clone()).await else { panic!() };
    assert!(said[0].contains("may try again"), "{said:?}");
    let Answer::DoneWith(said) = desk.ask(unban).await else { panic!() };
    assert!(said[0].starts_with("Nothing was held against 2001:db8::/64"), "{said:?}");
    let blank = Question::Ban { source: "192.0.2.1".to_owned(), seconds: 60, why: " ".to_owned() };
    assert!(desk.refused(blank).await.remedy.contains("--why"));
    let Answer::Bans(list) = desk.ask(Question::Bans).await else { panic!() };
    assert!(list.banned.is_empty());
}
