//! Is the carrier there? OPTIONS (RFC 3261 §11), which keeps connections and address translations open
//! at the same time.

use sip::{Method, Name, NameAddrBuf, Request, Response, Status, Violation};

use super::registration::{Hop, aor};
use super::uri_of;
use crate::directory::Trunk;

/// An OPTIONS to the carrier itself. `call_id` and `tag` are random.
pub(super) fn request(
    trunk: &Trunk,
    hop: &Hop<'_>,
    call_id: &str,
    tag: &str,
) -> Result<Request, Violation> {
    let Hop { transport, sent_by, branch } = hop;
    let from = match trunk.account() {
        Some(account) => aor(trunk, account),
        None => format!("sip:{sent_by}"),
    };
    let parameter = transport.uri_parameter();
    let uri = uri_of(trunk);
    Request::builder(Method::Options, &uri)
        .via(transport.sip(), sent_by, branch)
        .max_forwards(70)
        .from(&NameAddrBuf::new(None, &from)?.with_tag(tag)?)
        .to(&NameAddrBuf::new(None, &uri)?)
        .call_id(call_id)
        .cseq(1)
        .contact(&NameAddrBuf::new(None, &format!("sip:{sent_by}{parameter}"))?)
        .header(Name::Accept, "application/sdp")
        .build()
}

/// Any answer shows somebody at work: many carriers refuse OPTIONS with 404, 405 or 403. 408 is a proxy
/// that reached nobody, 503 a server that takes no calls.
pub(super) fn is_alive(answer: &Response) -> bool {
    !matches!(answer.status(), Status::REQUEST_TIMEOUT | Status::SERVICE_UNAVAILABLE)
}
