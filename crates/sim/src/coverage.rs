//! What a run really reached: a test of a race that never happened proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use actors::carrier;
use actors::phone::{self, Ending};
use bytes::Bytes;
use guard::fact::{Fact, ViolationKind};
use guard::gate::Rule;
use guard::id::{LegId, TrunkId};
use sip::{Message, Method, Name};

use crate::world::forge::is_forged;

macro_rules! items {
    ($($item:ident $name:literal)*) => {
        /// Something worth reaching.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Item { $($item,)* }

        impl Item {
            /// Everything that a whole run must have reached.
            pub const ALL: &'static [Self] = &[$(Self::$item,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$item => $name,)* }
            }
        }
    };
}

items! {
    Call "call answered"
    Busy "busy (486)"
    Declined "declined (603)"
    NoAnswer "no answer"
    Unavailable "unavailable (480)"
    NotEncrypted "refused in clear (488)"
    UnknownNumber "unknown number (404)"
    TimedOut "time-out (408)"
    EarlyMedia "early media"
    DelayedOffer "delayed offer"
    Cancel "CANCEL"
    CancelCrosses200 "CANCEL crosses 200"
    LateSuccess "late 2xx of a cancelled fork"
    ForkCancelled "other device cancelled"
    ByeCrossing "BYE crosses BYE"
    Reinvite "re-INVITE"
    Glare "glare (491)"
    Hold "hold"
    Resume "resume"
    Dtmf "DTMF"
    SessionTimer "session timer refresh"
    Retransmission "retransmission"
    Duplicate "duplicate"
    Loss "loss"
    FlowLossMidCall "flow lost in a call"
    HalfOpen "half-open connection"
    FlowReplaced "flow replaced"
    AddressChanged "address changed"
    PhoneDied "phone died"
    Crash "crash"
    CrashWhileRinging "crash while ringing"
    CrashMidCall "crash in a call"
    Recovered "orphans recovered"
    PersistFailure "persist failure"
    ClockStep "clock step"
    Injection "media injected"
    Replay "media replayed"
    Emergency "emergency"
    RelayRefused "relay refused"
    DialogUnknown "481"
    OutsideCall "outside call answered"
    InboundCall "inbound call answered"
    TrunkRegistered "trunk registered"
    RegistrationLost "trunk lost"
    RegistrationBack "trunk back"
    InviteChallenged "challenge of an INVITE (407)"
    Failover "failover to another way"
    RefusedClass "refused: class"
    RefusedCountry "refused: country"
    RefusedHours "refused: hours"
    RefusedConcurrency "refused: concurrency"
    RefusedRate "refused: rate"
    RefusedTooDear "refused: too dear"
    RefusedBudget "refused: budget"
    Extended "reserve extended"
    BudgetEnded "budget ended a call"
    EmergencyReached "emergency reached a carrier"
    Preempted "emergency pre-empted a call"
    EmergencyOtherWay "emergency fell back"
    CarrierVanished "carrier vanished in a call"
    LateOutside "late 2xx of a carrier"
    CrashWithMoney "crash with money held"
    RecoveredWithCost "recovered with cost"
    ClockStepWithMoney "clock step with money held"
    GuesserHeld "guesser held"
    ScannerSeen "scanner seen"
    SprayerSeen "sprayer seen"
    SourceBanned "source banned"
    Forged "forged from elsewhere"
    OutOfOrder "wrong tag or old CSeq"
}

/// Counts.
#[derive(Clone, Default, Debug)]
pub struct Coverage {
    reached: BTreeMap<Item, u64>,
    /// Call-IDs of BYEs and CANCELs that the server sent last, to see crossings.
    byes: BTreeSet<String>,
    /// Call-IDs of BYEs that the server heard and nobody forged.
    hung_up: BTreeSet<String>,
    /// Legs that have held money.
    held: BTreeSet<LegId>,
    /// A trunk that was lost.
    down: BTreeSet<TrunkId>,

    cancels: BTreeSet<String>,
}

impl Coverage {
    /// Whether a leg of this Call-ID is on its way out, by the server's word or by its own peer's.
    pub(crate) fn has_left(&self, call_id: &str) -> bool {
        [&self.byes, &self.cancels, &self.hung_up].iter().any(|left| left.contains(call_id))
    }

