//! Offer and answer (RFC 3264): who may describe the session now, and what both descriptions mean.
//!
//! One [`OfferAnswer`] belongs to one dialog. It follows which messages carry an offer or an answer
//! (RFC 3261 §13.2.1, RFC 3311, RFC 3262, RFC 6337), prints our descriptions with their `o=` version, and
//! reads the peer's audio into a [`MediaDescription`] ([`media`]). It negotiates one audio stream; every
//! further `m=` line is answered with port 0 and keeps its place for good (§8).

pub mod media;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use pure::Chance;

pub use self::media::{Codec, Coding, MediaDescription, Security, TelephoneEvent};
use crate::Status;
use crate::sdp::{
    Crypto, Direction, Fingerprint, Format, Key, Media, MediaKind, Origin, Proto, Rtcp, RtpMap,
    Secret, Session, Setup, Suite, Word,
};

/// The negotiation of one dialog.
#[derive(Clone, Debug)]
pub struct OfferAnswer {
    state: State,
    session_id: u64,
    /// The version of the next description.
    version: u64,
    /// Our last description, whether agreed or only offered.
    local: Option<Session>,
    /// Our last agreed one: what holds again when an offer is refused (RFC 3261 §14.1).
    agreed: Option<Session>,
}

/// Where the negotiation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing described yet.
    Fresh,
    /// An INVITE without an offer went out or came: `offerer`, who was invited, offers in the 2xx or a
    /// reliable provisional.
    Solicited { offerer: Side, before: Before },
    /// An offer waits for its answer.
    Offered { by: Side, before: Before },
    /// Both sides are described.
    Stable,
}

/// What holds when the exchange under way fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Before {
    Nothing,
    Agreement,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Local,
    Remote,
}

/// The message that has (or lacks) a session description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    Invite,
    /// 101 to 199 to an INVITE; reliable with Require: 100rel (RFC 3262).
    Provisional {
        reliable: bool,
    },
    /// 2xx to an INVITE.
    Success,
    /// ACK of that 2xx.
    Ack,
    /// RFC 3311.
    Update,
    /// RFC 3262.
    Prack,
    /// 2xx to an UPDATE or PRACK.
    RequestSuccess,
}

/// What a description is, given where the negotiation stood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// No description, and none was due.
    Nothing,
    Offer,
    Answer,
    /// The answer to come, shown in an unreliable provisional: good for early media, binding nobody.
    Preview,
    /// The answer given before, said again: to be ignored (RFC 6337 §3.1).
    Repeated,
}

/// Why a description can't stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// An offer while one of ours waits: 491 (RFC 3261 §14.2).
    Glare,
    /// An offer while one of theirs waits: 500 (RFC 3261 §14.2, RFC 3311 §5.2).
    TooSoon,
    /// A description where none may stand, or none where one must.
    OutOfPlace,
    /// No audio line that is open and RTP.
    NoAudio,
    /// No codec that both sides have.
    NoCommonCodec,
    /// SRTP asked for, with no `crypto` line or fingerprint that can be used.
    NoUsableKeys,
    /// Keys of both sides, and no suite in common with our preference.
    NoCommonSuite,
    /// Plain RTP where our side demands SRTP, or another protection than the one offered.
    OtherSecurity,
    /// The answer has not the offer's `m=` lines, one for one (RFC 3264 §6).
    OtherLines,
    /// The answer's profile is not the offer's.
    OtherProfile,
    /// The answer names a `crypto` tag or suite that was not offered (RFC 4568 §5.1.3).
    OtherCrypto,
    /// `a=setup` that leaves the roles open, or is no role at all (RFC 5763 §5).
    NoRole,
}

/// Our end of the stream, for one offer or answer.
#[derive(Clone, Debug)]
pub struct Local {
    pub rtp: SocketAddr,
    /// Offer RTCP on the RTP port, or accept it where it is offered (RFC 5761 §5.1.1).
    pub rtcp_mux: bool,
    /// What we are willing to send and receive.
    pub direction: Direction,
    /// Milliseconds.
    pub ptime: Option<u16>,
    pub protection: Protection,
}

