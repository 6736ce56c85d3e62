//! The media of one leg: its ports in the relay, its keys, and what offer and answer agreed on.
//!
//! One audio stream crosses a call. What else a phone offers (video, fax, text) is answered with port
//! zero and never shown to the other leg. A description is read into [`Heard`], codecs cross as
//! [`Coded`] by name, and each leg's own description is written here from its own ports and keys:
//! address, keys, origin and attributes of one leg never reach the other.
//!
//! Encrypted or refused: a stream without an acceptable key is [`Unacceptable::NotEncrypted`] unless
//! the device's exception allows it, and the answer then says what it is.

use std::net::SocketAddr;
use std::time::Duration;

use pure::Chance;
use rtp::relay::{
    Codec, Command, EndpointConfig, EndpointId, Latch, Payload, Protection, RealmId as MediaRealm,
};
use rtp::sdes;
use rtp::srtp::{MasterKey, Suite};
use sip::sdp::{
    Crypto, Direction, Effective, Format, Key, Media as MediaLine, MediaKind, Origin, Proto, Rtcp,
    RtpMap, Secret, Session, SessionParam, Text, Word,
};

use guard::id::{LegId, RealmId};

/// A peer's description, judged: the one audio stream that we take.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Which of the media lines it is.
    line: usize,
    /// Kind, profile and formats of every line, so that the answer can refuse the others.
    lines: Vec<(MediaKind, Proto, Vec<Format>)>,
    proto: Proto,
    pub(crate) codecs: Vec<Coded>,
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    mux: bool,
    pub(crate) direction: Direction,
    /// Acceptable keys with the tags of their lines. Empty: audio in clear.
    keys: Vec<(u32, MasterKey)>,
    pub(crate) ptime: Option<u16>,
}

/// One codec under a leg's own payload number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Coded {
    number: u8,
    codec: Codec,
    encoding: &'static str,
    clock: u32,
    channels: Option<u8>,
    fmtp: Option<Text>,
}

/// Why a description can't be the media of a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unacceptable {
    /// No acceptable key: plain RTP, keys of a weak suite, or DTLS, which the relay does not speak.
    NotEncrypted,
    /// No audio, or no codec in common.
    NothingInCommon,
    Malformed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) endpoint: EndpointId,
    epoch: u32,
    pub(crate) ports: Ports,
    origin: u64,
    version: u64,
    /// Keys that we wrote into the description in force or on offer, with their tags.
    own: Vec<(u32, MasterKey)>,
    /// The codecs and direction of the offer that we made last.
    offered: Vec<Coded>,
    ours: Direction,
    pub(crate) agreed: Option<Agreed>,
    /// The description that we sent last, as it was printed.
    said: Option<Session>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ports {
    Asked,
    Open {
        rtp: SocketAddr,
        rtcp: SocketAddr,
    },
    Closing,
    /// Never opened, or closed and counted.
    Closed,
}

/// What both sides of a leg have said yes to.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Agreed {
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    mux: bool,
    protection: Protection,
    pub(crate) theirs: Direction,
    pub(crate) ours: Direction,
    pub(crate) codecs: Vec<Coded>,
}

impl Heard {
    /// Judges an offer. `plain` is the exception that allows audio in clear.
    pub(crate) fn offer(body: &[u8], plain: bool) -> Result<Self, Unacceptable> {
        let session = Session::parse(body).map_err(|_| Unacceptable::Malformed)?;
        let mut worst = Unacceptable::NothingInCommon;
        // Some phones offer one line with SRTP and one without: the encrypted one is taken.
        let mut in_clear = None;
        for (line, effective) in session.effective().enumerate() {
            match Self::line(&session, line, effective, &[]) {
                Ok(heard) if !heard.keys.is_empty() => return Ok(heard),
                Ok(heard) if plain => in_clear = in_clear.or(Some(heard)),
                Ok(_) => worst = Unacceptable::NotEncrypted,
                Err(Unacceptable::NotEncrypted) => worst = Unacceptable::NotEncrypted,
                Err(_) => {}
            }
        }
        in_clear.ok_or(worst)
    }

    /// Judges the answer to an offer of ours, which has one line.
    pub(crate) fn answer(body: &[u8], plain: bool, media: &Media) -> Result<Self, Unacceptable> {
        let session = Session::parse(body).map_err(|_| Unacceptable::Malformed)?;
        let Some(effective) = session.effective().next() else {
            return Err(Unacceptable::Malformed);
        };
        let heard = Self::line(&session, 0, effective, &media.offered)?;
        if heard.keys.is_empty() && !plain {
            return Err(Unacceptable::NotEncrypted);
        }
        Ok(heard)
    }

