#![allow(unused, clippy::all)]
use crate::back_to_back::desk::Desk;
use crate::command::*;
use crate::directory::{Inbound, Trunk};
use crate::flow::*;
use crate::io::*;
use crate::record::Row;
use crate::registrar::Prepared;
use guard::access::Actor;
use guard::fact::Fact;
use guard::gate::Proof;
use guard::id::{RealmId, TenantId, TrunkId};
use pure::{Chance, Instant, Now};
use sip::transaction::Key;
use sip::{Method, Name, Request, Response};
#[derive(Debug)]
pub(crate) struct Trunks;
#[derive(Debug)]
pub(crate) enum Effect {
    Connect { ticket: Ticket, to: Far },
    Lookup { ticket: Ticket, query: Query },
    CloseFlow(FlowId),
    Persist(Vec<Row>),
    Fact { tenant: Option<TenantId>, fact: Fact },
    Reachable { trunk: TrunkId, path: Path, realm: RealmId },
    Reply { ticket: Ticket, reply: Reply },
}
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    pub(crate) trunk: TrunkId,
    pub(crate) path: Path,
    pub(crate) realm: RealmId,
    pub(crate) place: Place,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}
impl Trunks {
    pub(crate) fn new(
        trunks: Vec<(Trunk, Option<TrunkSecret>)>,
        inbound: Vec<Inbound>,
        chance: Chance,
    ) -> Self {
        Self
    }
    pub(crate) fn start(&mut self, desk: &mut Desk<'_>, out: &mut Vec<Effect>) {}
    pub(crate) fn drain(&mut self, desk: &mut Desk<'_>, out: &mut Vec<Effect>) {}
    pub(crate) fn located(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        answer: &Answer,
        out: &mut Vec<Effect>,
    ) -> bool {
        false
    }
    pub(crate) fn connected(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        result: Result<FlowId, ConnectError>,
        out: &mut Vec<Effect>,
    ) -> bool {
        false
    }
    pub(crate) fn flow_opened(&mut self, opened: &FlowOpened) {}
    pub(crate) fn flow_closed(&mut self, desk: &mut Desk<'_>, flow: FlowId, out: &mut Vec<Effect>) {
    }
    pub(crate) fn answered(
        &mut self,
        desk: &mut Desk<'_>,
        key: Key,
        answer: Option<&Response>,
        out: &mut Vec<Effect>,
    ) -> bool {
        false
    }
    pub(crate) fn undelivered(
        &mut self,
        desk: &mut Desk<'_>,
        key: Key,
        out: &mut Vec<Effect>,
    ) -> bool {
        false
    }
    pub(crate) fn wake(&mut self, desk: &mut Desk<'_>, out: &mut Vec<Effect>) {}
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub(crate) fn identify(&self, path: Path, request: &Request) -> Option<(TrunkId, Proof)> {
        None
    }
    pub(crate) fn is_carrier(&self, path: Path) -> bool {
        false
    }
    pub(crate) fn routes(&mut self, now: Now, tenant: TenantId, emergency: bool) -> Vec<Route> {
        vec![]
    }
    pub(crate) fn get(&self, id: TrunkId) -> Option<&Trunk> {
        None
    }
    pub(crate) fn inbound(&self, trunk: TrunkId, number: &str) -> Option<&Inbound> {
        None
    }
    pub(crate) fn numbers_of(&self, tenant: TenantId) -> impl Iterator<Item = &Inbound> {
        std::iter::empty()
    }
    pub(crate) fn answer_challenge(
        &mut self,
        trunk: TrunkId,
        response: &Response,
        method: &Method,
        uri: &str,
    ) -> Option<(Name, String)> {
        None
    }
    pub(crate) fn is_at(&self, trunk: TrunkId, path: Path) -> bool {
        false
    }
    pub(crate) fn place_failed(&mut self, trunk: TrunkId, place: Place, now: Now) {}
    pub(crate) fn views(&self, now: Now, calls: impl Fn(TrunkId) -> usize) -> Vec<TrunkView> {
        vec![]
    }
    pub(crate) fn inbound_list(&self) -> Vec<Inbound> {
        vec![]
    }
    pub(crate) fn test(
        &mut self,
        desk: &mut Desk<'_>,
        ticket: Ticket,
        trunk: TrunkId,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        Ok(())
    }
    pub(crate) fn prepare(&mut self, actor: &Actor, change: Change) -> Result<Prepared, Refusal> {
        Err(Refusal::NotFound)
    }
    pub(crate) fn abandon(&mut self, change: &Change) {}
    pub(crate) fn apply(&mut self, desk: &mut Desk<'_>, change: Change, out: &mut Vec<Effect>) {}
}
