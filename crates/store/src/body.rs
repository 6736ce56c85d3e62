//! The parts of a row that nobody searches by, as JSON: the legs of calls that are up, and of calls
//! that have ended.
//!
//! These shapes are the disk's, apart from the program's own: renaming a field in `pbx` changes
//! nothing that is stored. Fields may be added (an older row then lacks them); what changes meaning
//! takes a new version of the snapshot, or a migration.

use std::net::IpAddr;
use std::time::Duration;

use guard::cause::EndedBy;
use guard::gate::{Decision, PolicyVersion, Proof, Rule};
use guard::id::{RealmId, TrunkId};
use guard::journal::Part;
use guard::ledger::Hold;
use guard::money::Money;
use guard::number::Class;
use guard::policy::Policy;
use guard::rate::Rate;
use guard::secret::Sealed;
use guard::sink::{Channel, Sink, SinkId};
use guard::wall::BanCause;
use pbx::directory::{Secret, Trunk, TrunkAccess, TrunkAccount, TrunkIdentity};
use pbx::flow::{FlowId, Path};
use pbx::record::{Cdr, CdrLeg, Quality, Toll};
use pbx::snapshot::{CallSnapshot, DialogState, LegSnapshot, LegStage, Role, Stage};
use pure::Utc;
use serde::{Deserialize, Serialize};

use crate::word;