    fn line(
        session: &Session,
        line: usize,
        effective: Effective<'_>,
        offered: &[Coded],
    ) -> Result<Self, Unacceptable> {
        let media = effective.media;
        if media.kind != MediaKind::Audio || media.port == 0 || !media.proto.is_rtp() {
            return Err(Unacceptable::NothingInCommon);
        }
        let keys = keys(&media.crypto);
        if media.proto.is_dtls() || (media.proto.is_sdes() && keys.is_empty()) {
            return Err(Unacceptable::NotEncrypted);
        }
        let codecs: Vec<Coded> = media
            .formats
            .iter()
            .filter_map(|format| Coded::read(format, offered))
            .take(EndpointConfig::PAYLOADS_MAX)
            .collect();
        if !codecs.iter().any(Coded::is_audio) {
            return Err(Unacceptable::NothingInCommon);
        }
        let address = effective.connection().filter(|address| !address.is_unspecified());
        let rtcp_address = media.rtcp.and_then(|rtcp| rtcp.address).or(address);
        let rtcp_port = effective.rtcp_port().filter(|port| *port != 0);
        let mut direction = effective.direction();
        if address.is_none() {
            // The hold of RFC 2543: nowhere to send to means not to be sent to.
            direction = if direction.sends() { Direction::SendOnly } else { Direction::Inactive };
        }
        Ok(Self {
            line,
            lines: session
                .media
                .iter()
                .map(|line| (line.kind.clone(), line.proto.clone(), line.formats.clone()))
                .collect(),
            proto: media.proto.clone(),
            codecs,
            remote: address.map(|address| SocketAddr::new(address, media.port)),
            remote_rtcp: rtcp_address
                .zip(rtcp_port)
                .map(|(address, port)| SocketAddr::new(address, port)),
            mux: media.rtcp_mux,
            direction,
            keys,
            ptime: media.ptime,
        })
    }
}

impl Coded {
    fn read(format: &Format, offered: &[Self]) -> Option<Self> {
        let number = format.payload()?;
        let (name, clock, channels) = match &format.rtpmap {
            Some(map) => (map.encoding.as_str(), map.clock, map.channels),
            // An answerer may leave the name out where the number says it all: the number is ours.
            None => match offered.iter().find(|coded| coded.number == number) {
                Some(coded) => (coded.encoding, coded.clock, coded.channels),
                None => static_payload(number)?,
            },
        };
        let (codec, encoding) = codec(name)?;
        let fmtp = match codec {
            // What may be sent is the sixteen keys and the flash hook, whatever else was offered.
            Codec::TelephoneEvent => Text::new("0-16").ok(),
            _ => format.fmtp.clone(),
        };
        let channels = channels.filter(|channels| *channels > 1);
        Some(Self { number, codec, encoding, clock, channels, fmtp })
    }

    fn is_audio(&self) -> bool {
        !matches!(self.codec, Codec::TelephoneEvent | Codec::ComfortNoise)
    }

    /// The same codec, whatever its number.
    fn is(&self, other: &Self) -> bool {
        (self.codec, self.clock, self.channels) == (other.codec, other.clock, other.channels)
    }

    fn format(&self) -> Option<Format> {
        let encoding = Word::new(self.encoding).ok()?;
        let map = RtpMap { encoding, clock: self.clock, channels: self.channels };
        Some(Format::rtp(self.number, Some(map), self.fmtp.clone()))
    }

    /// What we offer where the caller left the offer to us: what every phone has.
    pub(crate) fn usual() -> Vec<Self> {
        let coded = |number, codec, encoding, fmtp| Self {
            number,
            codec,
            encoding,
            clock: 8_000,
            channels: None,
            fmtp,
        };
        vec![
            coded(0, Codec::Pcmu, "PCMU", None),
            coded(8, Codec::Pcma, "PCMA", None),
            coded(9, Codec::G722, "G722", None),
            coded(101, Codec::TelephoneEvent, "telephone-event", Text::new("0-16").ok()),
        ]
    }

    /// `wanted` of this list under its own numbers, in the order of `wanted`.
    pub(crate) fn pick(own: &[Self], wanted: &[Self]) -> Vec<Self> {
        wanted.iter().filter_map(|want| own.iter().find(|coded| coded.is(want))).cloned().collect()
    }

