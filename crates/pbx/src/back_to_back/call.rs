//! One call: the caller's leg, the legs that ring for it, and what happens between them.
//!
//! The stages follow each other once: [`Preparing`] (ports, then the durable snapshot), [`Ringing`],
//! [`Answering`] (media armed and the answer durable before the caller hears of it), [`Up`],
//! [`Ending`]. Any of them may go to `Ending`, where each leg is brought to its end in the way its
//! own state asks for (refusal, CANCEL, BYE, ACK and BYE on a late 2xx), the media is closed and
//! counted, and the record is written.

mod lost;
mod modify;
mod outside;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guard::cause::{Cause, EndedBy};
use guard::fact::{Exception, Fact, Used};
use guard::gate::{Attempt, Decision, Destination, Origin, Responsible};
use guard::id::{CallId, ExtensionId, LegId, TenantId};
use pure::{Instant, TimerId, Utc};
use rtp::relay::{Event as MediaEvent, Stats, Violation as MediaViolation};
use sip::sdp::Direction;
use sip::{Method, Request, Response, Status};

pub(crate) use self::outside::{Outside, Way};
use super::carry::Carry;
use super::desk::{Desk, Purpose, ServerTx, Why};
use super::leg::{Leg, State, abilities};
use super::media::{Coded, Heard, Ports, Unacceptable};
use super::{Event, Owner};
use crate::command::{CallState, CallView};
use crate::flow::{FlowId, Path};
use crate::io::{PersistError, Ticket};
use crate::record::{Row, Toll};
use crate::recovery;
use crate::snapshot::{self, CallSnapshot, LegSnapshot, LegStage};

/// See the module.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) tenant: TenantId,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) caller_extension: Option<ExtensionId>,
    pub(crate) callee_extension: Option<ExtensionId>,
    pub(crate) responsible: Option<Responsible>,
    pub(crate) decision: Decision,
    pub(crate) origin: Origin,
    pub(crate) emergency: bool,
    /// It goes outside: a carrier's failure is followed by the next way.
    pub(crate) outside: Option<Box<Outside>>,
    /// Ways that were asked for after the first.
    ways: usize,
    /// Legs outside that are settled.
    pub(crate) tolls: Vec<Toll>,
    pub(crate) started: Utc,
    since: Instant,
    pub(crate) answered: Option<(Utc, Instant)>,
    /// When it ended for those who spoke. Its record may wait for a BYE's answer.
    pub(crate) ended: Option<(Utc, Instant)>,
    carry: Carry,
    hops: u8,
    pub(crate) caller: Leg,
    pub(crate) forks: Vec<Leg>,
    /// The caller's offer; `None` where the caller left it to us.
    heard: Option<Heard>,
    stage: Stage,
    /// Why it ends or ended. Set once: the first reason counts.
    pub(crate) cause: Option<Cause>,
    /// Which budget, where one ended it.
    cut: Option<String>,
    alarms: BTreeMap<Why, TimerId>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a call, in a call that is larger still")]
enum Stage {
    Preparing(Preparing),
    Ringing(Ringing),
    Answering(Answering),
    Up(Up),
    Ending(Ending),
}

/// Ports are opened, the INVITEs are written, the snapshot is made durable. Nothing rings yet.
#[derive(Debug)]
struct Preparing {
    ports: BTreeSet<LegId>,
    snapshot: Option<Ticket>,
}

/// INVITEs are out.
#[derive(Debug)]
struct Ringing {
    early: Early,
    /// The most telling failure among the forks that have ended.
    worst: Option<Cause>,
    /// The application looks for another way.
    awaits_way: bool,
    /// Legs whose INVITE waits to be durable.
    dialling: BTreeMap<Ticket, LegId>,
}

/// Whose early media the caller hears. The first fork that sends a description keeps the ear of the
/// caller until somebody answers.
#[derive(Debug)]
enum Early {
    Silent,
    Arming { fork: LegId, awaited: Awaited, sdp: String },
    Heard { fork: LegId },
}

/// A fork has answered; the caller doesn't know yet.
#[derive(Debug)]
struct Answering {
    winner: LegId,
    awaited: Awaited,
    snapshot: Option<Ticket>,
    sdp: String,
}

/// Two legs talk.
#[derive(Debug)]
struct Up {
    other: LegId,
    change: Option<Change>,
    silent: BTreeSet<LegId>,
}

/// One leg asked for another description; the other leg is asked in turn where it must change too.
#[derive(Debug)]
struct Change {
    asker: LegId,
    server: ServerTx,
    request: Request,
    heard: Heard,
    step: Step,
    /// How often the other leg was asked in vain.
    tries: u8,
}

#[derive(Debug)]
enum Step {
    /// The other leg has our re-INVITE.
    Asking,
    /// The other leg had one of its own under way (491); we try again (RFC 3261 §14.1).
    BackingOff,
    /// Both agree; the relay is told before the asker hears it.
    Arming { awaited: Awaited, sdp: String },
}

/// Legs are on their way out; the record waits for them and for the statistics.
#[derive(Debug)]
struct Ending {
    record: Record,
    /// [`LINGER_AFTER`] has passed.
    lingering: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    /// Statistics are still awaited.
    Waiting,
    /// The deadline has passed: what came by then must do.
    Due,
}

/// Arming under way: endpoints and the epochs that must be confirmed.
#[derive(Debug, Default)]
struct Awaited(BTreeMap<LegId, u32>);

/// What the application says about a new call.
#[derive(Debug)]
pub(crate) struct NewCall {
    pub(crate) id: CallId,
    pub(crate) tenant: TenantId,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) caller_extension: Option<ExtensionId>,
    pub(crate) callee_extension: Option<ExtensionId>,
    pub(crate) responsible: Option<Responsible>,
    pub(crate) decision: Decision,
    pub(crate) origin: Origin,
    pub(crate) emergency: bool,
    /// To a carrier: where one way fails, another is asked for.
    pub(crate) outside: Option<Outside>,
    pub(crate) carry: Carry,
    /// Max-Forwards for the next leg.
    pub(crate) hops: u8,
    pub(crate) caller: Leg,
    pub(crate) forks: Vec<Leg>,
    /// The longest it may last, where that is less than for any call.
    pub(crate) longest: Option<Duration>,
}

