//! nf_tables over netlink, as far as the table needs it: include/uapi/linux/netfilter/nf_tables.h.
//!
//! Messages are attributes within attributes: type, length, value, padded to four bytes. Written by hand,
//! because `netlink-packet-netfilter` has no words for limits, dynamic sets and counters: half of the table
//! would be raw attributes all the same, and this is less than what it brings along.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use guard::admission::Rate;
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, setsockopt,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::Ports;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Set {
    Trusted4,
    Trusted6,
    Banned4,
    Banned6,
    Strangers4,
    Strangers6,
    UdpPorts,
    TcpPorts,
}

/// Messages that take effect together or not at all.
#[derive(Default)]
pub(super) struct Batch(Vec<Message>);

/// One message without its sequence number.
struct Message {
    kind: u16,
    flags: u16,
    attributes: Bytes,
}

/// Of a set.
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    /// After which the kernel forgets it.
    pub(super) timeout: Option<Duration>,
}

/// The expressions of a rule.
#[derive(Default)]
pub(super) struct Rule(Bytes);

pub(super) enum Verdict {
    Accept,
    Drop,
    Goto(&'static str),
}

/// What a look at the table finds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Found {
    pub(super) rules: usize,
    pub(super) trusted: usize,
    /// Whose it is: two nodes of one host can't have the same ports.
    pub(super) ports: Ports,
    /// Packets, by every rule that counts.
    pub(super) dropped: u64,
}

impl Set {
    pub(super) const ALL: [Self; 8] = [
        Self::Trusted4,
        Self::Trusted6,
        Self::Banned4,
        Self::Banned6,
        Self::Strangers4,
        Self::Strangers6,
        Self::UdpPorts,
        Self::TcpPorts,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Trusted4 => "trusted4",
            Self::Trusted6 => "trusted6",
            Self::Banned4 => "banned4",
            Self::Banned6 => "banned6",
            Self::Strangers4 => "strangers4",
            Self::Strangers6 => "strangers6",
            Self::UdpPorts => "udp_ports",
            Self::TcpPorts => "tcp_ports",
        }
    }

    /// The type as `nft` shows it, and its bytes.
    fn key(self) -> (u32, u32) {
        match self {
            Self::Trusted4 | Self::Banned4 | Self::Strangers4 => (7, 4), // ipv4_addr
            Self::Trusted6 | Self::Banned6 | Self::Strangers6 => (8, 16), // ipv6_addr
            Self::UdpPorts | Self::TcpPorts => (13, 2),                  // inet_service
        }
    }

    fn flags(self) -> u32 {
        const TIMEOUT: u32 = 0x10;
        const EVAL: u32 = 0x20;
        match self {
            Self::Banned4 | Self::Banned6 => TIMEOUT,
            Self::Strangers4 | Self::Strangers6 => TIMEOUT | EVAL,
            Self::Trusted4 | Self::Trusted6 | Self::UdpPorts | Self::TcpPorts => 0,
        }
    }

    fn id(self) -> u32 {
        1 + self as u32
    }
}

impl Batch {
    pub(super) fn new_table(self) -> Self {
        self.message(NEW_TABLE, CREATE, |a| a.text(1, TABLE))
    }

    pub(super) fn delete_table(self) -> Self {
        self.message(DELETE_TABLE, 0, |a| a.text(1, TABLE))
    }

    pub(super) fn new_set(self, set: Set, size: usize) -> Self {
        let (kind, len) = set.key();
        self.message(NEW_SET, CREATE, |a| {
            a.text(1, TABLE).text(2, set.name()).be32(3, set.flags()).be32(4, kind).be32(5, len);
            a.nest(9, |a| a.be32(1, u32::try_from(size).unwrap_or(u32::MAX))).be32(10, set.id())
        })
    }

