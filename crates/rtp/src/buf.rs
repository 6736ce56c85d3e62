//! The memory one datagram lives in while it is relayed.
//!
//! A thread keeps as many of these as it receives in a batch and uses them for ever: the hot path
//! decrypts, rewrites and encrypts in place and allocates nothing.

use std::fmt;

/// A datagram of at most [`PacketBuf::RECEIVE_MAX`] bytes, with room behind it for the
/// authentication tag it will leave with.
pub struct PacketBuf {
    bytes: Box<[u8; Self::CAPACITY]>,
    start: usize,
    end: usize,
}

impl PacketBuf {
    /// The largest datagram that is relayed. An Ethernet frame carries 1,472 bytes of UDP payload;
    /// a larger one arrived in fragments, which no telephone sends as media.
    pub const RECEIVE_MAX: usize = 1_500;

    /// Room for the longest trailer we add (RFC 7714: 16 bytes of tag, 4 of SRTCP index).
    pub const TRAILER_MAX: usize = 32;

    const CAPACITY: usize = Self::RECEIVE_MAX + Self::TRAILER_MAX;

    pub fn new() -> Self {
        Self { bytes: Box::new([0; Self::CAPACITY]), start: 0, end: 0 }
    }

    /// Where the edge receives into: `RECEIVE_MAX + 1` bytes, so that a datagram which is too long
    /// shows itself by filling the last one. Call [`PacketBuf::received`] next.
    pub fn receive_area(&mut self) -> &mut [u8] {
        (self.start, self.end) = (0, 0);
        &mut self.bytes[..Self::RECEIVE_MAX + 1]
    }

    /// Says how many bytes were received. False where the datagram was longer than
    /// [`PacketBuf::RECEIVE_MAX`]: the buffer is then empty, and the datagram lost.
    #[must_use]
    pub fn received(&mut self, len: usize) -> bool {
        let fits = len <= Self::RECEIVE_MAX;
        (self.start, self.end) = (0, if fits { len } else { 0 });
        fits
    }

    /// Copies a datagram in. False, and empty, where it is too long.
    #[must_use]
    pub fn fill(&mut self, datagram: &[u8]) -> bool {
        let fits = self.received(datagram.len());
        if fits {
            self.bytes[..datagram.len()].copy_from_slice(datagram);
        }
        fits
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Cuts the end off; longer than the packet changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Cuts `len` bytes off the front; at most all of them.
    pub fn skip(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }

    /// Appends, or returns false and changes nothing where there is no room.
    #[must_use]
    pub fn extend(&mut self, tail: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(self.end..self.end + tail.len()) else { return false };
        room.copy_from_slice(tail);
        self.end += tail.len();
        true
    }
}

impl Default for PacketBuf {
    fn default() -> Self {
        Self::new()
    }
}

/// The length only: what is inside may be somebody's voice.
impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketBuf({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_datagram_is_lost_whole() {
        let mut buf = PacketBuf::new();
        assert_eq!(buf.receive_area().len(), PacketBuf::RECEIVE_MAX + 1);
        assert!(!buf.received(PacketBuf::RECEIVE_MAX + 1));
        assert!(buf.is_empty());
        assert!(!buf.fill(&[1; PacketBuf::RECEIVE_MAX + 1]));
        assert!(buf.fill(&[1; PacketBuf::RECEIVE_MAX]));
        assert!(buf.extend(&[2; PacketBuf::TRAILER_MAX]));
        assert!(!buf.extend(&[3]));
    }

    #[test]
    fn cuts_stay_inside() {
        let mut buf = PacketBuf::new();
        assert!(buf.fill(b"abcdef"));
        buf.skip(2);
        buf.truncate(3);
        assert_eq!(buf.as_slice(), b"cde");
        buf.truncate(9);
        buf.skip(9);
        assert!(buf.is_empty());
    }
}