impl Call {
    /// Begins: ports are opened for every leg. The caller's offer has been
    /// judged already.
    pub(crate) fn begin(desk: &mut Desk<'_>, new: NewCall, heard: Option<Heard>) -> Self {
        let NewCall { id, tenant, from, to, .. } = new;
        let mut call = Self {
            id,
            tenant,
            from,
            to,
            caller_extension: new.caller_extension,
            callee_extension: new.callee_extension,
            responsible: new.responsible,
            decision: new.decision,
            origin: new.origin,
            emergency: new.emergency,
            outside: new.outside.map(Box::new),
            ways: 0,
            tolls: Vec::new(),
            started: desk.now.utc,
            since: desk.now.instant,
            answered: None,
            ended: None,
            carry: new.carry,
            hops: new.hops,
            caller: new.caller,
            forks: new.forks,
            heard,
            stage: Stage::Preparing(Preparing { ports: BTreeSet::new(), snapshot: None }),
            cause: None,
            cut: None,
            alarms: BTreeMap::new(),
        };
        desk.fact(Fact::CallStarted {
            call: call.id,
            caller: call.caller_extension,
            callee: call.callee_extension,
            from: call.from.as_str().into(),
            to: call.to.as_str().into(),
        });
        // It came before the call had a name: shown now, as the ladder's first line.
        if let Some(invite) = call.caller.asked() {
            let (path, bytes) = (call.caller.party.path, invite.as_bytes());
            desk.lines.trace(desk.now, path, false, bytes, desk.out);
        }
        let mut ports = BTreeSet::new();
        let emergency = call.emergency;
        for leg in call.legs_mut() {
            ports.insert(leg.id);
            leg.allocate(desk, emergency);
        }
        call.stage = Stage::Preparing(Preparing { ports, snapshot: None });
        call.alarm(desk, Why::Prepare, desk.settings.prepare_timeout);
        let longest =
            new.longest.map_or(desk.settings.call_max, |own| own.min(desk.settings.call_max));
        call.alarm(desk, Why::Longest, longest);
        call
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub(crate) fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs().find(|leg| leg.id == id)
    }