/// What protects the stream on our side. In an answer it is what we accept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Suites by preference; all are offered, one is answered.
    Sdes(Vec<Suite>),
    /// Our certificate. Our offers say `actpass`; to one we answer `passive` where we may choose: the phone
    /// behind a NAT speaks first.
    Dtls(Fingerprint),
    /// No protection. The caller's policy must have allowed it.
    DangerousPlain,
}

/// What both sides agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// As the remote side described itself, with only the common codecs.
    pub remote: MediaDescription,
    pub keys: Keys,
    /// What flows, seen from us.
    pub direction: Direction,
    /// RTCP shares the port of RTP.
    pub rtcp_mux: bool,
}

/// What protects the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keys {
    /// One suite; each side encrypts with its own key.
    Sdes {
        suite: Suite,
        local: Secret,
        remote: Secret,
    },
    Dtls {
        remote: Vec<Fingerprint>,
        role: DtlsRole,
    },
    Plain,
}

/// Who begins the handshake (RFC 5763 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtlsRole {
    /// We do: `active`.
    Client,
    /// They do: we are `passive`.
    Server,
}

impl Refusal {
    pub fn status(self) -> Status {
        match self {
            Self::Glare => Status::REQUEST_PENDING,
            Self::TooSoon => Status::SERVER_INTERNAL_ERROR,
            Self::OutOfPlace => Status::BAD_REQUEST,
            Self::NoAudio
            | Self::NoCommonCodec
            | Self::NoUsableKeys
            | Self::NoCommonSuite
            | Self::OtherSecurity
            | Self::OtherLines
            | Self::OtherProfile
            | Self::OtherCrypto
            | Self::NoRole => Status::NOT_ACCEPTABLE_HERE,
        }
    }
}

impl OfferAnswer {
    /// `session_id` goes into `o=` (RFC 8866 §5.2): unique for this host, and best below 2^62, since some
    /// peers count in signed numbers.
    pub fn new(session_id: u64) -> Self {
        Self { state: State::Fresh, session_id, version: 1, local: None, agreed: None }
    }