    pub fn reach(&mut self, item: Item) {
        *self.reached.entry(item).or_default() += 1;
    }

    pub fn count(&self, item: Item) -> u64 {
        self.reached.get(&item).copied().unwrap_or_default()
    }

    pub fn add(&mut self, other: &Self) {
        for (item, count) in &other.reached {
            *self.reached.entry(*item).or_default() += count;
        }
    }

    /// Mandatory items that were never reached.
    pub fn missing(&self) -> Vec<Item> {
        let optional = |item: &Item| matches!(item, Item::RelayRefused);
        Item::ALL
            .iter()
            .filter(|item| self.count(**item) == 0 && !optional(item))
            .copied()
            .collect()
    }

    /// A message arrived at the server.
    pub(crate) fn server_hears(&mut self, bytes: &Bytes, outside: bool) {
        match Message::parse(bytes.clone()) {
            Ok(Message::Request(request)) => {
                let call_id = request.headers().call_id();
                match request.method() {
                    Method::Bye => {
                        if self.byes.contains(call_id) {
                            self.reach(Item::ByeCrossing);
                        }
                        if !is_forged(&request) {
                            self.hung_up.insert(call_id.to_owned());
                        }
                    }
                    Method::Cancel => self.reach(Item::Cancel),
                    Method::Invite if request.headers().to().tag().is_some() => {
                        self.reach(Item::Reinvite);
                    }
                    Method::Invite if request.body().is_empty() => self.reach(Item::DelayedOffer),
                    _ => {}
                }
            }
            Ok(Message::Response(response)) => {
                let headers = response.headers();
                let invite = headers.cseq().method == Method::Invite;
                let status = response.status().code();
                if invite && status == 200 && self.cancels.contains(headers.call_id()) {
                    self.reach(if outside { Item::LateOutside } else { Item::LateSuccess });
                }
                if invite && status == 183 {
                    self.reach(Item::EarlyMedia);
                }
                if outside && invite && matches!(status, 401 | 407) {
                    self.reach(Item::InviteChallenged);
                }
                if status == 481 {
                    self.reach(Item::DialogUnknown);
                }
                if status == 491 {
                    self.reach(Item::Glare);
                }
            }
            Err(_) => {}
        }
    }

    /// The server sends a message.
    pub(crate) fn server_says(&mut self, bytes: &Bytes, outside: bool) {
        match Message::parse(bytes.clone()) {
            Ok(Message::Request(request)) => {
                let headers = request.headers();
                let call_id = headers.call_id().to_owned();
                let within = headers.to().tag().is_some();
                match request.method() {
                    Method::Bye => {
                        let reason = headers.get(Name::Reason).unwrap_or_default();
                        if outside && reason.contains("budget") {
                            self.reach(Item::BudgetEnded);
                        }
                        self.byes.insert(call_id);
                    }
                    Method::Cancel => {
                        self.reach(Item::ForkCancelled);
                        self.cancels.insert(call_id);
                    }
                    Method::Invite | Method::Update if within => {
                        let update = request.method() == Method::Update;
                        if update && headers.get(Name::SessionExpires).is_some() {
                            self.reach(Item::SessionTimer);
                        }
                    }
                    _ => {}
                }
            }
            Ok(Message::Response(response)) => {
                if response.headers().cseq().method != Method::Invite {
                    return;
                }
                match response.status().code() {
                    404 => self.reach(Item::UnknownNumber),
                    408 => self.reach(Item::TimedOut),
                    480 => self.reach(Item::Unavailable),
                    486 => self.reach(Item::Busy),
                    488 => self.reach(Item::NotEncrypted),
                    491 => self.reach(Item::Glare),
                    603 => self.reach(Item::Declined),
                    _ => {}
                }
            }
            Err(_) => {}
        }
        if self.byes.len() + self.hung_up.len() > 4_096 {
            self.byes.clear();
            self.cancels.clear();
            self.hung_up.clear();
        }
    }