    pub(crate) fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.legs_mut().find(|leg| leg.id == id)
    }

    pub(crate) fn legs(&self) -> impl Iterator<Item = &Leg> {
        std::iter::once(&self.caller).chain(&self.forks)
    }

    fn legs_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        std::iter::once(&mut self.caller).chain(&mut self.forks)
    }

    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending(_))
    }

    /// It ended a while ago, its ports are closed, and only a phone that doesn't answer our CANCEL or
    /// BYE keeps it from its record.
    pub(crate) fn is_lingering(&self) -> bool {
        matches!(self.stage, Stage::Ending(Ending { lingering: true, .. }))
    }

    pub(crate) fn all_gone(&self) -> bool {
        self.legs().all(|leg| matches!(leg.state, State::Gone))
    }

    // Media.

    pub(crate) fn media(&mut self, desk: &mut Desk<'_>, leg: LegId, event: MediaEvent) {
        match event {
            MediaEvent::Allocated { rtp, rtcp, .. } => {
                let Some(found) = self.leg_mut(leg) else { return };
                if found.media.ports == Ports::Asked {
                    found.media.ports = Ports::Open { rtp, rtcp };
                    self.ports_open(desk, leg);
                }
            }
            MediaEvent::Failed { epoch, .. } => self.media_failed(desk, leg, epoch),
            MediaEvent::Armed { epoch, .. } => self.armed(desk, leg, epoch),
            MediaEvent::Silence { since, .. } => {
                let silent_ms = millis(desk.now.instant.since(since));
                desk.fact(Fact::MediaSilent { call: self.id, leg, silent_ms });
                let Stage::Up(up) = &mut self.stage else { return };
                up.silent.insert(leg);
                // One side silent is somebody listening; both are a lost BYE. A carrier never listens: it
                // sends the other side's silence, so without packets it is gone.
                let both = up.silent.len() == 2;
                if both || self.leg(leg).is_some_and(|leg| leg.party.trunk.is_some()) {
                    return self.end(desk, Cause::Silence);
                }
                self.probe(desk, leg);
            }
            MediaEvent::Resumed { .. } => {
                let Stage::Up(up) = &mut self.stage else { return };
                if up.silent.remove(&leg) {
                    desk.fact(Fact::MediaResumed { call: self.id, leg, silent_ms: 0 });
                }
            }
            MediaEvent::Violated { violation, count, .. } => {
                if let MediaViolation::NotAuthentic | MediaViolation::Stranger = violation {
                    desk.fact(Fact::MediaForged { call: self.id, leg, packets: count });
                }
            }
            MediaEvent::Stats { stats, .. } => self.stats(desk, leg, &stats),
            // The digits pass inside the stream; here they would only be a secret to keep.
            MediaEvent::Dtmf { .. } => {}
        }
    }

    fn ports_open(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        match &mut self.stage {
            Stage::Preparing(preparing) => {
                preparing.ports.remove(&leg);
                self.prepared(desk);
            }
            // A second attempt in clear, or another way, added while others ring.
            Stage::Ringing(_) => {
                self.compose(desk, leg);
                self.dial_durably(desk, leg);
            }
            Stage::Answering(_) | Stage::Up(_) | Stage::Ending(_) => {
                self.close_media(desk, leg);
            }
        }
    }

    fn media_failed(&mut self, desk: &mut Desk<'_>, leg: LegId, epoch: u32) {
        let Some(found) = self.leg_mut(leg) else { return };
        match found.media.ports {
            Ports::Asked => {
                found.media.ports = Ports::Closed;
                if leg == self.caller.id {
                    return self.end(desk, Cause::Congestion);
                }
                self.fork_failed(desk, leg, Cause::Congestion);
                if let Stage::Preparing(preparing) = &mut self.stage {
                    preparing.ports.remove(&leg);
                    self.prepared(desk);
                }
            }
            Ports::Open { .. } if found.media.epoch() == epoch => match &self.stage {
                Stage::Ringing(_) => self.fork_failed(desk, leg, Cause::Internal),
                Stage::Up(Up { change: Some(_), .. }) => {
                    self.change_refused(desk, Status::NOT_ACCEPTABLE_HERE);
                }
                Stage::Preparing(_) | Stage::Answering(_) | Stage::Up(_) => {
                    self.end(desk, Cause::IncompatibleMedia);
                }
                Stage::Ending(_) => {}
            },
            // The relay has forgotten it: nothing more will be counted.
            Ports::Closing => {
                found.media.ports = Ports::Closed;
                self.maybe_record(desk);
            }
            Ports::Open { .. } | Ports::Closed => {}
        }
    }

    fn armed(&mut self, desk: &mut Desk<'_>, leg: LegId, epoch: u32) {
        match &mut self.stage {
            Stage::Ringing(ringing) => {
                if let Early::Arming { fork, awaited, sdp } = &mut ringing.early
                    && awaited.confirm(leg, epoch)
                {
                    let (fork, sdp) = (*fork, std::mem::take(sdp));
                    ringing.early = Early::Heard { fork };
                    self.caller.ring_back(desk, Status::SESSION_PROGRESS, Some(&sdp));
                }
            }
            Stage::Answering(answering) => {
                answering.awaited.confirm(leg, epoch);
                self.answer(desk);
            }
            Stage::Up(up) => {
                if let Some(Change { step: Step::Arming { awaited, .. }, .. }) = &mut up.change
                    && awaited.confirm(leg, epoch)
                {
                    self.change_agreed(desk);
                }
            }
            Stage::Preparing(_) | Stage::Ending(_) => {}
        }
    }

    fn stats(&mut self, desk: &mut Desk<'_>, leg: LegId, stats: &Stats) {
        let Some(found) = self.leg_mut(leg) else { return };
        let lost = found.media.ports != Ports::Closing;
        found.media.ports = Ports::Closed;
        found.quality = Some(Box::new(stats.received));
        // The relay gave up on us (its lease ran out): the call has no audio any more.
        if lost && !self.is_ending() {
            return self.end(desk, Cause::MediaLost);
        }
        self.maybe_record(desk);
    }

    fn close_media(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        if let Some(command) = self.leg_mut(leg).and_then(|leg| leg.media.close()) {
            desk.media(command);
        }
    }

    // Preparing.

    /// Goes on when every port is open: the INVITEs are written, then made durable.
    fn prepared(&mut self, desk: &mut Desk<'_>) {
        let Stage::Preparing(preparing) = &self.stage else { return };
        if !preparing.ports.is_empty() || preparing.snapshot.is_some() {
            return;
        }
        let planned: Vec<LegId> = self.planned().collect();
        if planned.is_empty() {
            return self.end(desk, Cause::Congestion);
        }
        for fork in planned {
            self.compose(desk, fork);
        }
        let row = Row::Snapshot(Box::new(self.snapshot(desk)));
        if self.emergency {
            desk.persist_quietly(vec![row]);
            return self.ring(desk);
        }
        let ticket = desk.persist(self.id, vec![row]);
        if let Stage::Preparing(preparing) = &mut self.stage {
            preparing.snapshot = Some(ticket);
        }
    }

    pub(crate) fn persisted(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        result: Result<(), PersistError>,
    ) {
        if self.stepped(desk, ticket, result) || self.dialling(desk, ticket, result) {
            return;
        }
        match &mut self.stage {
            Stage::Preparing(Preparing { snapshot, .. }) if *snapshot == Some(ticket) => {
                if let Err(error) = result {
                    desk.fact(Fact::PersistFailed {
                        what: "a call's snapshot".to_owned(),
                        error: format!("{error:?}"),
                    });
                    return self.end(desk, Cause::Internal);
                }
                self.ring(desk);
            }
            Stage::Answering(answering) if answering.snapshot == Some(ticket) => {
                if let Err(error) = result {
                    // The legs are in the first snapshot as well, so a restart finds them; nothing
                    // here costs money. The answer goes through.
                    desk.fact(Fact::PersistFailed {
                        what: "the answer of a call".to_owned(),
                        error: format!("{error:?}"),
                    });
                }
                answering.snapshot = None;
                self.answer(desk);
            }
            Stage::Preparing(_)
            | Stage::Ringing(_)
            | Stage::Answering(_)
            | Stage::Up(_)
            | Stage::Ending(_) => {}
        }
    }

    /// The INVITEs go out.
    fn ring(&mut self, desk: &mut Desk<'_>) {
        self.cancel_alarm(desk, Why::Prepare);
        self.stage = Stage::Ringing(Ringing {
            early: Early::Silent,
            worst: None,
            awaits_way: false,
            dialling: BTreeMap::new(),
        });
        self.alarm(desk, Why::Ring, desk.settings.ring_timeout);
        let composed = |leg: &&Leg| matches!(leg.state, State::Composed(_));
        let ready: Vec<LegId> = self.forks.iter().filter(composed).map(|leg| leg.id).collect();
        for fork in ready {
            self.dial(desk, fork);
        }
    }

    fn planned(&self) -> impl Iterator<Item = LegId> {
        self.forks.iter().filter(|leg| matches!(leg.state, State::Planned(_))).map(|leg| leg.id)
    }

    /// Writes a fork's INVITE, with an offer of its own.
    fn compose(&mut self, desk: &mut Desk<'_>, fork: LegId) {
        let (codecs, direction, ptime) = match &self.heard {
            Some(heard) => (heard.codecs.clone(), heard.direction, heard.ptime),
            None => (Coded::usual(), Direction::SendRecv, None),
        };
        let (carry, hops) = (self.carry.clone(), self.hops);
        let Some(leg) = self.leg_mut(fork) else { return };
        let codecs = leg.party.allowed(codecs);
        leg.compose(desk, &carry, hops, &codecs, direction, ptime);
    }

    fn dial(&mut self, desk: &mut Desk<'_>, fork: LegId) {
        let Some(leg) = self.leg_mut(fork) else { return };
        let carrier = leg.party.trunk.is_some();
        if !leg.dial(desk) {
            self.fork_failed(desk, fork, Cause::Internal);
        } else if carrier {
            self.alarm(desk, Why::Mute(fork), desk.settings.trunk_mute_timeout);
            if self.emergency {
                self.alarm(desk, Why::Slow(fork), desk.settings.help_ring_timeout);
            }
        }
    }

    // Ringing.

    /// An answer of a fork to its INVITE. A transport failure or a time-out is one of ours, with the
    /// status that RFC 3261 §8.1.3.1 gives it.
    fn invite_answered(&mut self, desk: &mut Desk<'_>, fork: LegId, answer: Answer<'_>) {
        let status = answer.status();
        let calling = self.leg(fork).is_some_and(|leg| matches!(leg.state, State::Calling(_)));
        if calling && self.challenged(desk, fork, Purpose::Invite, &answer) {
            return;
        }
        if status.is_success() {
            self.clock_runs(desk, fork);
        }
        let Some(leg) = self.leg_mut(fork) else { return };
        leg.status = status.code();
        match (&leg.state, answer) {
            (State::Calling(_), Answer::Response(response)) if status.is_provisional() => {
                self.progress(desk, fork, response);
            }
            (State::Calling(_), Answer::Response(response)) if status.is_success() => {
                let over = leg.is_over(response);
                self.cancel_alarm(desk, Why::Overtaken(fork));
                self.fork_answered(desk, fork, response);
                if over {
                    self.over_already(desk, fork);
                }
            }
            // It was quicker than our CANCEL (RFC 3261 §15: acknowledge, then hang up).
            (State::Cancelling(_), Answer::Response(response)) if status.is_success() => {
                leg.confirm(desk, response);
                leg.bye(desk, Cause::Cancelled);
            }
            // Repeated: our ACK was lost. Another branch of a forking proxy: acknowledged, ended.
            (State::Confirmed(_), Answer::Response(response)) if status.is_success() => {
                leg.acknowledge_again(desk, response);
            }
            (State::Calling(_) | State::Cancelling(_), answer) if status.is_final() => {
                self.fork_refused(desk, fork, &answer);
            }
            _ => {}
        }
    }

    fn progress(&mut self, desk: &mut Desk<'_>, fork: LegId, response: &Response) {
        let Stage::Ringing(ringing) = &self.stage else { return };
        let status = response.status();
        let silent = matches!(ringing.early, Early::Silent);
        if let Some(leg) = self.leg_mut(fork) {
            leg.heard_from(response);
        }
        if silent && !response.body().is_empty() && self.heard.is_some() {
            // What can't be played is no reason to stop ringing; the answer will be judged.
            if let Ok((sdp, awaited)) = self.settle_media(desk, fork, response.body()) {
                if let Stage::Ringing(ringing) = &mut self.stage {
                    ringing.early = Early::Arming { fork, awaited, sdp };
                }
                return;
            }
        }
        if status == Status::RINGING
            || status == Status::SESSION_PROGRESS
            || status == Status::QUEUED
        {
            self.caller.ring_back(desk, Status::RINGING, None);
        }
    }

    /// Takes a fork's description, writes the caller's from it and arms both. The description for the
    /// caller and what must be armed before it may be sent.
    fn settle_media(
        &mut self,
        desk: &mut Desk<'_>,
        fork: LegId,
        body: &[u8],
    ) -> Result<(String, Awaited), Unacceptable> {
        let caller = &mut self.caller;
        let Some(leg) = self.forks.iter_mut().find(|leg| leg.id == fork) else {
            return Err(Unacceptable::Malformed);
        };
        let answer = Heard::answer(body, leg.may_be_plain(), &leg.media)?;
        leg.media.agree(&answer)?;
        let answered = &leg.media.agreed.as_ref().ok_or(Unacceptable::Malformed)?.codecs;
        let mut awaited = Awaited::default();
        let sdp = match &self.heard {
            Some(offer) => {
                let codecs = Coded::pick(&offer.codecs, answered);
                let sdp = caller
                    .media
                    .answer(desk.chance, offer, &codecs, answer.direction, answer.ptime)
                    .ok_or(Unacceptable::Malformed)?;
                let silence = caller.party.silence_limit(desk.settings);
                let (epoch, command) = caller
                    .media
                    .arm(Some(leg.media.endpoint), silence)
                    .ok_or(Unacceptable::Malformed)?;
                awaited.0.insert(caller.id, epoch);
                desk.media(command);
                sdp
            }
            // The caller's answer comes with its ACK; it is armed then.
            None => caller
                .media
                .offer(
                    desk.chance,
                    &Coded::first_of(answered),
                    answer.direction,
                    answer.ptime,
                    &desk.settings.suites,
                    caller.may_be_plain() && !caller.is_secure(),
                )
                .ok_or(Unacceptable::Malformed)?,
        };
        let silence = leg.party.silence_limit(desk.settings);
        let (epoch, command) =
            leg.media.arm(Some(caller.media.endpoint), silence).ok_or(Unacceptable::Malformed)?;
        awaited.0.insert(fork, epoch);
        desk.media(command);
        Ok((sdp, awaited))
    }

    fn fork_answered(&mut self, desk: &mut Desk<'_>, fork: LegId, response: &Response) {
        let Some(leg) = self.leg_mut(fork) else { return };
        leg.confirm(desk, response);
        if !matches!(leg.state, State::Confirmed(_)) {
            // A 2xx that makes no dialog (no tag, no Contact): there is nobody to talk to.
            return self.fork_failed(desk, fork, Cause::ProtocolError);
        }
        if !matches!(self.stage, Stage::Ringing(_)) {
            // Somebody else was quicker, or the caller has gone.
            if let Some(leg) = self.leg_mut(fork) {
                leg.bye(desk, Cause::Cleared);
            }
            return self.close_media(desk, fork);
        }
        let (sdp, awaited) = match self.settle_media(desk, fork, response.body()) {
            Ok(settled) => settled,
            Err(reason) => {
                let cause = reason.cause();
                self.refuse_media(desk, fork, reason);
                if let Some(leg) = self.leg_mut(fork) {
                    leg.bye(desk, cause);
                }
                self.close_media(desk, fork);
                return self.fork_failed(desk, fork, cause);
            }
        };
        self.cancel_alarm(desk, Why::Ring);
        let others: Vec<LegId> =
            self.forks.iter().map(|leg| leg.id).filter(|id| *id != fork).collect();
        for other in others {
            if let Some(leg) = self.leg_mut(other) {
                leg.leave(desk, Cause::Cleared);
            }
            self.close_media(desk, other);
        }
        self.answered = Some((desk.now.utc, desk.now.instant));
        self.watch_money(desk, fork);
        let row = Row::Snapshot(Box::new(self.snapshot(desk)));
        // Whoever calls for help waits for nothing.
        let snapshot = if self.emergency {
            desk.persist_quietly(vec![row]);
            None
        } else {
            Some(desk.persist(self.id, vec![row]))
        };
        self.stage = Stage::Answering(Answering { winner: fork, awaited, snapshot, sdp });
        self.alarm(desk, Why::Answer, desk.settings.answer_timeout);
    }

    /// A called phone has hung up, and its BYE has overtaken its own 2xx: that is repeated until our
    /// ACK, and where it doesn't come the phone rings no more all the same.
    pub(crate) fn overtaken(&mut self, desk: &mut Desk<'_>, fork: LegId) {
        if !self.alarms.contains_key(&Why::Overtaken(fork)) {
            self.alarm(desk, Why::Overtaken(fork), OVERTAKEN_MAX);
        }
    }

    /// The 2xx of such a phone is acknowledged: the call is as one that was hung up after it.
    fn over_already(&mut self, desk: &mut Desk<'_>, fork: LegId) {
        let Some(leg) = self.leg_mut(fork) else { return };
        if matches!(leg.state, State::Confirmed(_)) {
            leg.hung_up(desk);
            self.end(desk, Cause::Cleared);
        }
    }

    /// It never came: the phone is left as one that declined. For a call for help there may be another
    /// way, which is not asked for where somebody has declined.
    fn never_answered(&mut self, desk: &mut Desk<'_>, fork: LegId) {
        let cause = if self.emergency { Cause::TimedOut } else { Cause::Declined };
        let Some(leg) = self.leg_mut(fork) else { return };
        if matches!(leg.state, State::Calling(_)) {
            leg.leave(desk, cause);
            self.fork_failed(desk, fork, cause);
        }
    }

    fn fork_refused(&mut self, desk: &mut Desk<'_>, fork: LegId, answer: &Answer<'_>) {
        let status = answer.status();
        let retry = matches!(self.stage, Stage::Ringing(_))
            && status == Status::NOT_ACCEPTABLE_HERE
            && self.leg(fork).is_some_and(|leg| {
                matches!(leg.state, State::Calling(_)) && leg.may_be_plain() && !leg.offered_plain
            });
        // 3xx: nobody may be sent elsewhere without a permit, so it is a refusal; 401 and 407 mean
        // that the phone takes us for somebody else.
        let cause = match status.code() {
            300..=399 => Cause::Declined,
            401 | 407 => Cause::Unavailable,
            488 | 606 if self.leg(fork).is_some_and(|leg| !leg.offered_plain) => {
                Cause::IncompatibleMedia
            }
            503 if self.leg(fork).is_some_and(|leg| leg.party.trunk.is_some()) => {
                Cause::CarrierFull
            }
            code => Cause::from_status(code).unwrap_or(Cause::Congestion),
        };
        self.fork_gone(fork);
        self.close_media(desk, fork);
        if !(retry && self.retry_in_clear(desk, fork)) {
            self.fork_failed(desk, fork, cause);
        }
    }

    /// A phone refused the encrypted offer and its exception allows one in clear: a new attempt, so a
    /// new permit. False where there is none.
    fn retry_in_clear(&mut self, desk: &mut Desk<'_>, failed: LegId) -> bool {
        if self.forks.len() >= LEGS_MAX {
            return false;
        }
        let Some(extension) = self.callee_extension else { return false };
        let id = LegId::draw(desk.chance);
        let attempt = Attempt {
            tenant: self.tenant,
            call: self.id,
            leg: id,
            origin: self.origin,
            responsible: self.responsible,
            destination: Destination::Extension(extension),
            standing: self.caller.party.standing(),
        };
        let Some(permit) = desk.permit(&attempt, &self.to) else { return false };
        let Some(mut fork) = self
            .leg(failed)
            .and_then(|leg| Leg::callee(permit, leg.party.clone(), leg.request_uri.clone(), desk))
        else {
            return false;
        };
        fork.offered_plain = true;
        fork.allocate(desk, self.emergency);
        self.forks.reserve_exact(1); // a vector makes room for four
        self.forks.push(fork);
        true
    }

    fn fork_gone(&mut self, fork: LegId) {
        if let Some(leg) = self.leg_mut(fork) {
            leg.state = State::Gone;
        }
    }

    /// A fork can't become the call. When none is left, the caller hears the most telling reason.
    pub(crate) fn fork_failed(&mut self, desk: &mut Desk<'_>, fork: LegId, cause: Cause) {
        self.close_media(desk, fork);
        if let Some(leg) = self.leg_mut(fork)
            && matches!(leg.state, State::Planned(_) | State::Composed(_))
        {
            leg.state = State::Gone;
        }
        match &mut self.stage {
            Stage::Ringing(ringing) => {
                let worst = ringing.worst.map_or(cause, |worst| more_telling(worst, cause));
                ringing.worst = Some(worst);
                let awaits = ringing.awaits_way;
                self.forget_early(fork);
                if !self.anyone_ringing() && !awaits && !self.seeks_another_way(desk, cause) {
                    self.end(desk, worst);
                }
            }
            Stage::Preparing(_) => {
                if self.forks.iter().all(|leg| matches!(leg.state, State::Gone)) {
                    self.end(desk, cause);
                }
            }
            Stage::Answering(_) | Stage::Up(_) => {}
            Stage::Ending(_) => self.maybe_record(desk),
        }
    }

    fn anyone_ringing(&self) -> bool {
        self.forks.iter().any(|leg| {
            matches!(leg.state, State::Planned(_) | State::Composed(_) | State::Calling(_))
        })
    }

    // Answering.

    /// Tells the caller, once both legs are armed and the answer is durable.
    fn answer(&mut self, desk: &mut Desk<'_>) {
        let Stage::Answering(answering) = &mut self.stage else { return };
        if !answering.awaited.0.is_empty() || answering.snapshot.is_some() {
            return;
        }
        let (other, sdp) = (answering.winner, std::mem::take(&mut answering.sdp));
        self.cancel_alarm(desk, Why::Answer);
        if !self.caller.answer(desk, &sdp) {
            return self.end(desk, Cause::Internal);
        }
        self.stage = Stage::Up(Up { other, change: None, silent: BTreeSet::new() });
        for leg in [self.caller.id, other] {
            self.note_weakness(desk, leg);
            self.session_alarm(desk, leg);
        }
        self.hold_alarm(desk);
        let ring_ms = millis(desk.now.instant.since(self.since));
        desk.fact(Fact::CallAnswered { call: self.id, ring_ms });
    }

    fn note_weakness(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let call = self.id;
        let Some(leg) = self.leg_mut(leg) else { return };
        let Some(device) = leg.party.device else { return };
        let used = [
            (leg.media.is_plain(), Exception::PlainMedia),
            (!leg.is_secure(), Exception::PlainSignalling),
        ];
        let exceptions: Vec<_> =
            used.into_iter().filter_map(|(is_so, exception)| is_so.then_some(exception)).collect();
        if !exceptions.is_empty() {
            let exceptions = Used(exceptions);
            desk.fact(Fact::ExceptionUsed { call, leg: leg.id, device, exceptions });
        }
    }

    fn refuse_media(&mut self, desk: &mut Desk<'_>, leg: LegId, reason: Unacceptable) {
        if reason == Unacceptable::NotEncrypted {
            let device = self.leg(leg).and_then(|leg| leg.party.device);
            desk.fact(Fact::LegNotEncrypted { call: self.id, leg, device });
        }
    }
}