    /// After a restart or a takeover, from our last agreed description.
    pub fn restore(local: Session) -> Self {
        Self {
            state: State::Stable,
            session_id: local.origin.session_id,
            version: local.origin.version.saturating_add(1),
            local: Some(local.clone()),
            agreed: Some(local),
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Our last description, for a snapshot or to be sent again.
    pub fn local(&self) -> Option<&Session> {
        self.local.as_ref()
    }

    /// Whether an offer of ours may leave now in a request.
    pub fn may_offer(&self) -> bool {
        match self.state {
            State::Fresh | State::Stable => true,
            State::Solicited { .. } | State::Offered { .. } => false,
        }
    }

    /// Notes a message that leaves (`from` is `Local`) or has come (`Remote`), and says what its
    /// description is.
    ///
    /// # Errors
    /// [`Refusal::Glare`], [`Refusal::TooSoon`] or [`Refusal::OutOfPlace`]; the state is unchanged.
    pub fn pass(
        &mut self,
        from: Side,
        carrier: Carrier,
        described: bool,
    ) -> Result<Meaning, Refusal> {
        let before = match self.state {
            State::Fresh => Before::Nothing,
            State::Stable => Before::Agreement,
            State::Solicited { before, .. } | State::Offered { before, .. } => before,
        };
        let (state, meaning) = match self.state {
            State::Fresh | State::Stable => match (carrier, described) {
                (Carrier::Invite | Carrier::Update | Carrier::Prack, true) => {
                    (State::Offered { by: from, before }, Meaning::Offer)
                }
                (Carrier::Invite, false) => {
                    (State::Solicited { offerer: from.other(), before }, Meaning::Nothing)
                }
                (Carrier::Provisional { .. } | Carrier::Success, true)
                    if before == Before::Agreement =>
                {
                    (self.state, Meaning::Repeated)
                }
                (_, true) => return Err(Refusal::OutOfPlace),
                (_, false) => (self.state, Meaning::Nothing),
            },
            State::Solicited { offerer, .. } => match (carrier, described) {
                (Carrier::Success | Carrier::Provisional { reliable: true }, true)
                    if from == offerer =>
                {
                    (State::Offered { by: from, before }, Meaning::Offer)
                }
                // Not an offer yet (RFC 3261 §13.2.1 knows offers in reliable messages only).
                (Carrier::Provisional { reliable: false }, true) if from == offerer => {
                    (self.state, Meaning::Preview)
                }
                (Carrier::Success, false) => return Err(Refusal::OutOfPlace),
                (Carrier::Invite | Carrier::Update | Carrier::Prack, true) => {
                    return Err(if from == offerer { Refusal::Glare } else { Refusal::TooSoon });
                }
                (_, true) => return Err(Refusal::OutOfPlace),
                (_, false) => (self.state, Meaning::Nothing),
            },
            State::Offered { by, .. } => match (carrier, described) {
                // A second offer crosses or overtakes the first.
                (Carrier::Invite | Carrier::Update, true) => {
                    return Err(if from == by { Refusal::TooSoon } else { Refusal::Glare });
                }
                (Carrier::Provisional { reliable: false }, true) if from != by => {
                    (self.state, Meaning::Preview)
                }
                // A PRACK may answer the offer of a reliable provisional (RFC 3262 §5).
                (_, true) if from != by => (State::Stable, Meaning::Answer),
                // The offer said again in the 2xx, after a reliable provisional made it.
                (Carrier::Success | Carrier::Provisional { .. }, true) => {
                    (self.state, Meaning::Repeated)
                }
                (_, true) => return Err(Refusal::OutOfPlace),
                // The last message that could have answered.
                (Carrier::Success | Carrier::Ack | Carrier::RequestSuccess, false)
                    if from != by =>
                {
                    return Err(Refusal::OutOfPlace);
                }
                (_, false) => (self.state, Meaning::Nothing),
            },
        };
        self.state = state;
        if state == State::Stable {
            self.agreed.clone_from(&self.local);
        }
        Ok(meaning)
    }

    /// The request that carried the offer failed, or the offer was refused: what was agreed before holds
    /// (RFC 3261 §14.1).
    pub fn failed(&mut self) {
        let before = match self.state {
            State::Solicited { before, .. } | State::Offered { before, .. } => before,
            State::Fresh | State::Stable => return,
        };
        self.state = match before {
            Before::Nothing => State::Fresh,
            Before::Agreement => State::Stable,
        };
        self.local.clone_from(&self.agreed);
    }

    /// Our offer: one audio line with these codecs, in the place that audio had before.
    pub fn make_offer(
        &mut self,
        local: &Local,
        codecs: &[Codec],
        telephone_event: Option<&TelephoneEvent>,
        chance: &mut Chance,
    ) -> Session {
        let proto = match local.protection {
            Protection::Sdes(_) => Proto::RtpSavp,
            Protection::Dtls(_) => Proto::UdpTlsRtpSavpf,
            Protection::DangerousPlain => Proto::RtpAvp,
        };
        let mut audio = audio_line(local, proto, codecs, telephone_event, local.rtcp_mux);
        audio.direction = Some(local.direction);
        match &local.protection {
            Protection::Sdes(suites) => {
                audio.crypto =
                    (1..).zip(suites).map(|(tag, &suite)| crypto(tag, suite, chance)).collect();
            }
            Protection::Dtls(fingerprint) => {
                audio.fingerprints = vec![fingerprint.clone()];
                audio.setup = Some(Setup::ActPass);
            }
            Protection::DangerousPlain => {}
        }
        let lines = match &self.local {
            Some(last) => {
                let place = audio_place(last);
                let closed = last.media.iter().map(closed_line);
                closed
                    .enumerate()
                    .map(|(at, line)| if Some(at) == place { audio.clone() } else { line })
                    .collect()
            }
            None => vec![audio],
        };
        self.print(local, lines)
    }

    /// Our answer to `offer`, with those of its codecs that are `available`, and what is thereby agreed.
    ///
    /// # Errors
    /// Why the offer can't be accepted: 488.
    pub fn make_answer(
        &mut self,
        offer: &Session,
        local: &Local,
        available: &[Coding],
        chance: &mut Chance,
    ) -> Result<(Session, Agreed), Refusal> {
        let place = audio_place(offer).ok_or(Refusal::NoAudio)?;
        let mut remote = MediaDescription::read(offer)?;
        remote.codecs.retain(|codec| available.contains(&codec.coding));
        if remote.codecs.is_empty() {
            return Err(Refusal::NoCommonCodec);
        }
        let rtcp_mux = remote.rtcp_mux && local.rtcp_mux;
        let mut audio = audio_line(
            local,
            remote.proto.clone(),
            &remote.codecs,
            remote.telephone_event.as_ref(),
            rtcp_mux,
        );
        // We may send what they receive, and the other way round (RFC 3264 §6.1).
        let direction = both(local.direction, remote.direction.reversed());
        audio.direction = Some(direction);
        let keys = match (&remote.security, &local.protection) {
            (Security::Sdes(offered), Protection::Sdes(preference)) => {
                let theirs = choose(offered, preference).ok_or(Refusal::NoCommonSuite)?;
                let ours = crypto(theirs.tag, theirs.suite, chance);
                let keys = sdes_keys(&ours, theirs).ok_or(Refusal::NoUsableKeys)?;
                audio.crypto = vec![ours];
                keys
            }
            (Security::Dtls { fingerprints, setup }, Protection::Dtls(fingerprint)) => {
                let (setup, role) = match setup {
                    Setup::ActPass | Setup::Active => (Setup::Passive, DtlsRole::Server),
                    Setup::Passive => (Setup::Active, DtlsRole::Client),
                    Setup::HoldConn => return Err(Refusal::NoRole),
                };
                audio.fingerprints = vec![fingerprint.clone()];
                audio.setup = Some(setup);
                Keys::Dtls { remote: fingerprints.clone(), role }
            }
            (Security::Plain, Protection::DangerousPlain) => Keys::Plain,
            _ => return Err(Refusal::OtherSecurity),
        };
        let lines = offer.media.iter().enumerate().map(|(at, line)| {
            let mut answered = if at == place { audio.clone() } else { closed_line(line) };
            answered.mid.clone_from(&line.mid);
            answered
        });
        let lines = lines.collect();
        let session = self.print(local, lines);
        Ok((session, Agreed { remote, keys, direction, rtcp_mux }))
    }

    /// Reads the answer to our last offer.
    ///
    /// # Errors
    /// What in it breaks the offer. The call can't stand so: ACK and BYE, with 488 as the reason.
    pub fn read_answer(&self, answer: &Session) -> Result<Agreed, Refusal> {
        let offer = self.local.as_ref().ok_or(Refusal::OutOfPlace)?;
        let place = audio_place(offer).ok_or(Refusal::NoAudio)?;
        if answer.media.len() != offer.media.len() {
            return Err(Refusal::OtherLines);
        }
        let (ours, theirs) = (&offer.media[place], &answer.media[place]);
        if theirs.kind != ours.kind {
            return Err(Refusal::OtherLines);
        }
        if theirs.port == 0 {
            return Err(Refusal::NoAudio);
        }
        if theirs.proto != ours.proto {
            return Err(Refusal::OtherProfile);
        }
        let described = MediaDescription::read(offer)?;
        let mut remote = MediaDescription::read_line(answer, place)?;
        // A codec that we didn't offer was not agreed. Its payload type may be another (RFC 3264 §6.1).
        remote.codecs.retain(|codec| described.codecs.iter().any(|one| one.coding == codec.coding));
        if remote.codecs.is_empty() {
            return Err(Refusal::NoCommonCodec);
        }
        if described.telephone_event.is_none() {
            remote.telephone_event = None;
        }
        let keys = match &remote.security {
            Security::Sdes(chosen) => {
                // Exactly one line, with the tag and suite of one that was offered (RFC 4568 §5.1.3).
                let [theirs] = &chosen[..] else {
                    return Err(Refusal::OtherCrypto);
                };
                let ours = ours
                    .crypto
                    .iter()
                    .find(|ours| ours.tag == theirs.tag && ours.suite == theirs.suite)
                    .ok_or(Refusal::OtherCrypto)?;
                sdes_keys(ours, theirs).ok_or(Refusal::NoUsableKeys)?
            }
            Security::Dtls { fingerprints, setup } => {
                if ours.fingerprints.is_empty() {
                    return Err(Refusal::OtherSecurity);
                }
                let role = match setup {
                    Setup::Active => DtlsRole::Server,
                    Setup::Passive => DtlsRole::Client,
                    Setup::ActPass | Setup::HoldConn => return Err(Refusal::NoRole),
                };
                Keys::Dtls { remote: fingerprints.clone(), role }
            }
            Security::Plain if ours.crypto.is_empty() && ours.fingerprints.is_empty() => {
                Keys::Plain
            }
            Security::Plain => return Err(Refusal::OtherSecurity),
        };
        // An answer must not open what the offer closed (RFC 3264 §6.1). Phones that say `sendrecv` to a
        // hold are many: the narrower of both holds, rather than a lost call.
        let direction = both(described.direction, remote.direction.reversed());
        let rtcp_mux = ours.rtcp_mux && remote.rtcp_mux;
        Ok(Agreed { remote, keys, direction, rtcp_mux })
    }

    /// The version counts up by one for each description that differs from the last (RFC 3264 §8).
    fn print(&mut self, local: &Local, media: Vec<Media>) -> Session {
        let address = local.rtp.ip();
        let mut session = Session::new(Origin::new(self.session_id, self.version, address));
        session.connection = Some(address);
        session.media = media;
        if let Some(last) = &self.local {
            session.origin.version = last.origin.version;
            if session == *last {
                return session;
            }
            session.origin.version = self.version;
        }
        self.version += 1;
        self.local = Some(session.clone());
        session
    }
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

/// The first line that is audio, RTP and open.
fn audio_place(session: &Session) -> Option<usize> {
    session.media.iter().position(|m| m.kind == MediaKind::Audio && m.port != 0 && m.proto.is_rtp())
}

/// The line that refuses another: port 0, and its first format, since one must stand there (RFC 3264 §6).
fn closed_line(line: &Media) -> Media {
    let formats = line.formats.iter().take(1).cloned();
    Media::new(line.kind.clone(), 0, line.proto.clone(), formats.collect())
}

fn audio_line(
    local: &Local,
    proto: Proto,
    codecs: &[Codec],
    telephone_event: Option<&TelephoneEvent>,
    rtcp_mux: bool,
) -> Media {
    let format = |payload, name: &str, clock, channels, fmtp| {
        let encoding = Word::new(name).expect("codec names are words");
        Format::rtp(payload, Some(RtpMap { encoding, clock, channels }), fmtp)
    };
    let mut formats: Vec<Format> = codecs
        .iter()
        .map(|codec| {
            let Codec { coding, payload, fmtp } = codec;
            format(*payload, coding.name(), coding.clock(), coding.channels(), fmtp.clone())
        })
        .collect();
    if let Some(TelephoneEvent { payload, clock, fmtp }) = telephone_event {
        formats.push(format(*payload, media::TELEPHONE_EVENT, *clock, None, fmtp.clone()));
    }
    let mut audio = Media::new(MediaKind::Audio, local.rtp.port(), proto, formats);
    audio.ptime = local.ptime;
    audio.rtcp_mux = rtcp_mux;
    if !rtcp_mux && let Some(port) = local.rtp.port().checked_add(1) {
        audio.rtcp = Some(Rtcp { port, address: None });
    }
    audio
}

/// A `crypto` line with a fresh key: never one used before, nor one for both directions.
fn crypto(tag: u32, suite: Suite, chance: &mut Chance) -> Crypto {
    let (key, salt) = suite.key_salt_len();
    let mut key_salt = vec![0; key + salt];
    chance.fill(&mut key_salt);
    let key = Key { key_salt: Secret::new(key_salt), lifetime: None, mki: None };
    Crypto { tag, suite, keys: vec![key], params: Vec::new() }
}

/// The offered line of the suite that stands first in our preference.
fn choose<'a>(offered: &'a [Crypto], preference: &[Suite]) -> Option<&'a Crypto> {
    preference.iter().find_map(|suite| offered.iter().find(|crypto| crypto.suite == *suite))
}

fn sdes_keys(local: &Crypto, remote: &Crypto) -> Option<Keys> {
    Some(Keys::Sdes {
        suite: remote.suite,
        local: local.keys.first()?.key_salt.clone(),
        remote: remote.keys.first()?.key_salt.clone(),
    })
}

/// What is left where both limits hold.
fn both(a: Direction, b: Direction) -> Direction {
    match (a.sends() && b.sends(), a.receives() && b.receives()) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}