    /// A message arrived at a phone, one of whose calls may be giving up.
    pub(crate) fn phone_hears(&mut self, bytes: &Bytes, giving_up: bool) {
        if !giving_up {
            return;
        }
        if let Ok(Message::Response(response)) = Message::parse(bytes.clone())
            && response.status().is_success()
            && response.headers().cseq().method == Method::Invite
        {
            self.reach(Item::CancelCrosses200);
        }
    }

    pub(crate) fn carrier(&mut self, event: &carrier::Event) {
        match event {
            carrier::Event::Registered { .. } => self.reach(Item::TrunkRegistered),
            carrier::Event::Called { number } if number == crate::model::money::HELP => {
                self.reach(Item::EmergencyReached);
            }
            carrier::Event::Answered { .. } => self.reach(Item::OutsideCall),
            _ => {}
        }
    }

    /// A record was written.
    pub(crate) fn record(&mut self, cdr: &pbx::record::Cdr) {
        use guard::cause::Disposition;
        let inbound = cdr.origin == guard::gate::Origin::Inbound;
        if inbound && cdr.disposition == Disposition::Answered {
            self.reach(Item::InboundCall);
        }
        if cdr.tolls.len() > 1 {
            self.reach(Item::Failover);
        }
        let cost: i64 = cdr.tolls.iter().map(|toll| toll.cost.0).sum();
        if cdr.disposition == Disposition::Interrupted && cost > 0 {
            self.reach(Item::RecoveredWithCost);
        }
        if cdr.emergency && cdr.legs.len() > 2 {
            self.reach(Item::EmergencyOtherWay);
        }
    }

    pub(crate) fn event(&mut self, event: &phone::Event) {
        match event {
            phone::Event::Answered { .. } => self.reach(Item::Call),
            phone::Event::Held { .. } => self.reach(Item::Hold),
            phone::Event::Resumed { .. } => self.reach(Item::Resume),
            phone::Event::Ended { ending: Ending::Refused(_), .. } => {}
            _ => {}
        }
    }

    pub(crate) fn fact(&mut self, fact: &Fact) {
        use guard::cause::Disposition;
        match fact {
            Fact::CallEnded { disposition: Disposition::NoAnswer, .. } => {
                self.reach(Item::NoAnswer);
            }
            Fact::FlowReplaced { .. } => self.reach(Item::FlowReplaced),
            Fact::GuessingHeld { .. } => self.reach(Item::GuesserHeld),
            Fact::ScannerSeen { .. } => self.reach(Item::ScannerSeen),
            Fact::SprayingSeen { .. } => self.reach(Item::SprayerSeen),
            Fact::BanPlaced { .. } => self.reach(Item::SourceBanned),
            Fact::ViolationSeen { kind: ViolationKind::Forged, .. } => self.reach(Item::Forged),
            Fact::ViolationSeen { kind: ViolationKind::OutOfOrder, .. } => {
                self.reach(Item::OutOfOrder);
            }
            Fact::CrashRecovered { .. } => self.reach(Item::Recovered),
            Fact::EmergencyCalled { .. } => self.reach(Item::Emergency),
            Fact::CallPreempted { .. } => self.reach(Item::Preempted),
            Fact::MoneyHeld { leg, .. } if !self.held.insert(*leg) => self.reach(Item::Extended),
            Fact::TrunkDown { trunk, .. } => {
                self.down.insert(*trunk);
                self.reach(Item::RegistrationLost);
            }
            Fact::TrunkUp { trunk, .. } if self.down.remove(trunk) => {
                self.reach(Item::RegistrationBack);
            }
            Fact::GateDecided { permitted: false, rule, .. } => match rule {
                Rule::NotAllowedClass => self.reach(Item::RefusedClass),
                Rule::NotAllowedCountry => self.reach(Item::RefusedCountry),
                Rule::Hours => self.reach(Item::RefusedHours),
                Rule::Concurrency => self.reach(Item::RefusedConcurrency),
                Rule::Rate => self.reach(Item::RefusedRate),
                Rule::TooDear => self.reach(Item::RefusedTooDear),
                Rule::Budget => self.reach(Item::RefusedBudget),
                _ => {}
            },
            _ => {}
        }
    }
}

/// A table, one item a line.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in Item::ALL {
            writeln!(f, "  {:<32}{:>9}", item.name(), self.count(*item))?;
        }
        Ok(())
    }
}
