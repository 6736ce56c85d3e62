//! The server's side: nonces that need no memory until they have served, and the verdict on an attempt.
//!
//! A nonce is a MAC over its own number and the caller it was given to, so a flood of challenges costs no
//! memory. Only after a success is a window of its counts kept, against replay. The table of windows is
//! bounded; the oldest leaves first, and from then on every unknown nonce as old as that one is stale: a
//! captured request can't be played again by waiting for an eviction.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use pure::{Chance, Instant, Now};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Algorithm, Credentials, Fault, Ha1};

/// Issues nonces and judges attempts. One for each node; its keys live and die with the process, so a
/// nonce of an earlier life (or of another node) is stale, which costs its owner one round trip.
#[derive(Debug)]
pub struct Nonces {
    config: NoncesConfig,
    node: u16,
    chance: Chance,
    current: Key,
    /// Still checked, no longer issued with.
    previous: Option<Key>,
    /// Nonces that have served, by their number.
    served: BTreeMap<u64, Window>,
    /// Unknown nonces up to this number may have served and been evicted: stale.
    evicted: u64,
    /// The number of the last nonce issued. Numbers are instants, made unique by counting on.
    last: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoncesConfig {
    /// How long a nonce is good. Also the age at which the key of the MAC is replaced.
    pub lifetime: Duration,
    /// Windows kept. At the bound the oldest nonce leaves and its owner is told `stale`.
    pub served_max: usize,
}

/// One request that carries credentials.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub credentials: &'a Credentials<'a>,
    pub method: &'a str,
    /// The Request-URI as received.
    pub request_uri: &'a str,
    /// The realm that was challenged with.
    pub realm: &'a str,
    /// What the nonce was bound to at [`Nonces::issue`].
    pub binding: &'a [u8],
}

/// What an attempt proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The sender knows the secret, and this request was not seen before.
    Granted { algorithm: Algorithm },
    /// The nonce is not ours, not this sender's, too old, or forgotten. The password was not judged:
    /// challenge again with `stale=true`; no failure is counted.
    Stale,
    /// A nonce of ours and a wrong response. This is what a wrong password looks like.
    Failed,
    /// The response is right and its count was used before (or is too old to tell). Challenge again with
    /// `stale=true` and record the fact: it is a replay, or a client that can't count.
    Replayed,
    /// Not a digest answer to our challenge at all: 400.
    Malformed(Fault),
}

impl Nonces {
    /// `chance` makes the keys. `node` marks the nonces, so that a trace of a cluster can be read.
    pub fn new(config: NoncesConfig, node: u16, mut chance: Chance, now: Now) -> Self {
        let current = Key::draw(0, &mut chance, now.instant);
        Self {
            config,
            node,
            chance,
            current,
            previous: None,
            served: BTreeMap::new(),
            evicted: 0,
            last: 0,
        }
    }

    /// A fresh nonce for whoever `binding` names: the bytes of the address (of IPv6 the first eight, since
    /// a host changes the rest at will) or of the connection's id. Never the port: NAT changes it.
    pub fn issue(&mut self, now: Now, binding: &[u8]) -> String {
        if now.instant.since(self.current.drawn) >= self.config.lifetime {
            let id = self.current.id.wrapping_add(1);
            let next = Key::draw(id, &mut self.chance, now.instant);
            self.previous = Some(std::mem::replace(&mut self.current, next));
        }
        self.last = now.instant.0.max(self.last + 1);
        let mut nonce = [0; NONCE_LEN];
        nonce[0] = VERSION;
        nonce[1] = self.current.id;
        nonce[2..4].copy_from_slice(&self.node.to_be_bytes());
        nonce[4..MAC_AT].copy_from_slice(&self.last.to_be_bytes());
        let mac = self.current.mac(&nonce[..MAC_AT], binding);
        nonce[MAC_AT..].copy_from_slice(&mac.finalize().into_bytes()[..NONCE_LEN - MAC_AT]);
        URL_SAFE_NO_PAD.encode(nonce)
    }