impl Call {
    // What is stored and shown.

    /// The call as a restart would need it: how to end each leg from here.
    pub(super) fn snapshot(&self, desk: &Desk<'_>) -> CallSnapshot {
        let legs = self.legs().flat_map(|leg| {
            let stages = match &leg.state {
                State::Inviting(_) => {
                    // Until the caller has the 200 it must be refused, afterwards hung up; a crash
                    // between the two can't tell which, so both are tried.
                    let refusal = leg
                        .refusal()
                        .map(|refusal| LegStage::Incoming { refusal: refusal.as_bytes().to_vec() });
                    let up = matches!(self.stage, Stage::Ringing(_) | Stage::Answering(_));
                    let up = leg.dialog().filter(|_| up && self.answered.is_some());
                    let up = up.map(|dialog| LegStage::Up { dialog: dialog.state().clone() });
                    [refusal, up]
                }
                State::Composed(_) | State::Calling(_) | State::Cancelling(_) => {
                    let stage = leg.invited().and_then(recovery::outgoing);
                    [stage, None]
                }
                State::Answered(_) | State::Confirmed(_) => {
                    let dialog = leg.dialog();
                    [dialog.map(|dialog| LegStage::Up { dialog: dialog.state().clone() }), None]
                }
                State::Leaving => {
                    let dialog = leg.leaving().filter(|_| leg.outlay.is_some());
                    [dialog.map(|dialog| LegStage::Up { dialog: dialog.clone() }), None]
                }
                State::Planned(_) | State::Gone => [None, None],
            };
            stages.into_iter().flatten().map(|stage| LegSnapshot {
                leg: leg.id,
                extension: leg.party.extension,
                device: leg.party.device,
                trunk: leg.party.trunk,
                toll: leg.outlay.as_ref().filter(|o| !o.is_settled()).and_then(|outlay| {
                    Some((outlay.toll.clone(), desk.ledger.hold(leg.id)?.clone()))
                }),
                proof: leg.party.proof,
                path: leg.party.path,
                transport: leg.party.path.flow.transport,
                stage,
                suite: leg.media.suite().map(|suite| suite.name().to_owned()),
                rollover: (0, 0),
            })
        });
        CallSnapshot {
            version: snapshot::VERSION,
            call: self.id,
            tenant: self.tenant,
            node: desk.node,
            from: self.from.clone(),
            to: self.to.clone(),
            responsible: self.responsible,
            decision: self.decision,
            origin: self.origin,
            tolls: self.tolls.clone(),
            emergency: self.emergency,
            started: self.started,
            answered: self.answered.map(|(utc, _)| utc),
            legs: legs.collect(),
        }
    }