    pub(super) fn add(self, set: Set, elements: Vec<Element>) -> Self {
        elements.chunks(ELEMENTS_MAX).fold(self, |batch, chunk| {
            batch.message(NEW_ELEMENTS, CREATE, |a| {
                a.text(1, TABLE).text(2, set.name()).be32(4, set.id()).nest(3, |a| {
                    for Element { key, timeout } in chunk {
                        a.nest(LIST, |a| {
                            a.nest(1, |a| a.bytes(1, key));
                            if let Some(timeout) = timeout {
                                a.be64(4, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
                            }
                            a
                        });
                    }
                    a
                })
            })
        })
    }

    /// Removes an element, there or not: the kernel may have forgotten it, so it is added before.
    pub(super) fn remove(self, set: Set, key: &[u8]) -> Self {
        let element = |a: &mut Bytes| {
            a.text(1, TABLE).text(2, set.name());
            a.nest(3, |a| a.nest(LIST, |a| a.nest(1, |a| a.bytes(1, key))));
        };
        let batch = self.message(NEW_ELEMENTS, CREATE, |a| {
            element(a);
            a
        });
        batch.message(DELETE_ELEMENTS, 0, |a| {
            element(a);
            a
        })
    }

    pub(super) fn new_chain(self, name: &str) -> Self {
        self.message(NEW_CHAIN, CREATE, |a| a.text(1, TABLE).text(3, name))
    }

    /// The chain that packets come to. What no rule says anything about passes.
    pub(super) fn new_base_chain(self, name: &str) -> Self {
        const PREROUTING: u32 = 0;
        const RAW: i32 = -300;
        const ACCEPT: u32 = 1;
        self.message(NEW_CHAIN, CREATE, |a| {
            a.text(1, TABLE).text(3, name);
            a.nest(4, |a| a.be32(1, PREROUTING).bytes(2, &RAW.to_be_bytes()));
            a.be32(5, ACCEPT).text(7, "filter")
        })
    }

    pub(super) fn new_rule(self, chain: &str, rule: Rule) -> Self {
        self.message(NEW_RULE, CREATE | APPEND, |a| {
            a.text(1, TABLE).text(2, chain).nest(4, |a| {
                a.0.extend(&rule.0.0);
                a
            })
        })
    }

    fn message(
        mut self,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Bytes) -> &mut Bytes,
    ) -> Self {
        let mut attributes = Bytes::default();
        fill(&mut attributes);
        self.0.push(Message { kind: NFTABLES << 8 | kind, flags, attributes });
        self
    }

    /// The bytes, numbered from `first`, and the number of the message whose answer ends the exchange.
    fn print(&self, first: u32) -> (Vec<u8>, u32) {
        const BEGIN: u16 = 0x10;
        const END: u16 = 0x11;
        let empty = Bytes::default();
        let mut out = Vec::new();
        let mut sequence = first;
        print_message(&mut out, (BEGIN, 0), (UNSPECIFIED, NFTABLES), sequence, &empty);
        for (at, message) in (1..).zip(&self.0) {
            sequence += 1;
            let last = at == self.0.len();
            let flags = message.flags | if last { ACKNOWLEDGE } else { 0 };
            print_message(
                &mut out,
                (message.kind, flags),
                (INET, 0),
                sequence,
                &message.attributes,
            );
        }
        print_message(&mut out, (END, 0), (UNSPECIFIED, NFTABLES), sequence + 1, &empty);
        (out, sequence)
    }
}

impl Rule {
    /// The source address, of IPv4.
    pub(super) fn of_v4() -> Self {
        Self::default().meta(META_FAMILY).equals(&[IPV4]).payload(NETWORK, 12, 4)
    }

    /// The network of 64 bits that the source is in, of IPv6.
    pub(super) fn of_v6() -> Self {
        let mask = [[0xff; 8], [0; 8]].concat();
        let rule = Self::default().meta(META_FAMILY).equals(&[IPV6]).payload(NETWORK, 8, 16);
        rule.expression("bitwise", |a| {
            a.be32(1, REGISTER).be32(2, REGISTER).be32(3, 16);
            a.nest(4, |a| a.bytes(1, &mask)).nest(5, |a| a.bytes(1, &[0; 16]))
        })
    }

    /// To one of these ports.
    pub(super) fn to_port(protocol: u8, ports: Set) -> Self {
        let rule = Self::default().meta(META_PROTOCOL).equals(&[protocol]);
        rule.payload(TRANSPORT, 2, 2).lookup(ports)
    }

    /// What was loaded is in the set.
    pub(super) fn lookup(self, set: Set) -> Self {
        self.expression("lookup", |a| a.text(1, set.name()).be32(2, REGISTER).be32(4, set.id()))
    }

    /// What was loaded has come more often than this, each by itself. Nothing where the set is full.
    pub(super) fn over_each(self, set: Set, rate: Rate) -> Self {
        // Each packet puts the end off, so that a bucket lives for as long as its source goes on.
        const UPDATE: u32 = 1;
        let forgotten = u64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap_or(u64::MAX);
        self.expression("dynset", |a| {
            a.text(1, set.name())
                .be32(2, set.id())
                .be32(3, UPDATE)
                .be32(4, REGISTER)
                .be64(6, forgotten);
            a.nest(7, |a| a.text(1, "limit").nest(2, |a| limit(a, rate)))
        })
    }

