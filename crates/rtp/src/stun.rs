//! STUN (RFC 8489) as far as an ICE-lite agent needs it (RFC 8445 §2.5, §7.3): binding requests are
//! read and answered, each only where its integrity was proved.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::PacketBuf;

/// Names a request and its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionId(pub [u8; 12]);

/// The four kinds of a binding message (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A binding message that is well-formed as a whole. Whether it is authentic says
/// [`Message::is_authentic`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    bytes: &'a [u8],
    pub class: Class,
    pub transaction: TransactionId,
    /// At most [`USERNAME_MAX`] bytes.
    pub username: Option<&'a str>,
    pub mapped: Option<SocketAddr>,
    /// RFC 8445 §7.1.2: the peer nominates this path.
    pub use_candidate: bool,
    /// A peer that says so must control, since we are lite (RFC 8445 §6.1.1).
    pub controlled: bool,
    /// The code of an error, 300 to 699.
    pub error: Option<u16>,
    /// The first attribute that must be understood and isn't (§14).
    pub unknown: Option<u16>,
    /// Where the integrity attribute begins.
    integrity: Option<usize>,
    /// Whether a fingerprint was there; a wrong one is malformed.
    pub fingerprint: bool,
}

/// Not a binding message, or one that contradicts itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Our half of an ICE session: the fragment that names it and the password that keys it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub fragment: String,
    pub password: String,
}

/// What an ICE-lite agent makes of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Silence: not STUN, not for us, or not authentic.
    Nothing,
    /// The buffer holds a response; send it to the source. `nominated`: the peer chose this path.
    Respond { nominated: bool },
}

impl<'a> Message<'a> {
    /// Reads a datagram. Strict: exact length, the magic cookie, each attribute inside, nothing after
    /// the integrity but a fingerprint, nothing after the fingerprint (RFC 8489 §14.5, §14.7).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER>().ok_or(Malformed)?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if len != rest.len() || !len.is_multiple_of(4) || header[4..8] != COOKIE.to_be_bytes() {
            return Err(Malformed);
        }
        let class = match u16::from_be_bytes([header[0], header[1]]) {
            0x0001 => Class::Request,
            0x0011 => Class::Indication,
            0x0101 => Class::Success,
            0x0111 => Class::Error,
            _ => return Err(Malformed),
        };
        let transaction = TransactionId(*header.last_chunk().ok_or(Malformed)?);
        let mut message = Self {
            bytes,
            class,
            transaction,
            username: None,
            mapped: None,
            use_candidate: false,
            controlled: false,
            error: None,
            unknown: None,
            integrity: None,
            fingerprint: false,
        };
        while let Some((&[k0, k1, l0, l1], behind)) = rest.split_first_chunk::<4>() {
            let at = bytes.len() - rest.len();
            let (kind, len) =
                (u16::from_be_bytes([k0, k1]), usize::from(u16::from_be_bytes([l0, l1])));
            let value = behind.get(..len).ok_or(Malformed)?;
            rest = behind.get(len.next_multiple_of(4)..).ok_or(Malformed)?;
            if message.fingerprint || (message.integrity.is_some() && kind != FINGERPRINT) {
                return Err(Malformed);
            }
            message.attribute(at, kind, value)?;
        }
        if rest.is_empty() { Ok(message) } else { Err(Malformed) }
    }

    fn attribute(&mut self, at: usize, kind: u16, value: &'a [u8]) -> Result<(), Malformed> {
        match kind {
            // §14: of a repeated attribute only the first counts; two names in one request are no
            // honest peer's.
            USERNAME if self.username.is_some() || value.len() > USERNAME_MAX => {
                return Err(Malformed);
            }
            USERNAME => self.username = Some(str::from_utf8(value).map_err(|_| Malformed)?),
            XOR_MAPPED_ADDRESS => {
                self.mapped = Some(read_address(value, self.transaction).ok_or(Malformed)?);
            }
            MESSAGE_INTEGRITY if value.len() == INTEGRITY_LEN => self.integrity = Some(at),
            FINGERPRINT => {
                let expected = crc32(&self.bytes[..at]) ^ FINGERPRINT_XOR;
                if value != expected.to_be_bytes() {
                    return Err(Malformed);
                }
                self.fingerprint = true;
            }
            USE_CANDIDATE if value.is_empty() => self.use_candidate = true,
            ICE_CONTROLLED if value.len() == 8 => self.controlled = true,
            ICE_CONTROLLING if value.len() == 8 => {}
            PRIORITY if value.len() == 4 => {}
            ERROR_CODE => {
                let &[_, _, class @ 3..=6, number @ 0..=99, ..] = value else {
                    return Err(Malformed);
                };
                self.error = Some(u16::from(class) * 100 + u16::from(number));
            }
            MESSAGE_INTEGRITY | USE_CANDIDATE | ICE_CONTROLLED | ICE_CONTROLLING | PRIORITY => {
                return Err(Malformed);
            }
            _ if kind < 0x8000 => self.unknown = self.unknown.or(Some(kind)),
            _ => {}
        }
        Ok(())
    }

    /// Whether the integrity attribute is there and right for this password (RFC 8489 §14.5), in
    /// constant time.
    pub fn is_authentic(&self, password: &str) -> bool {
        let Some(at) = self.integrity else { return false };
        let found = &self.bytes[at + 4..at + 4 + INTEGRITY_LEN];
        integrity(&self.bytes[..at], password).ct_eq(found).into()
    }
}