    pub(crate) fn view(&self) -> CallView {
        let state = match &self.stage {
            Stage::Preparing(_) => CallState::Connecting,
            Stage::Ringing(_) | Stage::Answering(_) => CallState::Ringing,
            Stage::Up(_) => CallState::Up,
            Stage::Ending(_) => CallState::Ending,
        };
        let live = self.legs().filter(|leg| !matches!(leg.state, State::Gone));
        CallView {
            id: self.id,
            tenant: self.tenant,
            from: self.from.clone(),
            to: self.to.clone(),
            state,
            since: self.answered.map_or(self.started, |(utc, _)| utc),
            protection: live.map(Leg::protection).collect(),
            held: self.held(),
        }
    }

    /// Something about a leg that talks is weak.
    pub(crate) fn is_weak(&self) -> bool {
        self.legs().any(|leg| !matches!(leg.state, State::Gone) && !leg.weaknesses().is_empty())
    }

    // Requests within the legs' dialogs. Tags, path and CSeq have been checked.

    pub(crate) fn request(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        server: ServerTx,
        request: &Request,
    ) {
        let Some(found) = self.leg_mut(leg) else { return };
        found.heard_from_request(request);
        match request.method() {
            Method::Bye => {
                found.respond(desk, server, request, Status::OK, |answer| answer);
                found.hung_up(desk);
                self.end(desk, Cause::Cleared);
            }
            Method::Invite => self.reinvite(desk, leg, server, request),
            Method::Update => self.update(desk, leg, server, request),
            Method::Info => self.info(desk, leg, server, request),
            Method::Options => found.respond(desk, server, request, Status::OK, abilities),
            // REFER asks for a leg that costs money: it waits for its gate. The others have no use
            // inside a call here (RFC 6665 §4.1.3: 489 would claim that we know events).
            Method::Refer | Method::Subscribe | Method::Notify | Method::Message => {
                found.respond(desk, server, request, Status::METHOD_NOT_ALLOWED, abilities);
            }
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Prack
            | Method::Publish
            | Method::Other(_) => {
                found.respond(desk, server, request, Status::METHOD_NOT_ALLOWED, abilities);
            }
        }
    }