    /// This rule was reached more often than this.
    pub(super) fn over(self, rate: Rate) -> Self {
        self.expression("limit", |a| limit(a, rate))
    }

    pub(super) fn counted(self, verdict: Verdict) -> Self {
        self.expression("counter", |a| a).verdict(verdict)
    }

    pub(super) fn verdict(self, verdict: Verdict) -> Self {
        const VERDICT_REGISTER: u32 = 0;
        const GOTO: i32 = -4;
        let (code, chain) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Goto(chain) => (GOTO, Some(chain)),
        };
        self.expression("immediate", |a| {
            a.be32(1, VERDICT_REGISTER).nest(2, |a| {
                a.nest(2, |a| {
                    a.bytes(1, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        a.text(2, chain);
                    }
                    a
                })
            })
        })
    }

    fn meta(self, key: u32) -> Self {
        self.expression("meta", |a| a.be32(1, REGISTER).be32(2, key))
    }

    fn equals(self, value: &[u8]) -> Self {
        const EQUAL: u32 = 0;
        self.expression("cmp", |a| {
            a.be32(1, REGISTER).be32(2, EQUAL).nest(3, |a| a.bytes(1, value))
        })
    }

    fn payload(self, base: u32, offset: u32, len: u32) -> Self {
        self.expression("payload", |a| {
            a.be32(1, REGISTER).be32(2, base).be32(3, offset).be32(4, len)
        })
    }

    fn expression(mut self, name: &str, fill: impl FnOnce(&mut Bytes) -> &mut Bytes) -> Self {
        self.0.nest(LIST, |a| a.text(1, name).nest(2, fill));
        self
    }
}

/// Matches what is above the rate.
fn limit(a: &mut Bytes, rate: Rate) -> &mut Bytes {
    const SECOND: u64 = 1;
    const PACKETS: u32 = 0;
    const OVER: u32 = 1;
    a.be64(1, rate.per_second.into()).be64(2, SECOND).be32(3, rate.burst);
    a.be32(4, PACKETS).be32(5, OVER)
}

/// Attributes, one behind the other.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(HEADER + value.len()).expect("a chunk of elements fits 16 bits");
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        self.bytes(kind, &[text.as_bytes(), &[0]].concat())
    }

    fn be32(&mut self, kind: u16, number: u32) -> &mut Self {
        self.bytes(kind, &number.to_be_bytes())
    }

    fn be64(&mut self, kind: u16, number: u64) -> &mut Self {
        self.bytes(kind, &number.to_be_bytes())
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self) -> &mut Self) -> &mut Self {
        const NESTED: u16 = 0x8000;
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(kind | NESTED, &inner.0)
    }
}

fn print_message(
    out: &mut Vec<u8>,
    (kind, flags): (u16, u16),
    (family, resource): (u8, u16),
    sequence: u32,
    attributes: &Bytes,
) {
    let len = u32::try_from(20 + attributes.0.len()).expect("a message is far below 4 GiB");
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend((flags | REQUEST).to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
    out.extend(&attributes.0);
}

/// A netlink socket.
pub(super) struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(super) fn open() -> Result<Self, Errno> {
        let socket = socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_SECONDS))?;
        // Whoever may make a table may have these too.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &BUFFER);
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
        Ok(Self { socket, sequence: 0 })
    }

    /// Carries out a batch, as a whole or not at all.
    pub(super) fn transact(&mut self, batch: Batch) -> Result<(), Errno> {
        if batch.0.is_empty() {
            return Ok(());
        }
        let first = self.sequence + 1;
        let (bytes, last) = batch.print(first);
        self.sequence = last + 1;
        socket::send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        self.answers(first, last, |_, _| {})
    }

    /// What of the table is there.
    pub(super) fn look(&mut self) -> Result<Found, Errno> {
        let mut found = Found::default();
        let mut table = Bytes::default();
        table.text(1, TABLE);
        self.dump(GET_RULES, &table, |kind, attributes| {
            let ours =
                attributes_of(attributes).any(|(kind, value)| kind == 1 && text_is(value, TABLE));
            if kind == NEW_RULE && ours {
                found.rules += 1;
                found.dropped += counted(attributes);
            }
        })?;
        for set in [Set::Trusted4, Set::Trusted6] {
            let mut table = table.clone();
            table.text(2, set.name());
            self.dump(GET_ELEMENTS, &table, |kind, attributes| {
                let lists =
                    attributes_of(attributes).filter(|(of, _)| kind == NEW_ELEMENTS && *of == 3);
                found.trusted += lists.flat_map(|(_, list)| attributes_of(list)).count();
            })?;
        }
        for (set, ports) in
            [(Set::UdpPorts, &mut found.ports.udp), (Set::TcpPorts, &mut found.ports.tcp)]
        {
            let mut table = table.clone();
            table.text(2, set.name());
            self.dump(GET_ELEMENTS, &table, |kind, attributes| {
                let lists =
                    attributes_of(attributes).filter(|(of, _)| kind == NEW_ELEMENTS && *of == 3);
                let elements = lists.flat_map(|(_, list)| attributes_of(list));
                ports.extend(elements.filter_map(|(_, element)| port_of(element)));
            })?;
        }
        Ok(found)
    }

    fn dump(
        &mut self,
        kind: u16,
        attributes: &Bytes,
        each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Errno> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        let head = (NFTABLES << 8 | kind, DUMP);
        print_message(&mut bytes, head, (INET, 0), self.sequence, attributes);
        socket::send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        self.answers(self.sequence, self.sequence, each)
    }

    /// Reads answers to the messages numbered from `first` to `last` until the last is answered.
    fn answers(
        &self,
        first: u32,
        last: u32,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Errno> {
        const ERROR: u16 = 2;
        const DONE: u16 = 3;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = socket::recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..len];
            while let Some((head, body, after)) = message(rest) {
                rest = after;
                // The end of what an earlier, failed batch was answered.
                if head.sequence < first || head.sequence > last {
                    continue;
                }
                match head.kind {
                    ERROR => {
                        let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        if code != 0 {
                            return Err(Errno::from_raw(-code));
                        }
                        if head.sequence == last {
                            return Ok(());
                        }
                    }
                    DONE => return Ok(()),
                    kind => each(kind & 0xff, body.get(4..).unwrap_or_default()),
                }
            }
        }
    }
}