    /// Those with one of these names, in the names' order; events and comfort noise stay.
    pub(crate) fn only(codecs: Vec<Self>, names: &[String]) -> Vec<Self> {
        let named = |name: &String| {
            let of = |coded: &&Self| coded.is_audio() && coded.encoding.eq_ignore_ascii_case(name);
            codecs.iter().filter(of).cloned().collect::<Vec<_>>()
        };
        let mut only: Vec<Self> = names.iter().flat_map(named).collect();
        only.extend(codecs.iter().filter(|coded| !coded.is_audio()).cloned());
        only
    }

    /// The first audio codec and the telephone events beside it: what is offered to a caller who left
    /// the offer to us, so that both legs can only settle on the same one.
    pub(crate) fn first_of(answered: &[Self]) -> Vec<Self> {
        let first = answered.iter().find(|coded| coded.is_audio());
        let events = answered.iter().filter(|coded| {
            coded.codec == Codec::TelephoneEvent && first.is_some_and(|f| f.clock == coded.clock)
        });
        first.into_iter().chain(events).cloned().collect()
    }

    /// Whether every codec of `agreed` is among `offered`: then nothing changes for the other leg.
    pub(crate) fn covers(offered: &[Self], agreed: &[Self]) -> bool {
        agreed.iter().all(|want| offered.iter().any(|coded| coded.is(want)))
    }
}

impl Media {
    pub(crate) fn new(leg: LegId, chance: &mut Chance) -> Self {
        Self {
            endpoint: EndpointId(leg.0),
            epoch: 0,
            ports: Ports::Closed,
            // Some phones read it as a signed 64-bit number.
            origin: chance.u64() >> 2,
            version: 0,
            own: Vec::new(),
            offered: Vec::new(),
            ours: Direction::SendRecv,
            agreed: None,
            said: None,
        }
    }

    pub(crate) fn allocate(&mut self, realm: RealmId, tag: u64, urgent: bool) -> Command {
        self.epoch += 1;
        self.ports = Ports::Asked;
        let realm = MediaRealm(realm.0);
        Command::Allocate { endpoint: self.endpoint, epoch: self.epoch, realm, tag, urgent }
    }

    /// The command to close it, where anything is open.
    pub(crate) fn close(&mut self) -> Option<Command> {
        match self.ports {
            Ports::Asked | Ports::Open { .. } => {
                self.ports = Ports::Closing;
                Some(Command::Close { endpoint: self.endpoint })
            }
            Ports::Closing | Ports::Closed => None,
        }
    }