    /// Judges one attempt against the secret of its user, or against [`Ha1::decoy`] where there is no such
    /// user. `ha1` must be for the algorithm of the credentials and for `attempt.realm`.
    pub fn check(&mut self, now: Now, attempt: &Attempt<'_>, ha1: &Ha1) -> Verdict {
        let credentials = attempt.credentials;
        if credentials.realm != attempt.realm {
            return Verdict::Malformed(Fault::OtherRealm);
        }
        // Every challenge of ours offers qop, and RFC 7616 §3.4 then demands it.
        let Some(qop) = &credentials.qop else {
            return Verdict::Malformed(Fault::Missing("qop"));
        };
        // A client that answers MD5 where only SHA-256 was offered meets a secret of the other algorithm.
        if ha1.algorithm() != credentials.algorithm {
            return Verdict::Malformed(Fault::Unsupported("algorithm"));
        }
        if !same_target(&credentials.uri, attempt.request_uri) {
            return Verdict::Malformed(Fault::OtherTarget);
        }
        self.forget_expired(now.instant);
        let Some(number) = self.number(now.instant, &credentials.nonce, attempt.binding) else {
            return Verdict::Stale;
        };
        let served = self.served.get_mut(&number);
        if served.is_none() && number <= self.evicted {
            return Verdict::Stale;
        }
        let expected =
            ha1.response(&credentials.nonce, Some(qop), attempt.method, &credentials.uri);
        if expected != credentials.response {
            return Verdict::Failed;
        }
        let fresh = match served {
            Some(window) => window.admit(qop.count),
            None => {
                self.served.insert(number, Window { highest: qop.count, below: 0 });
                self.keep_bound();
                true
            }
        };
        if !fresh {
            return Verdict::Replayed;
        }
        Verdict::Granted { algorithm: credentials.algorithm }
    }

    /// Whether this nonce is one of ours, given to this caller and young enough: its sender has read
    /// our challenge where it says it is.
    pub fn is_good(&self, now: Now, nonce: &str, binding: &[u8]) -> bool {
        self.number(now.instant, nonce, binding).is_some()
    }

    /// Windows held now.
    pub fn served(&self) -> usize {
        self.served.len()
    }

    /// The nonce's number, where it is ours, for this binding, and young enough.
    fn number(&self, now: Instant, nonce: &str, binding: &[u8]) -> Option<u64> {
        // Exactly one text for each nonce: the decoder refuses padding and stray low bits.
        let mut bytes = [0; NONCE_LEN];
        if nonce.len() != NONCE_TEXT_LEN
            || URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(NONCE_LEN)
        {
            return None;
        }
        let (head, mac) = bytes.split_at(MAC_AT);
        if head[0] != VERSION || head[2..4] != self.node.to_be_bytes() {
            return None;
        }
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id == head[1])?;
        key.mac(head, binding).verify_truncated_left(mac).ok()?;
        let number = u64::from_be_bytes(head[4..].try_into().expect("eight bytes before the MAC"));
        (now.since(Instant(number)) < self.config.lifetime).then_some(number)
    }

    fn forget_expired(&mut self, now: Instant) {
        while let Some(oldest) = self.served.first_entry()
            && now.since(Instant(*oldest.key())) >= self.config.lifetime
        {
            oldest.remove();
        }
    }

    fn keep_bound(&mut self) {
        while self.served.len() > self.config.served_max
            && let Some((number, _)) = self.served.pop_first()
        {
            self.evicted = self.evicted.max(number);
        }
    }
}

impl Default for NoncesConfig {
    fn default() -> Self {
        Self { lifetime: LIFETIME, served_max: SERVED_MAX }
    }
}

/// A key of the MAC. Two live: the one issued with, and the one before it.
#[derive(Debug)]
struct Key {
    id: u8,
    secret: Zeroizing<[u8; 32]>,
    drawn: Instant,
}

impl Key {
    fn draw(id: u8, chance: &mut Chance, now: Instant) -> Self {
        Self { id, secret: Zeroizing::new(chance.bytes()), drawn: now }
    }

    fn mac(&self, head: &[u8], binding: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*self.secret).expect("HMAC takes a key of any length");
        mac.update(head);
        mac.update(binding);
        mac
    }
}

/// The counts seen with one nonce: the highest, and a bit for each of the 64 below it. A phone that sends
/// two requests at once may see them arrive in either order, so "higher than the last" is not asked.
#[derive(Clone, Copy, Debug)]
struct Window {
    highest: u32,
    /// Bit n stands for `highest - 1 - n`.
    below: u64,
}

