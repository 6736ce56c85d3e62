//! Telephone events (RFC 4733): keys that were pressed.

use std::fmt;

/// A key: `0` to `9`, `*`, `#`, `A` to `D`.
///
/// People type PINs and card numbers with it, so `Debug` doesn't show which.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digit(u8);

impl Digit {
    /// RFC 4733 §3.2: event codes 0 to 15.
    pub fn from_event(event: u8) -> Option<Self> {
        (event < 16).then_some(Self(event))
    }

    pub fn event(self) -> u8 {
        self.0
    }

    pub fn from_char(key: char) -> Option<Self> {
        let key = u8::try_from(key.to_ascii_uppercase()).ok()?;
        let event = KEYS.iter().position(|&known| known == key)?;
        u8::try_from(event).ok().map(Self)
    }

    /// The key itself. Keep it out of logs.
    pub fn reveal(self) -> char {
        char::from(KEYS[usize::from(self.0)])
    }
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digit(..)")
    }
}

/// Turns the packets of telephone events into keys: each once, when it is first heard.
///
/// All packets of one key carry the timestamp of its beginning (RFC 4733 §2.3), so repeated, late and
/// lost ones, the end with its three copies among them, make no difference.
#[derive(Clone, Copy, Default)]
pub struct Decoder {
    last: Option<Heard>,
}

#[derive(Clone, Copy)]
struct Heard {
    event: u8,
    timestamp: u32,
    duration: u16,
}

impl Decoder {
    /// The key that begins with this packet, if one does. `payload` without padding; other events
    /// than keys (fax tones, flash) and cut payloads are nothing.
    pub fn decode(&mut self, timestamp: u32, payload: &[u8]) -> Option<Digit> {
        let &[event, _, high, low, ..] = payload else { return None };
        let duration = u16::from_be_bytes([high, low]);
        if let Some(last) = &mut self.last {
            let ahead = timestamp.wrapping_sub(last.timestamp);
            if ahead == 0 {
                last.duration = last.duration.max(duration);
                return None;
            }
            if ahead >= 1 << 31 {
                return None; // Of an earlier key.
            }
            // §2.5.1.3: a key held longer than the duration can count goes on in a new segment,
            // which begins where the last one ended.
            if event == last.event && last.duration == u16::MAX && ahead == u32::from(u16::MAX) {
                *last = Heard { event, timestamp, duration };
                return None;
            }
        }
        self.last = Some(Heard { event, timestamp, duration });
        Digit::from_event(event)
    }

    /// Another stream begins: its timestamps don't compare with the last one's.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoder(..)")
    }
}

/// The packets of one key, one for each packet time, the last three with the end bit (RFC 4733
/// §2.5.1.4). All have the timestamp at which the key went down.
#[derive(Clone, Debug)]
pub struct Press {
    digit: Digit,
    /// In timestamp units.
    step: u16,
    duration: u16,
    reached: u16,
    ends: u8,
}

/// What to put into one packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// On the first packet of a key.
    pub marker: bool,
    pub payload: [u8; 4],
}

impl Press {
    /// `step` and `duration` in timestamp units (160 and 1,600 are 20 and 200 ms at 8 kHz). A step
    /// of zero counts as one.
    pub fn new(digit: Digit, step: u16, duration: u16) -> Self {
        Self { digit, step: step.max(1), duration, reached: 0, ends: 0 }
    }
}

impl Iterator for Press {
    type Item = EventPacket;

    fn next(&mut self) -> Option<EventPacket> {
        if self.ends == END_COPIES {
            return None;
        }
        let marker = self.reached == 0;
        self.reached = self.reached.saturating_add(self.step).min(self.duration.max(1));
        let end = self.reached >= self.duration;
        self.ends += u8::from(end);
        let [high, low] = self.reached.to_be_bytes();
        let flags = VOLUME | if end { END_BIT } else { 0 };
        Some(EventPacket { marker, payload: [self.digit.event(), flags, high, low] })
    }
}

impl fmt::Debug for EventPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventPacket(..)")
    }
}

const END_BIT: u8 = 0x80;

/// RFC 4733 §2.5.1.4.
const END_COPIES: u8 = 3;

/// -10 dBm0, as telephones play it.
const VOLUME: u8 = 10;

/// In the order of their event codes.
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digit(key: char) -> Digit {
        Digit::from_char(key).unwrap()
    }

    #[test]
    fn keys_have_codes_and_hide() {
        for (event, key) in "0123456789*#ABCD".chars().enumerate() {
            assert_eq!(usize::from(digit(key).event()), event);
            assert_eq!(digit(key).reveal(), key);
            assert_eq!(format!("{:?}", digit(key)), "Digit(..)");
        }
        assert_eq!(Digit::from_char('d'), Digit::from_char('D'));
        assert_eq!((Digit::from_char('x'), Digit::from_event(16)), (None, None));
    }

    #[test]
    fn a_key_ends_three_times() {
        let packets: Vec<_> = Press::new(digit('5'), 160, 480).collect();
        let payloads: Vec<_> = packets.iter().map(|packet| packet.payload).collect();
        assert_eq!(
            payloads,
            [[5, 10, 0, 160], [5, 10, 1, 64], [5, 138, 1, 224], [5, 138, 1, 224], [5, 138, 1, 224]]
        );
        assert_eq!(packets.iter().filter(|packet| packet.marker).count(), 1);
    }

    #[test]
    fn a_long_key_is_one_key() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(100, &[1, 10, 0, 160]), Some(digit('1')));
        assert_eq!(decoder.decode(100, &[1, 10, 255, 255]), None);
        assert_eq!(decoder.decode(100 + 65_535, &[1, 10, 0, 160]), None);
        assert_eq!(decoder.decode(100 + 65_535 + 800, &[1, 10, 0, 160]), Some(digit('1')));
    }

    #[test]
    fn other_events_are_nothing() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(1, &[16, 10, 0, 160]), None);
        assert_eq!(decoder.decode(2, &[1, 10, 0]), None);
    }

    proptest! {
        /// Of each key at least one packet arrives; any may be lost or repeated.
        #[test]
        fn whatever_is_lost_or_repeated_a_key_is_heard_once(
            keys in proptest::collection::vec((0u8..16, any::<u16>()), 1..20),
            start in any::<u32>(),
        ) {
            let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
            for (n, (event, mask)) in keys.iter().enumerate() {
                let timestamp = start.wrapping_add(n as u32 * 1_600);
                let press = Press::new(Digit::from_event(*event).unwrap(), 160, 800);
                for (m, packet) in press.enumerate() {
                    let copies = if m == usize::from(mask & 7) % 7 { 1 } else { mask >> (2 * m) & 1 };
                    for _ in 0..copies * 2 {
                        heard.extend(decoder.decode(timestamp, &packet.payload));
                    }
                }
            }
            let heard: Vec<_> = heard.into_iter().map(Digit::event).collect();
            let keys: Vec<_> = keys.into_iter().map(|(event, _)| event).collect();
            prop_assert_eq!(heard, keys);
        }
    }
}