    /// The command that puts into force what was agreed; the epoch that [`rtp::relay::Event::Armed`]
    /// will name. `None` where nothing was agreed or no port is open.
    pub(crate) fn arm(
        &mut self,
        peer: Option<EndpointId>,
        silence_limit: Duration,
    ) -> Option<(u32, Command)> {
        let Ports::Open { .. } = self.ports else { return None };
        let agreed = self.agreed.as_ref()?;
        self.epoch += 1;
        let config = EndpointConfig {
            remote: agreed.remote,
            remote_rtcp: agreed.remote_rtcp,
            rtcp_mux: agreed.mux,
            protection: agreed.protection.clone(),
            send: agreed.theirs.receives() && agreed.ours.sends(),
            receive: agreed.theirs.sends() && agreed.ours.receives(),
            payloads: agreed
                .codecs
                .iter()
                .map(|coded| Payload {
                    number: coded.number,
                    codec: coded.codec,
                    clock: coded.clock,
                })
                .collect(),
            latch: Latch::Follow,
            peer,
            silence_limit: (!agreed.is_held()).then_some(silence_limit),
        };
        let command =
            Command::Arm { endpoint: self.endpoint, epoch: self.epoch, config: Box::new(config) };
        Some((self.epoch, command))
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// An offer of ours with these codecs. Keys in force are offered again, so that a phone that
    /// keeps its own keeps the stream; `suites` are offered the first time. `plain`: in clear, which
    /// the device's exception must allow.
    pub(crate) fn offer(
        &mut self,
        chance: &mut Chance,
        codecs: &[Coded],
        direction: Direction,
        ptime: Option<u16>,
        suites: &[Suite],
        plain: bool,
    ) -> Option<String> {
        if plain {
            self.own.clear();
        } else if self.own.is_empty() {
            self.own = (1..)
                .zip(suites)
                .map(|(tag, suite)| (tag, sdes::generate(chance, *suite)))
                .collect();
        }
        self.offered = codecs.to_vec();
        self.ours = direction;
        let proto = if plain { Proto::RtpAvp } else { Proto::RtpSavp };
        let mut line = self.line(codecs, proto, direction)?;
        line.ptime = ptime;
        line.rtcp_mux = true;
        self.describe(vec![line])
    }

    /// Our answer to what we heard, with these of its codecs, and agrees on it.
    pub(crate) fn answer(
        &mut self,
        chance: &mut Chance,
        heard: &Heard,
        codecs: &[Coded],
        direction: Direction,
        ptime: Option<u16>,
    ) -> Option<String> {
        let protection = match heard.keys.iter().max_by_key(|(_, key)| key.suite()) {
            Some((tag, theirs)) => {
                let own = self.key_to_answer(chance, theirs);
                self.own = vec![(*tag, own.clone())];
                Protection::Srtp { send: own, receive: theirs.clone() }
            }
            None => {
                self.own.clear();
                Protection::DangerousPlain
            }
        };
        self.ours = direction;
        let mut line = self.line(codecs, heard.proto.clone(), direction)?;
        line.ptime = ptime;
        line.rtcp_mux = heard.mux;
        let lines = heard.lines.iter().enumerate().map(|(index, (kind, proto, formats))| {
            if index == heard.line {
                line.clone()
            } else {
                MediaLine::new(kind.clone(), 0, proto.clone(), formats.clone())
            }
        });
        let text = self.describe(lines.collect())?;
        self.agreed = Some(Agreed::new(heard, protection, direction, codecs.to_vec(), heard.mux));
        Some(text)
    }

    /// Takes the answer to our offer.
    pub(crate) fn agree(&mut self, heard: &Heard) -> Result<(), Unacceptable> {
        let codecs = Coded::pick(&heard.codecs, &heard.codecs)
            .into_iter()
            .filter(|coded| self.offered.iter().any(|offered| offered.is(coded)))
            .collect::<Vec<_>>();
        if !codecs.iter().any(Coded::is_audio) {
            return Err(Unacceptable::NothingInCommon);
        }
        let protection = if heard.keys.is_empty() {
            Protection::DangerousPlain
        } else {
            // RFC 4568 §5.1.2: the answer has one line, with the tag and suite of the one it takes.
            let taken = heard.keys.iter().find_map(|(tag, theirs)| {
                let own = self
                    .own
                    .iter()
                    .find(|(own_tag, own)| own_tag == tag && own.suite() == theirs.suite())?;
                Some((own.clone(), theirs.clone()))
            });
            let Some((own, theirs)) = taken else { return Err(Unacceptable::NotEncrypted) };
            self.own = vec![own.clone()];
            Protection::Srtp { send: own.1, receive: theirs }
        };
        self.agreed = Some(Agreed::new(heard, protection, self.ours, codecs, heard.mux));
        Ok(())
    }

    /// The description in force, to be said again without a change (a session refresh).
    pub(crate) fn repeat(&self) -> Option<String> {
        self.said.as_ref().map(Session::print)
    }

    pub(crate) fn suite(&self) -> Option<Suite> {
        self.agreed.as_ref()?.protection.suite()
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.agreed.as_ref().is_some_and(|a| a.protection == Protection::DangerousPlain)
    }

    /// Whether what was heard asks for nothing new of the other leg: the same direction, and the
    /// codecs that are in use are still offered.
    pub(crate) fn changes_nothing_beyond(&self, heard: &Heard) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| {
            agreed.theirs == heard.direction && Coded::covers(&heard.codecs, &agreed.codecs)
        })
    }

    /// As long as the peer's key and the suite stay, so does ours: then nothing restarts. A new key
    /// of theirs gets a new one of ours, because phones that change theirs start counting anew.
    fn key_to_answer(&self, chance: &mut Chance, theirs: &MasterKey) -> MasterKey {
        if let Some(Agreed { protection: Protection::Srtp { send, receive }, .. }) = &self.agreed
            && receive == theirs
        {
            return send.clone();
        }
        sdes::generate(chance, theirs.suite())
    }

    fn line(&self, codecs: &[Coded], proto: Proto, direction: Direction) -> Option<MediaLine> {
        let Ports::Open { rtp, rtcp } = self.ports else { return None };
        let formats = codecs.iter().filter_map(Coded::format).collect();
        let mut line = MediaLine::new(MediaKind::Audio, rtp.port(), proto, formats);
        line.direction = Some(direction);
        if Some(rtcp.port()) != rtp.port().checked_add(1) {
            line.rtcp = Some(Rtcp { port: rtcp.port(), address: None });
        }
        line.crypto = self
            .own
            .iter()
            .filter_map(|(tag, key)| {
                let suite = sip::sdp::Suite::ALL
                    .into_iter()
                    .find(|suite| suite.as_str() == key.suite().name())?;
                let key_salt = Secret::new(key.reveal().to_vec());
                let keys = vec![Key { key_salt, lifetime: None, mki: None }];
                Some(Crypto { tag: *tag, suite, keys, params: Vec::new() })
            })
            .collect();
        Some(line)
    }

    /// Prints the session; its version moves when anything else did (RFC 3264 §8).
    fn describe(&mut self, media: Vec<MediaLine>) -> Option<String> {
        let address = match self.ports {
            Ports::Open { rtp, .. } => rtp.ip(),
            Ports::Asked | Ports::Closing | Ports::Closed => return None,
        };
        let session = |version: u64, media: Vec<MediaLine>| {
            let mut session = Session::new(Origin::new(self.origin, version, address));
            session.connection = Some(address);
            session.media = media;
            session
        };
        let unchanged = session(self.version, media.clone());
        if self.said.as_ref() != Some(&unchanged) {
            self.version += 1;
            self.said = Some(session(self.version, media));
        }
        self.said.as_ref().map(Session::print)
    }
}