/// What of a snapshot has no column of its own.
#[derive(Serialize, Deserialize)]
struct SnapshotBody {
    from: String,
    to: String,
    responsible: Option<String>,
    rule: String,
    policy: u64,
    /// Version 1 knew calls of phones alone.
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    tolls: Vec<TollBody>,
    emergency: bool,
    answered: Option<i64>,
    legs: Vec<SnapshotLeg>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotLeg {
    leg: String,
    extension: Option<String>,
    device: Option<String>,
    #[serde(default)]
    trunk: Option<u32>,
    #[serde(default)]
    toll: Option<TollBody>,
    #[serde(default)]
    hold: Option<Hold>,
    proof: Option<String>,
    node: u16,
    flow_transport: String,
    generation: u64,
    remote: String,
    transport: String,
    stage: StageBody,
    suite: Option<String>,
    rollover_sending: u32,
    rollover_receiving: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
enum StageBody {
    Incoming { refusal: String },
    Outgoing { cancel: String, invite: String },
    Up { dialog: Dialog },
}

#[derive(Serialize, Deserialize)]
struct Dialog {
    confirmed: bool,
    caller: bool,
    call_id: String,
    local: String,
    remote: String,
    local_cseq: Option<u32>,
    remote_cseq: Option<u32>,
    remote_target: String,
    route_set: Vec<String>,
    secure: bool,
}

/// A leg that could cost money. Times in microseconds, amounts in millionths.
#[derive(Serialize, Deserialize)]
struct TollBody {
    leg: String,
    trunk: u32,
    number: String,
    class: String,
    country: Option<String>,
    rule: String,
    policy: u64,
    currency: String,
    rate: Rate,
    answered: Option<i64>,
    seconds: u64,
    cost: i64,
    held: i64,
}

#[derive(Serialize, Deserialize)]
struct CdrBody {
    rule: Option<String>,
    policy: Option<u64>,
    /// Absent in what was written before it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
    #[serde(default)]
    tolls: Vec<TollBody>,
    legs: Vec<CdrLegBody>,
}

#[derive(Serialize, Deserialize)]
struct CdrLegBody {
    leg: String,
    extension: Option<String>,
    device: Option<String>,
    #[serde(default)]
    trunk: Option<u32>,
    caller: bool,
    transport: String,
    signalling: String,
    proof: Option<String>,
    suite: Option<String>,
    agent: String,
    status: u16,
    quality: Option<QualityBody>,
    weaknesses: Vec<String>,
}

/// Times in microseconds. When the first and the last packet came is left out: instants of a process
/// mean nothing after it.
#[derive(Serialize, Deserialize)]
struct QualityBody {
    packets: u64,
    bytes: u64,
    lost: u64,
    duplicates: u64,
    reordered: u64,
    jitter: u64,
    jitter_max: u64,
    longest_gap: u64,
    mos: Option<f32>,
}

/// What of a trunk has no column of its own. Intervals in milliseconds.
#[derive(Serialize, Deserialize)]
struct TrunkBody {
    realm: u16,
    host: String,
    port: Option<u16>,
    transport: Option<String>,
    registers: bool,
    account: Option<AccountBody>,
    sources: Vec<IpAddr>,
    media: String,
    asserted: bool,
    from_account: bool,
    private: bool,
    default_caller_id: Option<String>,
    codecs: Vec<String>,
    channels: u16,
    priority: u16,
    silence_limit: u64,
    call_max: u64,
    authority: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct AccountBody {
    user: String,
    auth_user: Option<String>,
    weakest: String,
}

/// The columns of a trunk that its body leaves out.
pub(crate) struct TrunkHead {
    pub(crate) id: TrunkId,
    pub(crate) tenant: Option<guard::id::TenantId>,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) secret: Option<(Sealed, Utc)>,
    pub(crate) created: Utc,
}

/// The columns of a snapshot that its body leaves out.
pub(crate) struct SnapshotHead {
    pub(crate) call: guard::id::CallId,
    pub(crate) tenant: guard::id::TenantId,
    pub(crate) node: guard::id::NodeId,
    pub(crate) started: Utc,
}

pub(crate) fn snapshot(snapshot: &CallSnapshot) -> String {
    text(&SnapshotBody {
        from: snapshot.from.clone(),
        to: snapshot.to.clone(),
        responsible: snapshot.responsible.map(word::responsible),
        rule: snapshot.decision.rule.name().to_owned(),
        policy: snapshot.decision.policy.0,
        origin: Some(word::origin(snapshot.origin).to_owned()),
        tolls: snapshot.tolls.iter().map(toll).collect(),
        emergency: snapshot.emergency,
        answered: snapshot.answered.map(|at| at.0),
        legs: snapshot.legs.iter().map(snapshot_leg).collect(),
    })
}

pub(crate) fn to_snapshot(head: SnapshotHead, body: &str) -> Option<CallSnapshot> {
    let body: SnapshotBody = serde_json::from_str(body).ok()?;
    Some(CallSnapshot {
        // What an older version lacks has its default: it is read as one of ours.
        version: pbx::snapshot::VERSION,
        call: head.call,
        tenant: head.tenant,
        node: head.node,
        from: body.from,
        to: body.to,
        responsible: optional(body.responsible, |word| word::to_responsible(&word))?,
        decision: Decision {
            rule: Rule::from_name(&body.rule)?,
            policy: PolicyVersion(body.policy),
        },
        origin: match body.origin {
            None => guard::gate::Origin::Phone,
            Some(word) => word::to_origin(&word)?,
        },
        tolls: to_tolls(body.tolls)?,
        emergency: body.emergency,
        started: head.started,
        answered: body.answered.map(Utc),
        legs: body.legs.into_iter().map(to_snapshot_leg).collect::<Option<_>>()?,
    })
}

fn snapshot_leg(leg: &LegSnapshot) -> SnapshotLeg {
    SnapshotLeg {
        leg: leg.leg.to_string(),
        extension: leg.extension.map(|id| id.to_string()),
        device: leg.device.map(|id| id.to_string()),
        trunk: leg.trunk.map(|trunk| trunk.0),
        toll: leg.toll.as_ref().map(|(of, _)| toll(of)),
        hold: leg.toll.as_ref().map(|(_, hold)| hold.clone()),
        proof: leg.proof.map(|proof| word::proof(proof).to_owned()),
        node: leg.path.flow.node.0,
        flow_transport: word::transport(leg.path.flow.transport).to_owned(),
        generation: leg.path.flow.generation,
        remote: leg.path.remote.to_string(),
        transport: word::transport(leg.transport).to_owned(),
        stage: match &leg.stage {
            LegStage::Incoming { refusal } => StageBody::Incoming { refusal: latin(refusal) },
            LegStage::Outgoing { cancel, invite } => {
                StageBody::Outgoing { cancel: latin(cancel), invite: latin(invite) }
            }
            LegStage::Up { dialog } => StageBody::Up { dialog: dialog_body(dialog) },
        },
        suite: leg.suite.clone(),
        rollover_sending: leg.rollover.0,
        rollover_receiving: leg.rollover.1,
    }
}

fn to_snapshot_leg(leg: SnapshotLeg) -> Option<LegSnapshot> {
    Some(LegSnapshot {
        leg: leg.leg.parse().ok()?,
        extension: optional(leg.extension, |id| id.parse().ok())?,
        device: optional(leg.device, |id| id.parse().ok())?,
        trunk: leg.trunk.map(TrunkId),
        toll: match (leg.toll, leg.hold) {
            (None, None) => None,
            // Money without its reason, or a reason without its money: neither was written by us.
            (None, Some(_)) | (Some(_), None) => return None,
            (Some(toll), Some(hold)) => Some((to_toll(toll)?, hold)),
        },
        proof: optional(leg.proof, |proof| word::to_proof(&proof))?,
        path: Path {
            flow: FlowId {
                node: guard::id::NodeId(leg.node),
                transport: word::to_transport(&leg.flow_transport)?,
                generation: leg.generation,
            },
            remote: leg.remote.parse().ok()?,
        },
        transport: word::to_transport(&leg.transport)?,
        stage: match leg.stage {
            StageBody::Incoming { refusal } => LegStage::Incoming { refusal: to_bytes(&refusal)? },
            StageBody::Outgoing { cancel, invite } => {
                LegStage::Outgoing { cancel: to_bytes(&cancel)?, invite: to_bytes(&invite)? }
            }
            StageBody::Up { dialog } => LegStage::Up { dialog: to_dialog(dialog) },
        },
        suite: leg.suite,
        rollover: (leg.rollover_sending, leg.rollover_receiving),
    })
}

fn dialog_body(dialog: &DialogState) -> Dialog {
    Dialog {
        confirmed: match dialog.stage {
            Stage::Early => false,
            Stage::Confirmed => true,
        },
        caller: match dialog.role {
            Role::Uac => true,
            Role::Uas => false,
        },
        call_id: dialog.call_id.clone(),
        local: dialog.local.clone(),
        remote: dialog.remote.clone(),
        local_cseq: dialog.local_cseq,
        remote_cseq: dialog.remote_cseq,
        remote_target: dialog.remote_target.clone(),
        route_set: dialog.route_set.clone(),
        secure: dialog.secure,
    }
}

fn to_dialog(dialog: Dialog) -> DialogState {
    DialogState {
        stage: if dialog.confirmed { Stage::Confirmed } else { Stage::Early },
        call_id: dialog.call_id,
        local: dialog.local,
        remote: dialog.remote,
        local_cseq: dialog.local_cseq,
        remote_cseq: dialog.remote_cseq,
        remote_target: dialog.remote_target,
        route_set: dialog.route_set,
        secure: dialog.secure,
        role: if dialog.caller { Role::Uac } else { Role::Uas },
    }
}

fn quality(quality: &Quality) -> QualityBody {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    QualityBody {
        packets: quality.packets,
        bytes: quality.bytes,
        lost: quality.lost,
        duplicates: quality.duplicates,
        reordered: quality.reordered,
        jitter: micros(quality.jitter),
        jitter_max: micros(quality.jitter_max),
        longest_gap: micros(quality.longest_gap),
        mos: quality.mos,
    }
}

fn to_quality(quality: QualityBody) -> Quality {
    Quality {
        packets: quality.packets,
        bytes: quality.bytes,
        lost: quality.lost,
        duplicates: quality.duplicates,
        reordered: quality.reordered,
        jitter: Duration::from_micros(quality.jitter),
        jitter_max: Duration::from_micros(quality.jitter_max),
        longest_gap: Duration::from_micros(quality.longest_gap),
        first: None,
        last: None,
        mos: quality.mos,
    }
}

pub(crate) fn cdr(cdr: &Cdr) -> String {
    text(&CdrBody {
        rule: cdr.decision.map(|decision| decision.rule.name().to_owned()),
        policy: cdr.decision.map(|decision| decision.policy.0),
        ended_by: cdr.ended_by.0.clone(),
        tolls: cdr.tolls.iter().map(toll).collect(),
        legs: cdr.legs.iter().map(cdr_leg).collect(),
    })
}

/// What the columns of a record leave out.
pub(crate) struct CdrParts {
    pub(crate) decision: Option<Decision>,
    pub(crate) ended_by: EndedBy,
    pub(crate) tolls: Vec<Toll>,
    pub(crate) legs: Vec<CdrLeg>,
}

pub(crate) fn to_cdr_parts(body: &str) -> Option<CdrParts> {
    let body: CdrBody = serde_json::from_str(body).ok()?;
    let decision = match (body.rule, body.policy) {
        (Some(rule), Some(policy)) => {
            Some(Decision { rule: Rule::from_name(&rule)?, policy: PolicyVersion(policy) })
        }
        _ => None,
    };
    Some(CdrParts {
        decision,
        ended_by: EndedBy(body.ended_by),
        tolls: to_tolls(body.tolls)?,
        legs: body.legs.into_iter().map(to_cdr_leg).collect::<Option<_>>()?,
    })
}

fn toll(toll: &Toll) -> TollBody {
    TollBody {
        leg: toll.leg.to_string(),
        trunk: toll.trunk.0,
        number: toll.number.clone(),
        class: toll.class.name().to_owned(),
        country: toll.country.map(|country| country.to_string()),
        rule: toll.decision.rule.name().to_owned(),
        policy: toll.decision.policy.0,
        currency: toll.currency.to_string(),
        rate: toll.rate.clone(),
        answered: toll.answered.map(|at| at.0),
        seconds: toll.seconds,
        cost: toll.cost.0,
        held: toll.held.0,
    }
}

fn to_tolls(tolls: Vec<TollBody>) -> Option<Vec<Toll>> {
    tolls.into_iter().map(to_toll).collect()
}

fn to_toll(toll: TollBody) -> Option<Toll> {
    Some(Toll {
        leg: toll.leg.parse().ok()?,
        trunk: TrunkId(toll.trunk),
        number: toll.number,
        class: Class::from_name(&toll.class)?,
        country: optional(toll.country, |code| code.parse().ok())?,
        decision: Decision {
            rule: Rule::from_name(&toll.rule)?,
            policy: PolicyVersion(toll.policy),
        },
        currency: toll.currency.parse().ok()?,
        rate: toll.rate,
        answered: toll.answered.map(Utc),
        seconds: toll.seconds,
        cost: Money(toll.cost),
        held: Money(toll.held),
    })
}

fn cdr_leg(leg: &CdrLeg) -> CdrLegBody {
    CdrLegBody {
        leg: leg.leg.to_string(),
        extension: leg.extension.map(|id| id.to_string()),
        device: leg.device.map(|id| id.to_string()),
        trunk: leg.trunk.map(|trunk| trunk.0),
        caller: leg.caller,
        transport: word::transport(leg.transport).to_owned(),
        signalling: leg.signalling.clone(),
        proof: leg.proof.map(|proof: Proof| word::proof(proof).to_owned()),
        suite: leg.suite.map(str::to_owned),
        agent: leg.agent.clone(),
        status: leg.status,
        quality: leg.quality.as_ref().map(quality),
        weaknesses: leg.weaknesses.clone(),
    }
}

fn to_cdr_leg(leg: CdrLegBody) -> Option<CdrLeg> {
    Some(CdrLeg {
        leg: leg.leg.parse().ok()?,
        extension: optional(leg.extension, |id| id.parse().ok())?,
        device: optional(leg.device, |id| id.parse().ok())?,
        trunk: leg.trunk.map(TrunkId),
        caller: leg.caller,
        transport: word::to_transport(&leg.transport)?,
        signalling: leg.signalling,
        proof: optional(leg.proof, |proof| word::to_proof(&proof))?,
        suite: leg.suite.map(|suite| word::to_suite(&suite)),
        agent: leg.agent,
        status: leg.status,
        quality: leg.quality.map(to_quality),
        weaknesses: leg.weaknesses,
    })
}

pub(crate) fn trunk(trunk: &Trunk) -> String {
    let account = trunk.account();
    text(&TrunkBody {
        realm: trunk.realm.0,
        host: trunk.host.clone(),
        port: trunk.port,
        transport: trunk.transport.map(|transport| word::transport(transport).to_owned()),
        registers: match &trunk.access {
            TrunkAccess::Registration(_) => true,
            TrunkAccess::Address(_) => false,
        },
        account: account.map(|account| AccountBody {
            user: account.user.clone(),
            auth_user: account.auth_user.clone(),
            weakest: word::algorithm(account.weakest).to_owned(),
        }),
        sources: trunk.sources.clone(),
        media: word::trunk_media(trunk.media).to_owned(),
        asserted: trunk.identity.asserted,
        from_account: trunk.identity.from_account,
        private: trunk.identity.private,
        default_caller_id: trunk.default_caller_id.clone(),
        codecs: trunk.codecs.clone(),
        channels: trunk.channels,
        priority: trunk.priority,
        silence_limit: millis(trunk.silence_limit),
        call_max: millis(trunk.call_max),
        authority: trunk.authority.clone(),
    })
}

pub(crate) fn to_trunk(head: TrunkHead, body: &str) -> Option<Trunk> {
    let body: TrunkBody = serde_json::from_str(body).ok()?;
    let account = match (body.account, head.secret) {
        (Some(account), Some((sealed, since))) => Some(TrunkAccount {
            user: account.user,
            auth_user: account.auth_user,
            secret: Secret { sealed, since },
            weakest: word::to_algorithm(&account.weakest)?,
        }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return None,
    };
    Some(Trunk {
        id: head.id,
        tenant: head.tenant,
        name: head.name,
        enabled: head.enabled,
        realm: RealmId(body.realm),
        host: body.host,
        port: body.port,
        transport: optional(body.transport, |word| word::to_transport(&word))?,
        access: match (body.registers, account) {
            (true, account) => TrunkAccess::Registration(account?),
            (false, account) => TrunkAccess::Address(account),
        },
        sources: body.sources,
        media: word::to_trunk_media(&body.media)?,
        identity: TrunkIdentity {
            asserted: body.asserted,
            from_account: body.from_account,
            private: body.private,
        },
        default_caller_id: body.default_caller_id,
        codecs: body.codecs,
        channels: body.channels,
        priority: body.priority,
        silence_limit: Duration::from_millis(body.silence_limit),
        call_max: Duration::from_millis(body.call_max),
        authority: body.authority,
        created: head.created,
    })
}

/// A policy has a stored shape of its own (`guard`), since every version is kept for ever.
pub(crate) fn policy(policy: &Policy) -> String {
    text(policy)
}

pub(crate) fn to_policy(body: &str) -> Option<Policy> {
    serde_json::from_str(body).ok()
}

pub(crate) fn ban_cause(cause: &BanCause) -> String {
    text(cause)
}

pub(crate) fn to_ban_cause(body: &str) -> Option<BanCause> {
    serde_json::from_str(body).ok()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The sealed parts of a journal entry.
pub(crate) fn parts(parts: &[Part]) -> String {
    text(&parts)
}

pub(crate) fn to_parts(body: &str) -> Option<Vec<Part>> {
    serde_json::from_str(body).ok()
}

/// Absent stays absent; present must read.
fn optional<T, R>(value: Option<T>, read: impl FnOnce(T) -> Option<R>) -> Option<Option<R>> {
    match value {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

/// Bytes as text, one character each: SIP stays readable, and any other byte survives.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn to_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|char| u8::try_from(char).ok()).collect()
}

fn text(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("structs of texts and numbers always print")
}

/// What of a sink has no column of its own.
#[derive(Serialize, Deserialize)]
struct SinkBody {
    channel: Channel,
    authority: Option<String>,
    private: bool,
}

pub(crate) fn sink(row: &Sink) -> String {
    let Sink { channel, authority, private, .. } = row.clone();
    text(&SinkBody { channel, authority, private })
}

pub(crate) fn to_sink(id: SinkId, created: Utc, sealed: Sealed, body: &str) -> Option<Sink> {
    let SinkBody { channel, authority, private } = serde_json::from_str(body).ok()?;
    Some(Sink { id, created, channel, sealed, authority, private })
}