struct Head {
    kind: u16,
    sequence: u32,
}

/// The first message of a datagram, its body, and what follows.
fn message(bytes: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let field =
        |at: usize| bytes.get(at..at + 4)?.first_chunk().map(|four| u32::from_ne_bytes(*four));
    let len = usize::try_from(field(0)?).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..6)?.first_chunk()?);
    let body = bytes.get(16..len)?;
    let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((Head { kind, sequence: field(8)? }, body, rest))
}

/// Each attribute: its type and its value.
fn attributes_of(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d] = *bytes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & 0x3fff, value))
    })
}

/// The key of an element of a set of ports.
fn port_of(element: &[u8]) -> Option<u16> {
    let mut keys = attributes_of(element).filter(|(kind, _)| *kind == 1);
    let (_, key) = keys.next()?;
    let mut values = attributes_of(key).filter(|(kind, _)| *kind == 1);
    values.next()?.1.first_chunk().map(|two| u16::from_be_bytes(*two))
}

/// Packets in the counters of a rule.
fn counted(rule: &[u8]) -> u64 {
    let expressions = attributes_of(rule).filter(|(kind, _)| *kind == 4);
    let expressions = expressions.flat_map(|(_, list)| attributes_of(list));
    let counters = expressions.filter(|(_, expression)| {
        attributes_of(expression).any(|(kind, name)| kind == 1 && text_is(name, "counter"))
    });
    let data = counters
        .flat_map(|(_, expression)| attributes_of(expression))
        .filter(|(kind, _)| *kind == 2);
    let packets = data.flat_map(|(_, data)| attributes_of(data)).filter(|(kind, _)| *kind == 2);
    packets
        .filter_map(|(_, value)| value.first_chunk().map(|eight| u64::from_be_bytes(*eight)))
        .sum()
}

fn text_is(value: &[u8], text: &str) -> bool {
    value.strip_suffix(&[0]) == Some(text.as_bytes())
}

const TABLE: &str = "ringfence";
const HEADER: usize = 4;
/// An element of a list of attributes.
const LIST: u16 = 1;
const REGISTER: u32 = 1;

const UNSPECIFIED: u8 = 0;
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

const NFTABLES: u16 = 10;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const GET_RULES: u16 = 7;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const GET_ELEMENTS: u16 = 13;
const DELETE_ELEMENTS: u16 = 14;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// A stranger's rate is full again after so long, and the set has room for others.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// Of one message: an attribute's length has 16 bits.
const ELEMENTS_MAX: usize = 1_000;
/// A table of 65,536 sources is 3 MiB on the way into the kernel.
const BUFFER: usize = 8 * 1024 * 1024;
/// The kernel answers within the call; this is for one that is in trouble.
const ANSWER_SECONDS: i64 = 5;