impl Window {
    /// False where the count was seen, or lies below the window.
    fn admit(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            // The bits move up by `ahead`, and the old highest takes its place among them.
            self.below = self.below.checked_shl(ahead).unwrap_or(0)
                | 1_u64.checked_shl(ahead - 1).unwrap_or(0);
            self.highest = count;
            return true;
        }
        let Some(behind) = (self.highest - count).checked_sub(1) else {
            return false;
        };
        let Some(bit) = 1_u64.checked_shl(behind) else {
            return false;
        };
        let fresh = self.below & bit == 0;
        self.below |= bit;
        fresh
    }
}

/// Whether two URIs name one user at one host. Port, parameters and headers may differ: phones put the
/// digest-uri together without them, and proxies add some.
fn same_target(digest_uri: &str, request_uri: &str) -> bool {
    fn parts(uri: &str) -> (&str, &str) {
        // The user part may hold `;` and `?`; the host can't.
        let (user, rest) = match uri.rfind('@') {
            Some(at) => uri.split_at(at),
            None => ("", uri),
        };
        let host = rest.split([';', '?']).next().unwrap_or(rest);
        let port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match host.rsplit_once(':') {
            Some((host, tail)) if port(tail) => (user, host),
            Some(_) | None => (user, host),
        }
    }
    let ((user_a, host_a), (user_b, host_b)) = (parts(digest_uri), parts(request_uri));
    let (scheme_a, user_a) = user_a.split_once(':').unwrap_or(("", user_a));
    let (scheme_b, user_b) = user_b.split_once(':').unwrap_or(("", user_b));
    scheme_a.eq_ignore_ascii_case(scheme_b)
        && user_a == user_b
        && host_a.eq_ignore_ascii_case(host_b)
}

