//! Dialogs (RFC 3261 §12): what two user agents remember of each other between requests.
//!
//! A [`Dialog`] is made from the request and the answer that establish it, on either side. It builds the
//! requests within it and judges those that arrive. Its [`DialogState`] is plain data: a snapshot holds it,
//! and a survivor restores from it.

use std::ops::Range;
use std::time::Duration;

use pure::Chance;

use crate::header::CSEQ_MAX;
use crate::{
    Headers, Method, Name, NameAddr, Request, RequestBuilder, Response, Scheme, Status, Transport,
    Uri, Violation,
};

/// One dialog. Its texts were judged, so what it builds is sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialog(DialogState);

/// Everything a dialog is, for snapshots. [`Dialog::restore`] judges it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialogState {
    pub stage: Stage,
    pub call_id: String,
    /// Our name-addr with our tag: From of what we send.
    pub local: String,
    /// Theirs with their tag, which peers of RFC 2543 may lack (§12.1.1): To of what we send.
    pub remote: String,
    /// The CSeq number of our last request; `None` before the first.
    pub local_cseq: Option<u32>,
    /// The CSeq number of their last request; `None` before the first.
    pub remote_cseq: Option<u32>,
    /// The URI in their Contact.
    pub remote_target: String,
    /// Route values, the nearest first.
    pub route_set: Vec<String>,
    /// Established by a SIPS request: only TLS may carry it (§12.1.1).
    pub secure: bool,
    /// Who sent the request that established it, which decides the wait after a 491 (§14.1).
    pub role: Role,
}

/// Whether a final answer confirmed the dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Early,
    Confirmed,
}

/// Our side of the request that established the dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We sent it, so we made the Call-ID.
    Uac,
    Uas,
}

/// What finds a dialog in a table (§12).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialogId {
    pub call_id: String,
    pub local_tag: String,
    /// Empty for a peer of RFC 2543.
    pub remote_tag: String,
}

/// The topmost Via of a request that leaves.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    pub transport: Transport,
    /// `host` or `host:port`, ours.
    pub sent_by: &'a str,
    pub branch: &'a str,
}

/// Why a request within a dialog is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Tags or Call-ID are another dialog's.
    OtherDialog,
    /// A CSeq lower than one seen before.
    OutOfOrder,
    /// The CSeq seen last, by another transaction: one request that forked on its way.
    Merged,
}

impl Refusal {
    pub fn status(self) -> Status {
        match self {
            Self::OtherDialog => Status::CALL_DOES_NOT_EXIST, // §12.2.2
            Self::OutOfOrder => Status::SERVER_INTERNAL_ERROR, // §12.2.2
            Self::Merged => Status::LOOP_DETECTED,            // §8.2.2.2
        }
    }
}

impl Dialog {
    /// Our side where we sent `request` and `response` (101 to 299, with a To tag) came (§12.1.2). Where
    /// no Contact came, which a 2xx must have, the target stays the Request-URI: somebody believes in that
    /// call, and our BYE must have a way to them.
    ///
    /// # Errors
    /// [`Violation::HeaderValue`]: a 100 or a failure, no To tag in a provisional.
    pub fn uac(request: &Request, response: &Response) -> Result<Self, Violation> {
        let status = response.status();
        let (sent, came) = (request.headers(), response.headers());
        let establishes = status.code() > 100 && !status.is_failure();
        let tagged = came.to().tag().is_some() || status.is_success();
        let contact = came.contacts().next();
        if !establishes || !tagged {
            return Err(Violation::HeaderValue);
        }
        let remote_target = match contact {
            Some(contact) => contact.uri().without_headers().to_owned(),
            None => request.uri().as_str().to_owned(),
        };
        let state = DialogState {
            stage: stage_of(status),
            call_id: sent.call_id().to_owned(),
            local: sent.from().as_str().to_owned(),
            remote: came.to().as_str().to_owned(),
            local_cseq: Some(sent.cseq().number),
            remote_cseq: None,
            remote_target,
            route_set: reversed_routes(came),
            secure: request.uri().scheme() == Scheme::Sips,
            role: Role::Uac,
        };
        Self::restore(state)
    }