/// Whether a datagram on a media port is STUN rather than RTP (RFC 7983).
pub fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3)) && datagram.get(4..8) == Some(&COOKIE.to_be_bytes())
}

/// A binding request. `username` is `theirs:ours`; the password is the peer's (RFC 8445 §7.2.2).
/// False where it doesn't fit.
#[must_use]
pub fn request(
    transaction: TransactionId,
    username: &str,
    password: &str,
    packet: &mut PacketBuf,
) -> bool {
    username.len() <= USERNAME_MAX
        && begin(Class::Request, transaction, packet)
        && append(USERNAME, username.as_bytes(), packet)
        && finish(password, packet)
}

/// Keeps a NAT's binding open: an indication is never answered (RFC 8445 §11).
#[must_use]
pub fn keep_alive(transaction: TransactionId, packet: &mut PacketBuf) -> bool {
    begin(Class::Indication, transaction, packet) && append_fingerprint(packet)
}

/// Answers one datagram as an ICE-lite agent: a pure function of the datagram, its source and our
/// credentials. The response replaces the request in the buffer.
///
/// Stricter than RFC 8489 §9.1.3, which answers a request without integrity with 400 and a wrong one
/// with 401: here both meet silence, since a port answers nobody who hasn't proved that he knows the
/// password.
pub fn ice_lite(local: &Credentials, source: SocketAddr, packet: &mut PacketBuf) -> Answer {
    let Ok(message) = Message::parse(packet.as_slice()) else { return Answer::Nothing };
    let ours = message.username.and_then(|name| name.split_once(':')).map(|(ours, _)| ours);
    let known = ours.is_some_and(|ours| ours == local.fragment);
    if message.class != Class::Request || !known || !message.is_authentic(&local.password) {
        return Answer::Nothing;
    }
    let transaction = message.transaction;
    let error: Option<(u16, u16)> = match message.unknown {
        Some(attribute) => Some((420, attribute)),
        // Both ends lite is signalled otherwise; whoever is full controls us (RFC 8445 §6.1.1).
        None if message.controlled => Some((487, 0)),
        None => None,
    };
    let nominated = message.use_candidate && error.is_none();
    let built = match error {
        None => {
            let mut value = [0; 20];
            let len = write_address(source, transaction, &mut value);
            begin(Class::Success, transaction, packet)
                && append(XOR_MAPPED_ADDRESS, &value[..len], packet)
        }
        Some((code, attribute)) => {
            let [class, number] = [(code / 100) as u8, (code % 100) as u8];
            begin(Class::Error, transaction, packet)
                && append(ERROR_CODE, &[0, 0, class, number], packet)
                && (code != 420 || append(UNKNOWN_ATTRIBUTES, &attribute.to_be_bytes(), packet))
        }
    };
    if built && finish(&local.password, packet) {
        Answer::Respond { nominated }
    } else {
        Answer::Nothing
    }
}

fn begin(class: Class, transaction: TransactionId, packet: &mut PacketBuf) -> bool {
    let kind: u16 = match class {
        Class::Request => 0x0001,
        Class::Indication => 0x0011,
        Class::Success => 0x0101,
        Class::Error => 0x0111,
    };
    packet.clear();
    packet.extend(&kind.to_be_bytes())
        && packet.extend(&[0, 0])
        && packet.extend(&COOKIE.to_be_bytes())
        && packet.extend(&transaction.0)
}