/// The first byte of a nonce, so that a later layout can be told apart.
const VERSION: u8 = 1;
/// Version, key id, node (2), number (8); the MAC follows.
const MAC_AT: usize = 12;
/// A MAC of 128 bits (RFC 2104 §5 allows half of SHA-256's) ends the nonce.
const NONCE_LEN: usize = MAC_AT + 16;
/// In base64 without padding.
const NONCE_TEXT_LEN: usize = 38;
/// Five minutes: a phone on UDP re-registers within it and saves a round trip; a thief of one nonce has
/// little time.
const LIFETIME: Duration = Duration::from_secs(300);
/// One window takes about 40 bytes: 100,000 phones stay below 4 MiB.
const SERVED_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Qop;
    use proptest::prelude::*;

    const HOME: &[u8] = &[192, 0, 2, 1];

    struct World {
        nonces: Nonces,
        now: Now,
        target: &'static str,
    }

    impl World {
        fn new(served_max: usize) -> Self {
            let config = NoncesConfig { served_max, ..NoncesConfig::default() };
            let now = Now { instant: Instant(1_000_000_000), ..Now::default() };
            Self {
                nonces: Nonces::new(config, 7, Chance::from_number(1), now),
                now,
                target: "SIP:102@PBX;transport=tls",
            }
        }

        fn issue(&mut self) -> String {
            self.nonces.issue(self.now, HOME)
        }

        fn wait(&mut self, seconds: u64) {
            self.now.instant += Duration::from_secs(seconds);
        }

        fn attempt(&mut self, nonce: &str, count: u32, password: &str, binding: &[u8]) -> Verdict {
            let qop = Qop { count, cnonce: "c".into() };
            let uri = "sip:102@pbx";
            let response = Ha1::derive(Algorithm::Md5, "101", "pbx", password).response(
                nonce,
                Some(&qop),
                "INVITE",
                uri,
            );
            let credentials = Credentials {
                username: "101".into(),
                realm: "pbx".into(),
                nonce: nonce.into(),
                uri: uri.into(),
                algorithm: Algorithm::Md5,
                qop: Some(qop),
                opaque: None,
                response,
            };
            let attempt = Attempt {
                credentials: &credentials,
                method: "INVITE",
                request_uri: self.target,
                realm: "pbx",
                binding,
            };
            let secret = Ha1::derive(Algorithm::Md5, "101", "pbx", "secret");
            self.nonces.check(self.now, &attempt, &secret)
        }
    }

    const GRANTED: Verdict = Verdict::Granted { algorithm: Algorithm::Md5 };

    #[test]
    fn a_password_is_granted_once_a_count() {
        let mut world = World::new(10);
        let nonce = world.issue();
        assert_eq!(world.attempt(&nonce, 1, "wrong", HOME), Verdict::Failed);
        assert_eq!(world.nonces.served(), 0, "a failure leaves nothing behind");
        assert_eq!(world.attempt(&nonce, 1, "secret", HOME), GRANTED);
        assert_eq!(world.attempt(&nonce, 1, "secret", HOME), Verdict::Replayed);
        assert_eq!(world.attempt(&nonce, 3, "secret", HOME), GRANTED);
        assert_eq!(world.attempt(&nonce, 2, "secret", HOME), GRANTED, "overtaken on the way");
        assert_eq!(world.attempt(&nonce, 2, "secret", HOME), Verdict::Replayed);
        assert_eq!(world.attempt(&nonce, 500, "secret", HOME), GRANTED);
        assert_eq!(world.attempt(&nonce, 4, "secret", HOME), Verdict::Replayed, "below the window");
    }

    #[test]
    fn a_nonce_is_good_where_it_was_given_and_for_its_time() {
        let mut world = World::new(10);
        let nonce = world.issue();
        assert_eq!(world.attempt(&nonce, 1, "secret", &[192, 0, 2, 2]), Verdict::Stale);
        assert_eq!(world.attempt("forged", 1, "secret", HOME), Verdict::Stale);
        assert_eq!(
            world.attempt(&nonce.replace(&nonce[20..22], "zz"), 1, "secret", HOME),
            Verdict::Stale
        );
        world.wait(299);
        assert_eq!(world.attempt(&nonce, 1, "secret", HOME), GRANTED);
        world.wait(1);
        assert_eq!(world.attempt(&nonce, 2, "secret", HOME), Verdict::Stale);
        assert_eq!(world.nonces.served(), 0);
    }

    #[test]
    fn two_keys_live() {
        let mut world = World::new(10);
        world.wait(299);
        let old = world.issue();
        world.wait(2);
        let new = world.issue();
        assert_eq!(world.nonces.current.id, 1);
        assert_eq!(world.attempt(&old, 1, "secret", HOME), GRANTED);
        assert_eq!(world.attempt(&new, 1, "secret", HOME), GRANTED);
        world.wait(301);
        world.issue();
        assert_eq!(world.nonces.previous.as_ref().map(|key| key.id), Some(1));
    }

    #[test]
    fn an_evicted_nonce_is_stale_and_never_fresh_again() {
        let mut world = World::new(1);
        let (a, b, c) = (world.issue(), world.issue(), world.issue());
        assert_eq!(world.attempt(&b, 1, "secret", HOME), GRANTED);
        assert_eq!(world.attempt(&c, 1, "secret", HOME), GRANTED);
        assert_eq!(world.nonces.served(), 1);
        assert_eq!(world.attempt(&b, 1, "secret", HOME), Verdict::Stale, "a replay after eviction");
        assert_eq!(world.attempt(&a, 1, "secret", HOME), Verdict::Stale, "as old as the evicted");
        assert_eq!(world.attempt(&c, 2, "secret", HOME), GRANTED);
    }

    #[test]
    fn the_target_is_bound() {
        let mut world = World::new(10);
        let nonce = world.issue();
        world.target = "sip:900@pbx";
        let verdict = world.attempt(&nonce, 1, "secret", HOME);
        assert_eq!(verdict, Verdict::Malformed(Fault::OtherTarget));
        assert!(same_target("sip:pbx", "sip:pbx;transport=tcp"));
        assert!(same_target("sip:102@[2001:db8::1]:5061", "sip:102@[2001:db8::1]"));
        assert!(!same_target("sip:102@[2001:db8::1]", "sip:102@[2001:db8::2]"));
        assert!(!same_target("sip:102@pbx", "sip:900@pbx"));
        assert!(!same_target("sip:102@pbx", "sip:102@elsewhere"));
        assert!(!same_target("sip:102;x@pbx", "sip:102@pbx"));
        assert!(!same_target("sips:102@pbx", "sip:102@pbx"));
    }

    proptest! {
        /// The window against the obvious model: a set of all counts ever admitted.
        #[test]
        fn no_count_is_admitted_twice(counts in proptest::collection::vec(1_u32..200, 1..200)) {
            let mut window = Window { highest: counts[0], below: 0 };
            let mut seen = std::collections::BTreeSet::from([counts[0]]);
            for &count in &counts[1..] {
                let within = count + 64 >= window.highest;
                let fresh = window.admit(count);
                prop_assert_eq!(fresh, within && seen.insert(count));
            }
        }
    }
}