    /// A leg took back its INVITE. One that crosses our final answer changes nothing (RFC 3261 §9.2).
    pub(crate) fn cancelled(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        if leg == self.caller.id && matches!(self.caller.state, State::Inviting(_)) {
            return self.end(desk, Cause::Cancelled);
        }
        // A re-INVITE taken back: the session stays as it was.
        if let Stage::Up(Up { change: Some(change), .. }) = &self.stage
            && change.asker == leg
        {
            self.change_refused(desk, Status::REQUEST_TERMINATED);
        }
    }

    /// A leg acknowledged our 2xx, with its answer where the offer was ours.
    pub(crate) fn acknowledged(&mut self, desk: &mut Desk<'_>, leg: LegId, ack: &Request) {
        let Some(found) = self.leg_mut(leg) else { return };
        let Some(first) = found.acknowledged(desk) else { return };
        if first.answer_expected && !self.is_ending() {
            self.late_answer(desk, leg, ack.body());
        }
    }

    /// A 2xx of ours was never acknowledged (RFC 3261 §13.3.1.4: hang up).
    pub(crate) fn unacknowledged(&mut self, desk: &mut Desk<'_>, leg: LegId, server: ServerTx) {
        let Some(found) = self.leg_mut(leg) else { return };
        if found.unacknowledged(server) {
            if self.is_ending() {
                if let Some(found) = self.leg_mut(leg) {
                    found.bye(desk, Cause::TimedOut);
                }
                return;
            }
            self.end(desk, Cause::TimedOut);
        }
    }

