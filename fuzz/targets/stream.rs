//! A stream gives the same frames however it is cut, and never holds more than its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::stream::{Frame, Framer};

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    let pieces = frames(stream, usize::from(cut).max(1));
    assert_eq!(whole, pieces, "cut every {cut} bytes");
});

fn frames(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let mut framer = Framer::new();
    let mut out = Vec::new();
    for piece in stream.chunks(step) {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(bytes))) => out.push(bytes.to_vec()),
                Ok(Some(Frame::Ping)) => out.push(b"ping".to_vec()),
                Ok(Some(Frame::Pong)) => out.push(b"pong".to_vec()),
                Ok(None) => break,
                Err(_) => return (out, true),
            }
        }
    }
    (out, false)
}