    /// Our side where `request` came and we answer `response`, with a tag of ours in To (§12.1.1).
    /// `over_tls`: the request came by TLS.
    ///
    /// # Errors
    /// [`Violation::HeaderValue`]: the request has no Contact, or the answer is a 100, a failure or
    /// without a tag.
    pub fn uas(request: &Request, response: &Response, over_tls: bool) -> Result<Self, Violation> {
        let status = response.status();
        let came = request.headers();
        let contact = came.contacts().next().ok_or(Violation::HeaderValue)?;
        let to = response.headers().to();
        if status.code() <= 100 || status.is_failure() || to.tag().is_none() {
            return Err(Violation::HeaderValue);
        }
        let state = DialogState {
            stage: stage_of(status),
            call_id: came.call_id().to_owned(),
            local: to.as_str().to_owned(),
            remote: came.from().as_str().to_owned(),
            local_cseq: None,
            remote_cseq: Some(came.cseq().number),
            remote_target: contact.uri().without_headers().to_owned(),
            route_set: came.record_routes().map(|route| route.as_str().to_owned()).collect(),
            secure: over_tls && request.uri().scheme() == Scheme::Sips,
            role: Role::Uas,
        };
        Self::restore(state)
    }

    /// From a snapshot.
    ///
    /// # Errors
    /// The first text that is not what its field says.
    pub fn restore(state: DialogState) -> Result<Self, Violation> {
        if NameAddr::parse(&state.local)?.tag().is_none() {
            return Err(Violation::HeaderValue);
        }
        NameAddr::parse(&state.remote)?;
        Uri::parse(&state.remote_target)?;
        for route in &state.route_set {
            NameAddr::parse(route)?;
        }
        Ok(Self(state))
    }

    pub fn state(&self) -> &DialogState {
        &self.0
    }

    pub fn id(&self) -> DialogId {
        let tag = |address: &str| {
            let address = NameAddr::parse(address).expect("judged when the dialog was made");
            address.tag().unwrap_or_default().to_owned()
        };
        DialogId {
            call_id: self.0.call_id.clone(),
            local_tag: tag(&self.0.local),
            remote_tag: tag(&self.0.remote),
        }
    }

    /// A further answer to the request that we sent. A 2xx confirms the dialog, and its Record-Route and
    /// Contact replace what a provisional said (§13.2.2.4); a route once confirmed never changes (§12.2).
    ///
    /// # Errors
    /// [`Violation::HeaderValue`]: the answer is another dialog's.
    pub fn answered(&mut self, response: &Response) -> Result<(), Violation> {
        if DialogId::of_response(response) != self.id() {
            return Err(Violation::HeaderValue);
        }
        if response.status().is_success() && self.0.stage == Stage::Early {
            self.0.stage = Stage::Confirmed;
            self.0.route_set = reversed_routes(response.headers());
        }
        if !response.status().is_failure() {
            self.refresh_target(response.headers());
        }
        Ok(())
    }

    /// We sent a 2xx.
    pub fn confirm(&mut self) {
        self.0.stage = Stage::Confirmed;
    }