/// Appends an attribute and counts it in the header, as integrity and fingerprint demand.
fn append(kind: u16, value: &[u8], packet: &mut PacketBuf) -> bool {
    let Ok(len) = u16::try_from(value.len()) else { return false };
    let padding = &[0; 3][..value.len().next_multiple_of(4) - value.len()];
    let fits = packet.extend(&kind.to_be_bytes())
        && packet.extend(&len.to_be_bytes())
        && packet.extend(value)
        && packet.extend(padding);
    let body = packet.len() - HEADER;
    packet.as_mut_slice()[2..4].copy_from_slice(&(body as u16).to_be_bytes());
    fits
}

fn finish(password: &str, packet: &mut PacketBuf) -> bool {
    let tag = integrity(packet.as_slice(), password);
    append(MESSAGE_INTEGRITY, &tag, packet) && append_fingerprint(packet)
}

fn append_fingerprint(packet: &mut PacketBuf) -> bool {
    // The checksum covers a length that counts the fingerprint itself (§14.7).
    if !append(FINGERPRINT, &[0; 4], packet) {
        return false;
    }
    let end = packet.len() - 8;
    let sum = crc32(&packet.as_slice()[..end]) ^ FINGERPRINT_XOR;
    packet.as_mut_slice()[end + 4..].copy_from_slice(&sum.to_be_bytes());
    true
}

/// HMAC-SHA1 over what stands before the attribute, with a length that counts the attribute (§14.5).
fn integrity(before: &[u8], password: &str) -> [u8; INTEGRITY_LEN] {
    let len = (before.len() - HEADER + 4 + INTEGRITY_LEN) as u16;
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).expect("HMAC takes any key");
    mac.update(&before[..2]);
    mac.update(&len.to_be_bytes());
    mac.update(&before[4..]);
    mac.finalize().into_bytes().into()
}

fn read_address(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([p0, p1]) ^ (COOKIE >> 16) as u16;
    let mask = mask(transaction);
    let ip = match (family, address.len()) {
        (1, 4) => {
            let bits = u32::from_be_bytes(*address.first_chunk()?) ^ COOKIE;
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        (2, 16) => {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(*address.first_chunk()?) ^ mask))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn write_address(address: SocketAddr, transaction: TransactionId, out: &mut [u8; 20]) -> usize {
    let port = address.port() ^ (COOKIE >> 16) as u16;
    out[2..4].copy_from_slice(&port.to_be_bytes());
    // A socket for both families shows IPv4 peers as mapped; the peer knows its IPv4 address.
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out[1] = 1;
            out[4..8].copy_from_slice(&(ip.to_bits() ^ COOKIE).to_be_bytes());
            8
        }
        IpAddr::V6(ip) => {
            out[1] = 2;
            out[4..20].copy_from_slice(&(ip.to_bits() ^ mask(transaction)).to_be_bytes());
            20
        }
    }
}

fn mask(transaction: TransactionId) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction.0);
    u128::from_be_bytes(mask)
}

