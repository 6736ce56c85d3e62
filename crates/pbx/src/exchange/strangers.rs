//! What strangers hear, and carrying out what the wall says of them.
//!
//! Whoever is no phone and no carrier hears one thing outside of calls, whatever it asks and about
//! whomever: the challenge. So OPTIONS tells a scanner neither what we are nor what we can do, and no
//! method tells which extensions exist. On the path of a registered phone, and from a carrier,
//! requests are answered as they deserve.

use guard::wall::{Effect, scanner};
use pure::Now;
use sip::transaction::Key;
use sip::{Method, Name, Request};

use super::Exchange;
use crate::authenticate::Verdict;
use crate::flow::{FlowOpened, Path};
use crate::io::Output;
use crate::record::Row;

impl Exchange {
    /// Carries out what the wall wants.
    pub(super) fn obey_wall(&mut self) {
        while let Some(effect) = self.registrar.wall.poll_effect() {
            match effect {
                Effect::Admission(change) => self.core.output(Output::Admission(change)),
                Effect::Keep(ban) => self.write(vec![Row::Ban(ban)]),
                Effect::Forget(source) => self.write(vec![Row::RemoveBan(source)]),
                Effect::Close(source) => {
                    for flow in self.registrar.flows_from(source) {
                        self.core.output(Output::CloseFlow { flow });
                    }
                }
                Effect::Fact { tenant, fact } => self.core.output(Output::Fact { tenant, fact }),
            }
        }
    }

    /// Whether nothing from there is read. The gate before the parser knows it too, and nearly always
    /// spares us the question; what was on its way then is dropped here.
    pub(super) fn is_shut_out(&self, now: Now, path: Path) -> bool {
        self.registrar.wall.is_banned(now.instant, path.remote.ip().into())
    }

    /// Closes a connection that was accepted while its source was being shut out.
    pub(super) fn turn_back(&mut self, now: Now, opened: &FlowOpened) {
        let banned = |remote: std::net::SocketAddr| {
            self.registrar.wall.is_banned(now.instant, remote.ip().into())
        };
        if opened.remote.is_some_and(banned) {
            self.core.output(Output::CloseFlow { flow: opened.flow });
        }
    }

    /// Whether this comes from an attack tool, by its own word: then it gets no answer, and loses its
    /// connection. A phone's place, a carrier and a call for help are never judged by their agent.
    pub(super) fn is_scanner(&mut self, now: Now, path: Path, request: &Request) -> bool {
        let agent = request.headers().get(Name::UserAgent).unwrap_or_default();
        let Some(tool) = scanner(agent) else { return false };
        if self.trunks.is_carrier(path)
            || self.registrar.known_device(path).is_some()
            || self.may_enter_for_help(now, path, request)
        {
            return false;
        }
        let proved = path.flow.transport.is_reliable();
        self.registrar.wall.scanner(now, path.remote.ip().into(), tool, proved)
    }

    /// Challenges what a stranger wants, where the method itself doesn't ask who it is. Whether it was
    /// answered.
    pub(super) fn is_challenged(
        &mut self,
        now: Now,
        key: Key,
        path: Path,
        request: &Request,
    ) -> bool {
        match request.method() {
            // They ask by themselves; or they belong to a call, and where there is none that is the answer.
            Method::Invite
            | Method::Register
            | Method::Ack
            | Method::Cancel
            | Method::Bye
            | Method::Info
            | Method::Update
            | Method::Prack => return false,
            Method::Notify
            | Method::Options
            | Method::Subscribe
            | Method::Publish
            | Method::Refer
            | Method::Message
            | Method::Other(_) => {}
        }
        if self.registrar.is_bound(path) || self.trunks.is_carrier(path) {
            return false;
        }
        let mut effects = Vec::new();
        let verdict = self.registrar.authenticate(now, request, path, false, &mut effects);
        self.carry_out(now, effects);
        match verdict {
            Verdict::Proved(_) => false,
            Verdict::Former { challenge, .. } | Verdict::Challenge(challenge) => {
                self.respond(now, key, challenge);
                true
            }
            Verdict::Refused(refusal) => {
                self.respond(now, key, refusal);
                true
            }
        }
    }
}