    /// A new remote target, where the message has a Contact. For a target refresh request (INVITE, UPDATE,
    /// SUBSCRIBE, NOTIFY, REFER) that arrived, call it when answering 2xx: a refused re-INVITE leaves the
    /// target as it was (RFC 6141 §4).
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Some(contact) = headers.contacts().next() {
            self.0.remote_target = contact.uri().without_headers().to_owned();
        }
    }

    /// Judges a request that arrived, and counts its CSeq. An ACK or CANCEL carries its INVITE's number
    /// and passes.
    ///
    /// # Errors
    /// What [`Refusal`] says; the dialog is unchanged. Repetitions never come here: transactions absorb
    /// them.
    pub fn receive(&mut self, request: &Request) -> Result<(), Refusal> {
        if DialogId::of_request(request) != self.id() {
            return Err(Refusal::OtherDialog);
        }
        let cseq = request.headers().cseq();
        if matches!(cseq.method, Method::Ack | Method::Cancel) {
            return Ok(());
        }
        match self.0.remote_cseq {
            Some(last) if cseq.number < last => Err(Refusal::OutOfOrder),
            Some(last) if cseq.number == last => Err(Refusal::Merged),
            Some(_) | None => {
                self.0.remote_cseq = Some(cseq.number);
                Ok(())
            }
        }
    }

    /// A request within the dialog, with the next CSeq, to which Contact and body may be added
    /// (§12.2.1.1). Not for ACK and CANCEL.
    ///
    /// # Errors
    /// [`Violation::CSeq`] where the numbers have run out: the dialog can only be forgotten.
    pub fn request(&mut self, method: Method, hop: Hop<'_>) -> Result<RequestBuilder, Violation> {
        let next = self.0.local_cseq.map_or(FIRST_CSEQ, |last| last.saturating_add(1));
        if next > CSEQ_MAX {
            return Err(Violation::CSeq);
        }
        self.0.local_cseq = Some(next);
        Ok(self.build(method, hop, next))
    }

    /// The ACK of a 2xx to our INVITE with this CSeq number (§13.2.2.4).
    pub fn ack(&self, invite_cseq: u32, hop: Hop<'_>) -> RequestBuilder {
        self.build(Method::Ack, hop, invite_cseq)
    }

    /// Where the next request goes: the first route, or the target where there is none.
    pub fn next_hop(&self) -> Uri<'_> {
        match self.0.route_set.first() {
            Some(first) => NameAddr::parse(first).expect("judged when the dialog was made").uri(),
            None => Uri::parse(&self.0.remote_target).expect("judged when the dialog was made"),
        }
    }

    fn build(&self, method: Method, hop: Hop<'_>, cseq: u32) -> RequestBuilder {
        let state = &self.0;
        let first = state
            .route_set
            .first()
            .map(|first| NameAddr::parse(first).expect("judged when the dialog was made").uri());
        // A strict router of RFC 2543 wants itself in the Request-URI and the target last (§12.2.1.1).
        let (uri, routes, last) = match first {
            Some(first) if !first.is_loose_route() => {
                (first.without_headers(), &state.route_set[1..], Some(state.remote_target.as_str()))
            }
            Some(_) | None => (state.remote_target.as_str(), &state.route_set[..], None),
        };
        let mut builder = Request::builder(method, uri)
            .via(hop.transport, hop.sent_by, hop.branch)
            .max_forwards(MAX_FORWARDS);
        // A row each, as every peer reads it; but nobody records so many routes that our BYE has too many rows.
        let in_a_row = if routes.len() > ROUTE_ROWS_MAX { routes.len() } else { 1 };
        for routes in routes.chunks(in_a_row) {
            builder = builder.header(Name::Route, &routes.join(", "));
        }
        if let Some(target) = last {
            builder = builder.header(Name::Route, &format!("<{target}>"));
        }
        builder
            .header(Name::From, &state.local)
            .header(Name::To, &state.remote)
            .call_id(&state.call_id)
            .cseq(cseq)
    }
}

impl DialogId {
    /// The dialog that a received request is meant for.
    pub fn of_request(request: &Request) -> Self {
        let headers = request.headers();
        Self::new(headers, headers.to(), headers.from())
    }

    /// The dialog that a received response belongs to.
    pub fn of_response(response: &Response) -> Self {
        let headers = response.headers();
        Self::new(headers, headers.from(), headers.to())
    }

    fn new(headers: &Headers, local: NameAddr<'_>, remote: NameAddr<'_>) -> Self {
        Self {
            call_id: headers.call_id().to_owned(),
            local_tag: local.tag().unwrap_or_default().to_owned(),
            remote_tag: remote.tag().unwrap_or_default().to_owned(),
        }
    }
}