    /// An answer, or the lack of one, to a request of ours.
    pub(crate) fn answered(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        purpose: Purpose,
        answer: Answer<'_>,
    ) {
        if purpose != Purpose::Invite && self.challenged(desk, leg, purpose, &answer) {
            return;
        }
        if let Answer::Response(response) = &answer
            && response.status().is_final()
            && let Some(found) = self.leg_mut(leg)
        {
            found.not_repeated(response.headers().cseq().number);
        }
        if purpose != Purpose::Bye
            && answer.status().is_final()
            && let Some(found) = self.leg_mut(leg)
            && !(purpose == Purpose::Invite && matches!(answer.status().code(), 401 | 407))
        {
            found.challenges = 0;
        }
        match purpose {
            Purpose::Invite => self.invite_answered(desk, leg, answer),
            Purpose::Change => self.change_answered(desk, leg, answer),
            Purpose::Refresh => self.refresh_answered(desk, leg, answer),
            Purpose::Bye => self.bye_answered(desk, leg, answer),
            // The phone has the key or hasn't; nothing can be said to the other.
            Purpose::Info => {}
        }
    }

    /// 481 ends a call as well as 200 does; 408 and silence end it too, but nobody said so (RFC 3261
    /// §15.1.1). What else a phone may say is its own affair; a carrier bills until it agrees.
    fn bye_answered(&mut self, desk: &mut Desk<'_>, leg: LegId, answer: Answer<'_>) {
        let Some(found) = self.leg(leg) else { return };
        let carrier = found.party.trunk.is_some();
        let response = match answer {
            // A socket has no next connection to wait for.
            Answer::Unreachable if carrier && !found.party.path.flow.transport.is_reliable() => {
                return self.bye_refused(desk, leg, None);
            }
            // Its connection is gone: said again on the next one.
            Answer::Unreachable => return self.unsaid(desk, leg),
            Answer::TimedOut => return self.unconfirmed(desk, leg),
            Answer::Response(response) => response,
        };
        match response.status() {
            status if !status.is_final() => {}
            Status::REQUEST_TIMEOUT if carrier => self.unconfirmed(desk, leg),
            status if carrier && !status.is_success() && status != Status::CALL_DOES_NOT_EXIST => {
                let after = response.headers().retry_after().present();
                self.bye_refused(desk, leg, after.map(|s| Duration::from_secs(s.into())));
            }
            _ => {
                self.fork_gone(leg);
                self.maybe_record(desk);
            }
        }
    }

    // Time.

    pub(crate) fn alarmed(&mut self, desk: &mut Desk<'_>, why: Why) {
        self.alarms.remove(&why);
        match why {
            Why::Prepare => self.end(desk, Cause::Internal),
            Why::Ring => self.end(desk, Cause::NoAnswer),
            Why::Answer => self.end(desk, Cause::Internal),
            Why::Longest => self.end(desk, Cause::Longest),
            Why::Hold => self.end(desk, Cause::MediaLost),
            Why::Change => self.change_refused(desk, Status::SERVER_INTERNAL_ERROR),
            Why::Glare => {
                let Stage::Up(up) = &self.stage else { return };
                let Some(change) = &up.change else { return };
                let other = if change.asker == self.caller.id { up.other } else { self.caller.id };
                self.ask_other(desk, other);
            }
            Why::Refresh(leg) => {
                let Some(found) = self.leg_mut(leg) else { return };
                found.refresh(desk);
                // Whatever comes of it, the session has its end.
                self.expiry_alarm(desk, leg);
            }
            Why::Silent(leg) => self.probe(desk, leg),
            // A fork that lost the race may be on its way out while the call goes on.
            Why::Lost(leg) if self.is_ending() || self.leg(leg).is_some_and(Leg::is_leaving) => {
                self.unconfirmed(desk, leg);
            }
            Why::Lost(_) | Why::Expired(_) => self.end(desk, Cause::MediaLost),
            Why::Extend(leg) => self.extend(desk, leg),
            Why::Unpaid(leg) => self.unpaid(desk, leg),
            Why::Mute(leg) => self.mute(desk, leg),
            Why::Slow(leg) => self.slow(desk, leg),
            Why::Again(leg) => {
                if let Some(found) = self.leg_mut(leg) {
                    found.bye_again(desk);
                }
            }
            Why::Overtaken(leg) => self.never_answered(desk, leg),
            Why::Linger => {
                if let Stage::Ending(ending) = &mut self.stage {
                    ending.lingering = true;
                }
            }
            Why::Stats => {
                if let Stage::Ending(ending) = &mut self.stage {
                    ending.record = Record::Due;
                }
                self.maybe_record(desk);
            }
        }
    }

    fn alarm(&mut self, desk: &mut Desk<'_>, why: Why, after: Duration) {
        self.cancel_alarm(desk, why);
        let id = desk.timers.set(desk.now.instant + after, (self.id, why));
        self.alarms.insert(why, id);
    }

    pub(crate) fn cancel_alarm(&mut self, desk: &mut Desk<'_>, why: Why) {
        if let Some(id) = self.alarms.remove(&why) {
            desk.timers.cancel(id);
        }
    }

    /// The session timer of a leg (RFC 4028): we refresh at half the interval, or the leg must before
    /// its end.
    fn session_alarm(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        self.cancel_alarm(desk, Why::Expired(leg));
        self.cancel_alarm(desk, Why::Refresh(leg));
        let Some(session) = self.leg(leg).and_then(|leg| leg.watched_session(desk)) else { return };
        if session.ours {
            self.alarm(desk, Why::Refresh(leg), session.interval / 2);
        } else {
            self.expiry_alarm(desk, leg);
        }
    }

    fn expiry_alarm(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        if let Some(session) = self.leg(leg).and_then(|leg| leg.watched_session(desk)) {
            self.alarm(desk, Why::Expired(leg), session.interval);
        }
    }

    fn hold_alarm(&mut self, desk: &mut Desk<'_>) {
        let held = self.legs().any(|leg| {
            matches!(leg.state, State::Confirmed(_) | State::Answered(_))
                && leg.media.agreed.as_ref().is_some_and(super::media::Agreed::is_held)
        });
        match (held, self.alarms.contains_key(&Why::Hold)) {
            (true, false) => {
                self.alarm(desk, Why::Hold, desk.settings.hold_max);
                self.probe_while_held(desk);
            }
            (false, true) => self.cancel_alarm(desk, Why::Hold),
            (true, true) | (false, false) => {}
        }
    }

    // The end.