/// The CRC of ITU-T V.42, a nibble at a time: messages are short and rare.
fn crc32(bytes: &[u8]) -> u32 {
    let step =
        |sum: u32| (0..4).fold(sum, |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()));
    !bytes.iter().fold(!0, |sum: u32, &byte| step(step(sum ^ u32::from(byte))))
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("class", &self.class).finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_a442;
const INTEGRITY_LEN: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// RFC 8489 §14.3: less than 509 bytes. Two ICE fragments of at most 256 and a colon would be 513;
/// nobody's are longer than 32.
pub const USERNAME_MAX: usize = 508;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| c.to_digit(16).unwrap() as u8)
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn local() -> Credentials {
        Credentials { fragment: "evtj".into(), password: PASSWORD.into() }
    }

    /// RFC 5769 §2.1.
    fn sample() -> Vec<u8> {
        hex("000100582112a442b7e7a701bc34d686fa87dfae
             802200105354554e207465737420636c69656e74
             002400046e0001ff80290008932ff9b151263b36
             000600096576746a3a68367659202020
             000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
             80280004e57a3bcf")
    }

    fn buffer(bytes: &[u8]) -> PacketBuf {
        let mut packet = PacketBuf::new();
        assert!(packet.fill(bytes));
        packet
    }

    const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 32_853);

    #[test]
    fn rfc_5769_2_1_request() {
        let bytes = sample();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class, message.username), (Class::Request, Some("evtj:h6vY")));
        assert!(message.controlled && message.fingerprint && message.unknown.is_none());
        assert!(message.is_authentic(PASSWORD) && !message.is_authentic("other"));
    }

    #[test]
    fn rfc_5769_2_2_address() {
        let transaction = TransactionId(*sample()[8..].first_chunk().unwrap());
        let value = hex("0001a147e112a643");
        assert_eq!(read_address(&value, transaction), Some(SOURCE));
        let mut written = [0; 20];
        assert_eq!(write_address(SOURCE, transaction, &mut written), 8);
        assert_eq!(written[..8], value);
    }

    #[test]
    fn an_honest_request_is_answered() {
        for source in ["192.0.2.1:32853", "[2001:db8::9]:4000", "[::ffff:192.0.2.1]:32853"] {
            let source: SocketAddr = source.parse().unwrap();
            let mut packet = PacketBuf::new();
            let transaction = TransactionId([7; 12]);
            assert!(request(transaction, "evtj:them", PASSWORD, &mut packet));
            assert!(is_stun(packet.as_slice()));
            let answer = ice_lite(&local(), source, &mut packet);
            assert_eq!(answer, Answer::Respond { nominated: false });
            let message = Message::parse(packet.as_slice()).unwrap();
            assert_eq!((message.class, message.transaction), (Class::Success, transaction));
            let canonical = SocketAddr::new(source.ip().to_canonical(), source.port());
            assert_eq!(message.mapped, Some(canonical));
            assert!(message.is_authentic(PASSWORD) && message.fingerprint);
        }
    }

    #[test]
    fn nomination_roles_and_unknown_attributes() {
        let check = |kind: u16, value: &[u8]| {
            let mut packet = PacketBuf::new();
            assert!(begin(Class::Request, TransactionId([1; 12]), &mut packet));
            assert!(append(USERNAME, b"evtj:them", &mut packet));
            assert!(append(kind, value, &mut packet) && finish(PASSWORD, &mut packet));
            let answer = ice_lite(&local(), SOURCE, &mut packet);
            let message = Message::parse(packet.as_slice()).unwrap();
            (answer, message.class, message.error)
        };
        let respond = |nominated| Answer::Respond { nominated };
        assert_eq!(check(USE_CANDIDATE, &[]), (respond(true), Class::Success, None));
        assert_eq!(check(ICE_CONTROLLING, &[0; 8]), (respond(false), Class::Success, None));
        assert_eq!(check(ICE_CONTROLLED, &[0; 8]), (respond(false), Class::Error, Some(487)));
        assert_eq!(check(0x7777, &[1]), (respond(false), Class::Error, Some(420)));
        assert_eq!(check(0xf777, &[1]), (respond(false), Class::Success, None));
    }

    #[test]
    fn strangers_meet_silence() {
        let silent = |packet: &mut PacketBuf| {
            assert_eq!(ice_lite(&local(), SOURCE, packet), Answer::Nothing);
        };
        let mut packet = PacketBuf::new();
        assert!(request(TransactionId([7; 12]), "evtj:them", "wrong", &mut packet));
        silent(&mut packet);
        assert!(request(TransactionId([7; 12]), "other:them", PASSWORD, &mut packet));
        silent(&mut packet);
        assert!(keep_alive(TransactionId([7; 12]), &mut packet));
        silent(&mut packet);
        assert!(begin(Class::Request, TransactionId([1; 12]), &mut packet));
        assert!(append(USERNAME, b"evtj:them", &mut packet) && append_fingerprint(&mut packet));
        silent(&mut packet);
        assert!(!request(TransactionId([7; 12]), &"x".repeat(509), PASSWORD, &mut packet));
    }

    #[test]
    fn nothing_may_follow_the_integrity() {
        let mut packet = PacketBuf::new();
        assert!(request(TransactionId([7; 12]), "evtj:them", PASSWORD, &mut packet));
        packet.truncate(packet.len() - 8);
        assert!(append(USE_CANDIDATE, &[], &mut packet));
        assert_eq!(Message::parse(packet.as_slice()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn changed_and_cut_messages_are_refused(at in 0usize..108, bit in 0u8..8) {
            let mut bytes = sample();
            prop_assert!(Message::parse(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(Message::parse(&bytes).is_err());
        }

        #[test]
        fn no_bytes_panic_and_none_are_answered(kind in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut packet = PacketBuf::new();
            prop_assert!(begin(Class::Request, TransactionId([1; 12]), &mut packet));
            prop_assert!(append(kind, &body, &mut packet));
            let _ = Message::parse(packet.as_slice());
            prop_assert_eq!(ice_lite(&local(), SOURCE, &mut packet), Answer::Nothing);
            let mut packet = buffer(&body);
            prop_assert_eq!(ice_lite(&local(), SOURCE, &mut packet), Answer::Nothing);
        }
    }
}