/// The answer to a re-INVITE (or an UPDATE with an offer) that arrives while another is pending:
/// 491 where we sent one ourselves, 500 with a short Retry-After where theirs is not answered yet
/// (§14.2, RFC 3311 §5.2). `None`: serve it.
pub fn glare(ours_pending: bool, theirs_pending: bool) -> Option<Status> {
    match (ours_pending, theirs_pending) {
        (true, _) => Some(Status::REQUEST_PENDING),
        (false, true) => Some(Status::SERVER_INTERNAL_ERROR),
        (false, false) => None,
    }
}

/// How long to wait after a 491 before trying again, in steps of 10 ms (§14.1). The ranges don't meet, so
/// the second attempts can't either.
pub fn glare_wait(role: Role, chance: &mut Chance) -> Duration {
    let range = match role {
        Role::Uac => GLARE_STEPS_UAC,
        Role::Uas => GLARE_STEPS_UAS,
    };
    GLARE_STEP
        * u32::try_from(range.start + chance.below(range.end - range.start))
            .expect("the ranges are below 401")
}

fn stage_of(status: Status) -> Stage {
    if status.is_success() { Stage::Confirmed } else { Stage::Early }
}

/// A client meets the record of its request's way from the far end (§12.1.2).
fn reversed_routes(headers: &Headers) -> Vec<String> {
    let mut routes: Vec<String> =
        headers.record_routes().map(|route| route.as_str().to_owned()).collect();
    routes.reverse();
    routes
}

