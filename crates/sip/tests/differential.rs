//! Our judgement beside that of another parser, over the torture messages and messages made of them.

mod common;
mod oracle;

use bytes::Bytes;
use std::collections::BTreeMap;

/// Some two seconds. `fuzz/run 600 differential` goes on from there.
const MESSAGES: u32 = 60_000;

#[test]
fn every_disagreement_is_explained() {
    let corpus: Vec<Bytes> = corpus();
    let mut unexplained: BTreeMap<String, Bytes> = BTreeMap::new();
    let mut mutator = common::Mutator::new(1);
    let made = (0..MESSAGES).map(|_| mutator.next(&corpus));
    for bytes in corpus.iter().cloned().chain(made) {
        if let Some(what) = oracle::disagreement(&bytes) {
            unexplained.entry(what).or_insert(bytes);
        }
    }
    for (what, bytes) in &unexplained {
        println!("{what}:\n{}\n", bytes.escape_ascii());
    }
    assert!(unexplained.is_empty(), "{} kinds of disagreement", unexplained.len());
}

/// A row of a table that nothing shows any more would hide the next difference of its name.
#[test]
fn every_explanation_is_needed() {
    for reason in oracle::WE_REFUSE.iter().chain(oracle::THEY_REFUSE) {
        let name = reason.fault;
        assert!(!reason.why.is_empty());
        assert_eq!(oracle::refusal(&example(reason.example)), Some(name.to_owned()), "{name}");
    }
    for reading in oracle::READ_DIFFERENTLY {
        assert!(!reading.why.is_empty());
        let read = oracle::read_differently(&example(reading.example));
        assert_eq!(read, [reading.field], "{}", reading.example);
    }
}

fn corpus() -> Vec<Bytes> {
    common::all().map(|(_, bytes)| bytes).chain(common::plain()).collect()
}

/// A request that nobody objects to, with this row in place of its like: a header, or a start line and what its CSeq
/// has to be then.
fn example(row: &str) -> Bytes {
    let mut rows = vec![
        "OPTIONS sip:b@example.com SIP/2.0",
        "Via: SIP/2.0/UDP h.example.com;branch=z9hG4bKa",
        "From: <sip:a@example.com>;tag=1",
        "To: <sip:b@example.com>",
        "Call-ID: c@example.com",
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 70",
    ];
    let name = row.split(':').next();
    if row.contains("SIP/2.0") && !row.starts_with("Via") {
        let (start, cseq) = row.split_once('\n').unwrap_or((row, rows[5]));
        (rows[0], rows[5]) = (start, cseq);
        if row.starts_with("INVITE") {
            rows[5] = "CSeq: 1 INVITE";
        }
    } else {
        rows.retain(|r| r.split(':').next() != name);
        rows.push(row);
    }
    let text = rows.join("\n").replace('\n', "\r\n") + "\r\nContent-Length: 0\r\n\r\n";
    let bytes = text.into_bytes();
    // A byte that is no UTF-8, where an example shows one.
    match bytes.windows(3).position(|w| w == "\u{fffd}".as_bytes()) {
        Some(at) => [&bytes[..at], b"\xff", &bytes[at + 3..]].concat().into(),
        None => bytes.into(),
    }
}
