//! A stream gives the same frames however it is cut, holds no more than its bound, and a frame is
//! exactly the message that the parser reads: framing and parsing can't be played against each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::stream::{Frame, Framer};
use sip::{MESSAGE_MAX, Message, Violation};

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    for step in [usize::from(cut).max(1), 1] {
        assert_eq!(whole, frames(stream, step), "cut every {step} bytes");
    }
    for frame in &whole.0 {
        if let Frame::Message(bytes) = frame
            && let Ok(message) = Message::parse(bytes.clone())
        {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            let body = &bytes[head.expect("a message has an empty line") + 4..];
            assert_eq!(message.body(), body, "framer and parser see the same end");
        }
    }
});

fn frames(stream: &[u8], step: usize) -> (Vec<Frame>, Option<Violation>) {
    let mut framer = Framer::new();
    let mut out = Vec::new();
    for piece in stream.chunks(step) {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(frame)) => out.push(frame),
                Ok(None) => break,
                Err(fault) => {
                    assert_eq!((framer.pending(), framer.next()), (0, Err(fault)), "it is the end");
                    return (out, Some(fault));
                }
            }
        }
        assert!(framer.pending() <= MESSAGE_MAX, "{} bytes wait", framer.pending());
    }
    out.extend(framer.pong_if_pending());
    (out, None)
}