/// RFC 3261 §8.1.1.6.
pub const MAX_FORWARDS: u8 = 70;
/// Further routes share one row: [`crate::HEADERS_MAX`] leaves room for this many and what else a request has.
const ROUTE_ROWS_MAX: usize = 64;
/// The unit of both ranges (§14.1).
pub const GLARE_STEP: Duration = Duration::from_millis(10);
/// 2.1 to 4 seconds for the owner of the Call-ID.
pub const GLARE_STEPS_UAC: Range<u64> = 210..401;
/// 0 to 2 seconds for the other.
pub const GLARE_STEPS_UAS: Range<u64> = 0..201;
/// Our first CSeq number where we were called. Any below 2^31 will do (§8.1.1.5).
const FIRST_CSEQ: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, NameAddrBuf};
    use proptest::prelude::*;

    const HOP: Hop<'static> =
        Hop { transport: Transport::Tls, sent_by: "pbx.example", branch: "z9hG4bKx" };

    fn request(method: &str, cseq: u32, from_tag: &str, to_tag: &str, more: &str) -> Request {
        let to = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let text = format!(
            "{method} sip:bob@pbx SIP/2.0\r\nVia: SIP/2.0/TLS a.example;branch=z9hG4bK1\r\n\
             Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@pbx>;tag={from_tag}\r\n\
             To: <sip:bob@pbx>{to}\r\nCall-ID: c1\r\nCSeq: {cseq} {method}\r\n{more}\
             Content-Length: 0\r\n\r\n"
        );
        match Message::parse(text.into()).expect("well-formed") {
            Message::Request(request) => request,
            Message::Response(_) => unreachable!("it has a request line"),
        }
    }

    const CONTACT: &str = "Contact: <sip:alice@192.0.2.1:5061;transport=tls>\r\n";
    const ROUTES: &str = "Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\n";

    fn answer(request: &Request, status: u16, contact: &str) -> Response {
        let status = Status::new(status).expect("a status");
        let contact = NameAddrBuf::parse(contact).expect("an address");
        Response::builder(request, status)
            .to_tag("b")
            .contact(&contact)
            .record_routes_of(request)
            .build()
            .expect("well-formed")
    }

    fn called() -> Dialog {
        let invite = request("INVITE", 5, "a", "", &format!("{CONTACT}{ROUTES}"));
        Dialog::uas(&invite, &answer(&invite, 200, "<sip:pbx>"), true).expect("it has a Contact")
    }

    fn calling(status: u16, more: &str) -> Dialog {
        let invite = request("INVITE", 5, "a", "", more);
        Dialog::uac(&invite, &answer(&invite, status, "<sip:bob@192.0.2.9>")).expect("tagged")
    }

    #[test]
    fn the_called_side_requests_along_the_recorded_route() {
        let mut dialog = called();
        let bye = dialog.request(Method::Bye, HOP).expect("numbers left").build().expect("sound");
        assert_eq!(bye.uri().as_str(), "sip:alice@192.0.2.1:5061;transport=tls");
        let routes: Vec<&str> = bye.headers().routes().map(|route| route.as_str()).collect();
        assert_eq!(routes, ["<sip:p2;lr>", "<sip:p1;lr>"], "§12.1.1: in order");
        assert_eq!(bye.headers().from().tag(), Some("b"));
        assert_eq!(bye.headers().to().tag(), Some("a"));
        assert_eq!(bye.headers().cseq().number, FIRST_CSEQ);
        assert_eq!(bye.headers().max_forwards(), Some(70));
        assert_eq!(dialog.next_hop().as_str(), "sip:p2;lr");
    }

    #[test]
    fn the_calling_side_meets_the_route_from_its_end() {
        let mut dialog = calling(200, ROUTES);
        assert_eq!(dialog.state().route_set, ["<sip:p1;lr>", "<sip:p2;lr>"], "§12.1.2: reversed");
        let ack = dialog.ack(5, HOP).build().expect("sound");
        assert_eq!((ack.method(), ack.headers().cseq().number), (Method::Ack, 5));
        assert_eq!(ack.uri().as_str(), "sip:bob@192.0.2.9");
        let bye = dialog.request(Method::Bye, HOP).expect("numbers left").build().expect("sound");
        assert_eq!(bye.headers().cseq().number, 6);
    }

    #[test]
    fn a_strict_router_gets_the_request_uri() {
        let mut dialog = calling(200, "Record-Route: <sip:p2;lr>, <sip:p1>\r\n");
        let bye = dialog.request(Method::Bye, HOP).expect("numbers left").build().expect("sound");
        assert_eq!(bye.uri().as_str(), "sip:p1");
        let routes: Vec<&str> = bye.headers().routes().map(|route| route.as_str()).collect();
        assert_eq!(routes, ["<sip:p2;lr>", "<sip:bob@192.0.2.9>"]);
    }

    /// Whoever could make our BYE unsound could not be hung up on.
    #[test]
    fn no_contact_and_no_route_keeps_our_bye_from_leaving() {
        let routes = vec!["<sip:p1;lr?a=b>"; crate::ELEMENTS_MAX].join(", ");
        for (contact, routes) in [
            ("<sip:alice@192.0.2.1?Subject=x>", ""),
            ("<sip:alice@192.0.2.1?a=b>", "<sip:strict?a=b>"),
            ("<sip:alice@192.0.2.1>", routes.as_str()),
        ] {
            let routes =
                if routes.is_empty() { "" } else { &format!("Record-Route: {routes}\r\n") };
            let invite = request("INVITE", 5, "a", "", &format!("Contact: {contact}\r\n{routes}"));
            let mut dialog =
                Dialog::uas(&invite, &answer(&invite, 200, "<sip:pbx>"), true).expect("a dialog");
            let bye = dialog.request(Method::Bye, HOP).expect("numbers left").build();
            assert!(!bye.expect("sound").uri().has_headers());
            dialog.refresh_target(invite.headers());
            assert!(dialog.request(Method::Bye, HOP).expect("numbers left").build().is_ok());
        }
    }

    #[test]
    fn an_answer_without_a_contact_can_be_hung_up_on() {
        let invite = request("INVITE", 5, "a", "", "");
        let answered = Response::builder(&invite, Status::OK).to_tag("c").build().expect("sound");
        let mut dialog = Dialog::uac(&invite, &answered).expect("a dialog");
        let bye = dialog.request(Method::Bye, HOP).expect("numbers left").build().expect("sound");
        assert_eq!(bye.uri().as_str(), invite.uri().as_str());
    }

    #[test]
    fn an_answer_confirms_and_a_fork_is_another_dialog() {
        let invite = request("INVITE", 5, "a", "", "");
        let mut dialog = calling(180, ROUTES);
        assert_eq!(dialog.state().stage, Stage::Early);
        let answered = answer(&invite, 200, "<sip:bob@192.0.2.77>");
        assert_eq!(dialog.answered(&answered), Ok(()));
        assert_eq!(dialog.state().stage, Stage::Confirmed);
        assert_eq!(dialog.state().remote_target, "sip:bob@192.0.2.77");
        assert!(dialog.state().route_set.is_empty(), "§13.2.2.4: as the 2xx says");
        let fork = Response::builder(&invite, Status::OK).to_tag("c").build().expect("sound");
        assert!(dialog.answered(&fork).is_err());
    }

    #[test]
    fn requests_are_judged_by_tags_and_order() {
        let mut dialog = called();
        let mut judge =
            |method, cseq, from, to| dialog.receive(&request(method, cseq, from, to, ""));
        assert_eq!(judge("BYE", 6, "a", "x"), Err(Refusal::OtherDialog));
        assert_eq!(judge("BYE", 6, "x", "b"), Err(Refusal::OtherDialog));
        assert_eq!(judge("INFO", 4, "a", "b"), Err(Refusal::OutOfOrder));
        assert_eq!(judge("INVITE", 5, "a", "b"), Err(Refusal::Merged));
        assert_eq!(judge("ACK", 5, "a", "b"), Ok(()));
        assert_eq!(judge("INFO", 9, "a", "b"), Ok(()), "gaps are fine (§12.2.2)");
        assert_eq!(judge("BYE", 8, "a", "b"), Err(Refusal::OutOfOrder));
        assert_eq!(Refusal::OutOfOrder.status().code(), 500);
        assert_eq!(Refusal::OtherDialog.status().code(), 481);
    }

    #[test]
    fn a_snapshot_is_judged_when_it_returns() {
        let state = called().state().clone();
        assert_eq!(Dialog::restore(state.clone()), Ok(called()));
        let forged = DialogState { remote_target: "sip:x\r\nEvil: 1".into(), ..state.clone() };
        assert!(Dialog::restore(forged).is_err());
        let spent = DialogState { local_cseq: Some(CSEQ_MAX), ..state };
        let mut spent = Dialog::restore(spent).expect("sound");
        assert_eq!(spent.request(Method::Bye, HOP).err(), Some(Violation::CSeq));
    }

    #[test]
    fn what_makes_no_dialog() {
        let bare = request("INVITE", 5, "a", "", "");
        assert!(Dialog::uas(&bare, &answer(&bare, 200, "<sip:pbx>"), true).is_err(), "no Contact");
        assert!(Dialog::uac(&bare, &answer(&bare, 100, "<sip:pbx>")).is_err());
        assert!(Dialog::uac(&bare, &answer(&bare, 486, "<sip:pbx>")).is_err());
    }

    proptest! {
        /// The owner of the Call-ID waits longer, always: the second attempts can't collide.
        #[test]
        fn the_waits_after_glare_do_not_meet(seed in any::<u64>()) {
            let mut chance = Chance::from_number(seed);
            let (uac, uas) = (glare_wait(Role::Uac, &mut chance), glare_wait(Role::Uas, &mut chance));
            prop_assert!((2_100..=4_000).contains(&uac.as_millis()));
            prop_assert!(uas.as_millis() <= 2_000);
        }

        /// CSeq numbers that pass only ever grow.
        #[test]
        fn numbers_only_grow(numbers in proptest::collection::vec(1_u32..50, 1..40)) {
            let mut dialog = called();
            let mut last = 5;
            for number in numbers {
                let passed = dialog.receive(&request("INFO", number, "a", "b", "")).is_ok();
                prop_assert_eq!(passed, number > last);
                last = last.max(number);
            }
        }
    }
}