    /// Ends the call: each leg in the way its state asks for. Further reasons change nothing.
    pub(crate) fn end(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        if self.is_ending() {
            return self.maybe_record(desk);
        }
        self.cause = Some(cause);
        self.ended = Some((desk.now.utc, desk.now.instant));
        for alarm in self.alarms.keys().copied().collect::<Vec<_>>() {
            if !self.ends_a_leg(alarm) {
                self.cancel_alarm(desk, alarm);
            }
        }
        let pending = match &mut self.stage {
            Stage::Up(up) => up.change.take(),
            Stage::Preparing(_) | Stage::Ringing(_) | Stage::Answering(_) | Stage::Ending(_) => {
                None
            }
        };
        if let Some(Change { asker, server, request, .. }) = pending
            && let Some(leg) = self.leg_mut(asker)
        {
            leg.idle();
            // RFC 3261 §15.1.2: pending requests of an ended dialog are answered 487.
            leg.respond(desk, server, &request, Status::REQUEST_TERMINATED, |answer| answer);
        }
        self.stage = Stage::Ending(Ending { record: Record::Waiting, lingering: false });
        for leg in self.legs_mut() {
            leg.leave(desk, cause);
        }
        for leg in self.legs().map(|leg| leg.id).collect::<Vec<_>>() {
            self.close_media(desk, leg);
        }
        self.alarm(desk, Why::Stats, desk.settings.stats_timeout);
        self.alarm(desk, Why::Linger, LINGER_AFTER);
        self.maybe_record(desk);
    }

    /// What cut it, in words; nothing where it never was up.
    pub(crate) fn ended_by(&self) -> EndedBy {
        let words = || self.cut.clone().or_else(|| self.cause?.ended_by().map(str::to_owned));
        EndedBy(self.answered.and_then(|_| words()))
    }

    /// Whether an alarm sees to the end of a leg that is on its way out: it outlives the call's.
    fn ends_a_leg(&self, alarm: Why) -> bool {
        let (Why::Lost(leg) | Why::Again(leg)) = alarm else { return false };
        self.leg(leg).is_some_and(|leg| matches!(leg.state, State::Leaving))
    }

    /// Ends what is left of it at once, without waiting for anybody.
    pub(crate) fn give_up(&mut self, desk: &mut Desk<'_>) {
        self.end(desk, Cause::Draining);
        for leg in self.legs().map(|leg| leg.id).collect::<Vec<_>>() {
            if self.leg(leg).is_some_and(|leg| !matches!(leg.state, State::Gone)) {
                self.unconfirmed(desk, leg);
            }
        }
        if let Stage::Ending(ending) = &mut self.stage {
            ending.record = Record::Due;
        }
        self.maybe_record(desk);
    }

    /// Writes the record once every leg has ended and the media is counted.
    fn maybe_record(&mut self, desk: &mut Desk<'_>) {
        let Stage::Ending(ending) = &self.stage else { return };
        let counted = ending.record == Record::Due
            || self.legs().all(|leg| matches!(leg.media.ports, Ports::Closed));
        let over = self.legs().all(|leg| matches!(leg.state, State::Gone) || leg.waits_for_phone());
        if !counted || !over || desk.is_recorded(self.id) {
            return;
        }
        for alarm in self.alarms.keys().copied().collect::<Vec<_>>() {
            // A record may be written while a leg waits for its phone: its caller may call again soon all the same.
            if !self.ends_a_leg(alarm) && alarm != Why::Linger {
                self.cancel_alarm(desk, alarm);
            }
        }
        let outcome = self.cause.unwrap_or(Cause::Internal).outcome();
        let mut rows = self.settled(desk);
        let cdr = crate::cdr::of(self, desk.now, desk.node);
        let over = self.ended.map_or(desk.now.instant, |(_, at)| at);
        let duration = self.answered.map_or(Duration::ZERO, |(_, at)| over.since(at));
        desk.fact(Fact::CallEnded {
            call: self.id,
            disposition: cdr.disposition,
            q850: outcome.q850,
            duration_ms: millis(duration),
            by: cdr.ended_by.clone(),
        });
        rows.extend([Row::Cdr(Box::new(cdr)), Row::RemoveSnapshot(self.id)]);
        desk.record(self.id, rows);
    }
}

/// What came back for a request of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer<'a> {
    Response(&'a Response),
    /// Nothing came in time (RFC 3261 §8.1.3.1: as if 408).
    TimedOut,
    /// The transport failed (as if 503).
    Unreachable,
}

impl Answer<'_> {
    fn status(&self) -> Status {
        match self {
            Self::Response(response) => response.status(),
            Self::TimedOut => Status::REQUEST_TIMEOUT,
            Self::Unreachable => Status::SERVICE_UNAVAILABLE,
        }
    }
}

impl Awaited {
    /// True when nothing is awaited any more.
    fn confirm(&mut self, leg: LegId, epoch: u32) -> bool {
        if self.0.get(&leg).is_some_and(|wanted| *wanted <= epoch) {
            self.0.remove(&leg);
        }
        self.0.is_empty()
    }
}

impl Unacceptable {
    pub(crate) fn cause(self) -> Cause {
        match self {
            Self::NotEncrypted => Cause::NotEncrypted,
            Self::NothingInCommon => Cause::IncompatibleMedia,
            Self::Malformed => Cause::ProtocolError,
        }
    }
}

/// Of two failures the one that says more about the person: somebody declined, then busy, then
/// whatever went wrong with the phones (in the spirit of RFC 3261 §16.7 step 6).
fn more_telling(a: Cause, b: Cause) -> Cause {
    let rank = |cause: Cause| match cause {
        Cause::Declined => 0,
        Cause::Busy => 1,
        Cause::NoAnswer => 2,
        Cause::NotEncrypted => 3,
        Cause::IncompatibleMedia => 4,
        Cause::Unavailable | Cause::TimedOut => 5,
        Cause::Cleared
        | Cause::NotFound
        | Cause::Cancelled
        | Cause::Refused(_)
        | Cause::Congestion
        | Cause::CarrierFull
        | Cause::Administrator
        | Cause::Longest
        | Cause::Silence
        | Cause::Draining
        | Cause::MediaLost
        | Cause::ProtocolError
        | Cause::Internal
        | Cause::PeerFailed
        | Cause::NoRoute
        | Cause::Preempted
        | Cause::Interrupted => 6,
    };
    if rank(b) < rank(a) { b } else { a }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A re-INVITE's mapped counterpart: within Timer F of an UPDATE (32 s) with room for the answer.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(25);

/// A 2xx is said again after 500 ms, 1 s and 2 s (RFC 3261 §13.3.1.4): three of them were lost by then.
const OVERTAKEN_MAX: Duration = Duration::from_secs(4);

/// A phone answers CANCEL or BYE within a round trip or two. Later, an ended call doesn't count any more
/// against its caller and `calls_max`: the 487 that never comes must not keep others from calling. The
/// call itself stays until its transactions give up (64·T1), so that a late 200 is still hung up.
const LINGER_AFTER: Duration = Duration::from_secs(5);

/// Forks of one call, second attempts included: twice the devices that ring together.
pub(crate) const LEGS_MAX: usize = 16;
