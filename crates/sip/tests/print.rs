//! What we print of a message that we took is taken again and says the same, and printing that changes
//! nothing more.

mod common;
mod oracle;

use bytes::Bytes;
use sip::{Message, Name, Request, Response, Transport, Violation};

/// Some seconds.
const MESSAGES: u32 = 60_000;

#[test]
fn print_of_parse_says_the_same() {
    let corpus: Vec<Bytes> = common::all().map(|(_, bytes)| bytes).chain(common::plain()).collect();
    let mut mutator = common::Mutator::new(2);
    let made = (0..MESSAGES).map(|_| mutator.next(&corpus));
    let (mut taken, mut built) = (0, 0);
    for bytes in corpus.iter().cloned().chain(made) {
        let Ok(message) = Message::parse(bytes.clone()) else { continue };
        taken += 1;
        as_judged(&bytes, &message);
        if let Message::Request(request) = &message {
            with_another_via(request);
            built += u32::from(built_anew(request));
        }
    }
    // The mutations are no proof of anything if most of them are refused.
    assert!(taken > MESSAGES / 8, "{taken} of {MESSAGES} were taken");
    assert!(built > MESSAGES / 16, "{built} of {MESSAGES} were built");
}

/// The bytes as we keep them: folds joined, nothing behind the body.
fn as_judged(bytes: &Bytes, message: &Message) {
    let kept = message.as_bytes();
    assert_eq!(oracle::ours(kept), oracle::ours(bytes));
    let again = Message::parse(kept.clone()).expect("what was taken is taken");
    assert_eq!(again.as_bytes(), kept, "printing is idempotent");
}

/// Every row printed by us, with a Via on top that is taken off again.
fn with_another_via(request: &Request) {
    let more = match request.with_top_via(Transport::Tls, "pbx.example.com", "z9hG4bKmore") {
        Ok(more) => more,
        // There was room for the message, and none for one row more.
        Err(fault) => return assert!(is_full(fault), "{fault:?}"),
    };
    let back = more.without_top_via().expect("it has two");
    assert_eq!(oracle::ours(back.as_bytes()), oracle::ours(request.as_bytes()));
    let again =
        back.with_top_via(Transport::Tls, "pbx.example.com", "z9hG4bKmore").expect("as before");
    assert_eq!(again.as_bytes(), more.as_bytes(), "printing is idempotent");
}

/// The message as a builder of ours makes it out of its parts. False where a builder makes none like it.
fn built_anew(request: &Request) -> bool {
    let headers = request.headers();
    let mut builder = Request::builder(request.method(), request.uri().as_str());
    for (id, name, value) in headers.rows() {
        builder = match id {
            Name::ContentLength | Name::ContentType => builder,
            Name::Other => builder.other(name, value),
            id => builder.header(id, value),
        };
    }
    match headers.content_type() {
        Some(kind) => builder = builder.body(kind, request.body().clone()),
        // A builder writes no body without saying what it is.
        None if !request.body().is_empty() => return false,
        None => {}
    }
    let built = match builder.build() {
        Ok(built) => built,
        Err(fault) => {
            let escaped = headers.rows().any(|(_, _, value)| value.chars().any(char::is_control));
            let control = fault == Violation::ControlCharacter && escaped;
            assert!(control || is_full(fault), "{fault:?} of {request:?}");
            return false;
        }
    };
    let mut said = oracle::ours(built.as_bytes()).expect("our own");
    let mut meant = oracle::ours(request.as_bytes()).expect("it was taken");
    said.sort();
    meant.sort();
    assert_eq!(said, meant);
    // An answer to it copies what it must, whatever that is.
    let answer = Response::builder(&built, sip::Status::OK).to_tag("t").build().expect("sound");
    assert_eq!(answer.headers().call_id(), headers.call_id());
    assert_eq!(answer.headers().vias().count(), headers.vias().count());
    true
}

fn is_full(fault: Violation) -> bool {
    matches!(
        fault,
        Violation::TooManyHeaders | Violation::TooManyElements | Violation::MessageTooLong
    )
}