impl Agreed {
    fn new(
        heard: &Heard,
        protection: Protection,
        ours: Direction,
        codecs: Vec<Coded>,
        mux: bool,
    ) -> Self {
        Self {
            remote: heard.remote,
            remote_rtcp: heard.remote_rtcp,
            mux,
            protection,
            theirs: heard.direction,
            ours,
            codecs,
        }
    }

    /// No audio is to flow in at least one direction.
    pub(crate) fn is_held(&self) -> bool {
        self.theirs != Direction::SendRecv || self.ours != Direction::SendRecv
    }
}

/// The keys that the relay can use, of suites that we accept.
fn keys(lines: &[Crypto]) -> Vec<(u32, MasterKey)> {
    let usable = lines.iter().filter(|line| {
        line.params.iter().all(|param| match param {
            // A hint about the window size needs nothing of us.
            SessionParam::Wsh(_) => true,
            // A rate of 2^0 is no re-derivation; others the relay doesn't do (RFC 3711 §4.3.1).
            SessionParam::Kdr(power) => *power == 0,
            SessionParam::UnencryptedSrtp
            | SessionParam::UnencryptedSrtcp
            | SessionParam::UnauthenticatedSrtp
            | SessionParam::Unknown(_) => false,
        })
    });
    usable
        .filter_map(|line| {
            let suite = Suite::from_name(line.suite.as_str()).filter(|s| *s >= SUITE_MIN)?;
            let [key] = line.keys.as_slice() else { return None };
            if key.mki.is_some() {
                return None;
            }
            Some((line.tag, MasterKey::new(suite, key.key_salt.expose()).ok()?))
        })
        .collect()
}

/// RFC 3551 §6: the numbers that need no name.
fn static_payload(number: u8) -> Option<(&'static str, u32, Option<u8>)> {
    Some(match number {
        0 => ("PCMU", 8_000, None),
        3 => ("GSM", 8_000, None),
        8 => ("PCMA", 8_000, None),
        9 => ("G722", 8_000, None),
        13 => ("CN", 8_000, None),
        18 => ("G729", 8_000, None),
        _ => return None,
    })
}

/// Names compare without case (RFC 4855 §3). A codec that isn't here is not offered on: packets pass
/// untouched, so all that is needed is a name that both legs mean the same thing by.
fn codec(name: &str) -> Option<(Codec, &'static str)> {
    let others = OTHERS.iter().zip(0..).map(|(name, index)| (Codec::Other(index), *name));
    NAMED.into_iter().chain(others).find(|(_, known)| known.eq_ignore_ascii_case(name))
}

const NAMED: [(Codec, &str); 7] = [
    (Codec::Pcmu, "PCMU"),
    (Codec::Pcma, "PCMA"),
    (Codec::G722, "G722"),
    (Codec::G729, "G729"),
    (Codec::Opus, "opus"),
    (Codec::ComfortNoise, "CN"),
    (Codec::TelephoneEvent, "telephone-event"),
];

const OTHERS: [&str; 9] =
    ["GSM", "speex", "iLBC", "L16", "AMR", "AMR-WB", "G726-32", "SILK", "EVS"];

/// Nothing below 80 bits of tag: with 32, one forged packet in four thousand million passes, and
/// phones that offer it offer the longer one as well.
const SUITE_MIN: Suite = Suite::AesCm128HmacSha1_80;
