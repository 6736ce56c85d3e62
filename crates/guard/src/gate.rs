//! The gate: the one place that may allow a leg.
//!
//! Whoever starts a leg (a phone, a forward, a ring group, a transfer, a REFER, a 302, a trunk,
//! voicemail) describes it as an [`Attempt`] and gets a [`Verdict`]. Only [`Verdict::Permit`] holds a
//! [`Permit`], a value made here alone, which whatever opens a leg consumes: one permit, one leg
//! attempt; each fork, failover and redirection needs its own.
//!
//! The order of judgement is fixed: emergency first, then lockdown, who is responsible, what is
//! called, permissions and hours, concurrency, findings, PIN, and money last.

use crate::id::{CallId, ExtensionId, LegId, TenantId, TrunkId};

/// A leg that somebody wants to open, with all that the judgement may look at.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub tenant: TenantId,
    pub call: CallId,
    pub leg: LegId,
    pub origin: Origin,
    /// Who pays and answers for the leg. `None`: a stranger.
    pub responsible: Option<Responsible>,
    pub destination: Destination,
    /// How the request that asks for the leg was proved to come from whom it names.
    pub proof: Option<Proof>,
}

/// What made the leg necessary. Every way a call can cost money is listed: a new one makes the
/// compiler question the gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Phone,
    Forward,
    RingGroup,
    Transfer,
    Refer,
    Redirect,
    TrunkToTrunk,
    Voicemail,
    /// Our own call to the owner (an alert, a drill).
    Alert,
}

/// Who pays and answers for a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Responsible {
    Extension(ExtensionId),
    Trunk(TrunkId),
    System,
}

/// What is being called, after resolution. Emergency is recognised before the dial plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    Emergency(crate::number::Emergency),
    Extension(ExtensionId),
    /// The attendant, voicemail, a short code: media that ends here and can't cost money.
    Service,
    /// A number outside, normalised and classified.
    Outside(crate::number::Outside),
    /// Nothing we know how to call. Denied: unknown is never the cheap case.
    Unknown,
}

/// How a request was proved: the verdict of authentication, carried to the gate and into the CDR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    Digest(Algorithm),
    /// Mutual TLS: the certificate names the device.
    ClientCertificate,
    /// The trunk's fixed address.
    TrunkAddress,
    /// The random Contact we registered at the trunk.
    TrunkContact,
    /// The phone system behind us answered 200 to the phone's own credentials (edge form).
    UpstreamAccepted,
    /// A short-lived token of the console (browser phone).
    Token,
}

/// Digest algorithms (RFC 7616, RFC 8760). MD5 shows everywhere as a weakness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    Md5,
    Sha256,
}

/// What the gate says of an [`Attempt`]. It is resumable: `NeedPin` and `NeedReserve` come back as a
/// further attempt with what was asked for, and each extension of a call is judged anew.
#[derive(Debug)]
pub enum Verdict {
    Permit(Permit),
    Denial(Denial),
    /// A local media endpoint must collect the caller's PIN first.
    NeedPin(PinRequest),
    /// Money must be set aside, durably, before the leg may ring.
    NeedReserve(ReserveRequest),
}

/// The right to open one leg, once. Made by [`Gate::judge`] and [`Permit::restore`] alone, not
/// `Clone`, and remembers the rule and the version of the policy that granted it.
#[derive(PartialEq, Eq, Debug)]
pub struct Permit {
    call: CallId,
    leg: LegId,
    decision: Decision,
}

/// Which rule decided, under which version of the policy: what CDR, journal and `explain` show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    pub rule: Rule,
    pub policy: PolicyVersion,
}

/// Counts the changes of a tenant's policy. A policy is immutable; a change is a new version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PolicyVersion(pub u64);

/// The rules of the gate, in the order they are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Emergency,
    Lockdown,
    NobodyResponsible,
    UnknownDestination,
    VoicemailOutward,
    NotAllowedClass,
    Internal,
    Service,
}

/// A refused leg: the rule, and what the caller may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Denial {
    pub decision: Decision,
}

/// Ask the caller for a PIN; bounded tries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinRequest {
    pub leg: LegId,
    pub tries_max: u8,
}

/// Set money aside before the leg rings. Amount in millionths of the tenant's currency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReserveRequest {
    pub leg: LegId,
    pub amount: crate::money::Money,
}

impl Permit {
    pub fn leg(&self) -> LegId {
        self.leg
    }

    pub fn call(&self) -> CallId {
        self.call
    }

    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// The only other door: a leg that was permitted before a crash, read back from its snapshot to
    /// be ended or taken over.
    pub fn restore(call: CallId, leg: LegId, decision: Decision) -> Self {
        Self { call, leg, decision }
    }
}
