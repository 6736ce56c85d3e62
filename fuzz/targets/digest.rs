//! What is parsed of challenges and credentials prints and is parsed alike; an answer of our client to
//! whatever challenge is sound and verifies; and of any sequence of attempts none is granted without
//! the password, or twice with one count, or for a nonce that is old, forged or somebody else's.
#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pure::{Chance, Instant, Now};
use sip::digest::{
    Algorithm, Attempt, Challenge, Client, Credentials, Ha1, Nonces, NoncesConfig, VALUE_LEN_MAX,
    Verdict,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => texts(rest),
        1 => answers(rest),
        _ => attempts(rest),
    }
});

fn texts(bytes: &[u8]) {
    if let Ok(challenge) = Challenge::parse(bytes) {
        assert!(bytes.len() <= VALUE_LEN_MAX);
        let printed = challenge.to_string();
        // What was escaped may grow beyond the bound when printed; nothing else is lost.
        if printed.len() <= VALUE_LEN_MAX {
            assert_eq!(Challenge::parse(printed.as_bytes()).as_ref(), Ok(&challenge));
        }
    }
    if let Ok(credentials) = Credentials::parse(bytes) {
        assert!(bytes.len() <= VALUE_LEN_MAX);
        let printed = credentials.to_string();
        if printed.len() <= VALUE_LEN_MAX {
            assert_eq!(Credentials::parse(printed.as_bytes()).as_ref(), Ok(&credentials));
        }
        let realm = credentials.realm.to_string();
        let several = [&b"Basic QWxhZGRpbg=="[..], bytes];
        assert_eq!(Credentials::for_realm(several, &realm), Some(Ok(credentials)));
    }
}

/// The bytes are what a server asks.
fn answers(bytes: &[u8]) {
    let mut client = Client::new("101", "secret", Algorithm::Md5, Chance::from_number(1));
    let (method, uri) = ("INVITE", "sip:102@pbx");
    let Ok(first) = client.answer([bytes], method, uri) else { return };
    let challenge = Challenge::parse(bytes).expect("it was answered");
    let mut last = 0;
    for value in [Some(first), client.authorize(method, uri), client.authorize("BYE", uri)] {
        let value = value.expect("the nonce is known");
        assert!(!value.chars().any(char::is_control), "{value:?}");
        if value.len() > VALUE_LEN_MAX {
            continue;
        }
        let credentials = Credentials::parse(value.as_bytes()).expect("our answers are sound");
        assert_eq!(credentials.username, "101");
        assert_eq!(credentials.realm, challenge.realm);
        assert_eq!(credentials.nonce, challenge.nonce);
        assert_eq!(credentials.algorithm, challenge.algorithm);
        assert_eq!(credentials.qop.is_some(), challenge.auth);
        if let Some(qop) = credentials.qop {
            assert_eq!(qop.count, last + 1);
            last = qop.count;
        }
    }
}

/// The bytes are steps of a server, its clients and a forger.
fn attempts(steps: &[u8]) {
    const SERVED_MAX: usize = 4;
    const LIFETIME: Duration = Duration::from_secs(300);
    let mut now = Now { instant: Instant(1_000_000_000), ..Now::default() };
    let config = NoncesConfig { served_max: SERVED_MAX, lifetime: LIFETIME };
    let mut nonces = Nonces::new(config, 7, Chance::from_number(2), now);
    let mut issued: Vec<(String, u8, Instant)> = Vec::new();
    let mut granted: BTreeSet<(String, u32)> = BTreeSet::new();
    // Enough to fill the windows and to let them age; each attempt costs some hashes.
    let mut steps = steps.iter().copied().take(5 * STEPS_MAX);
    let mut next = || steps.next();
    let (uri, realm) = ("sip:102@pbx", "pbx");
    while let (Some(step), Some(with)) = (next(), next()) {
        match step % 4 {
            0 => {
                let nonce = nonces.issue(now, &[with % 3]);
                assert!(issued.iter().all(|(other, _, _)| *other != nonce), "each nonce is new");
                issued.push((nonce, with % 3, now.instant));
            }
            1 => now.instant += Duration::from_secs(u64::from(with)),
            _ => {
                let (Some(which), Some(how), Some(count)) = (next(), next(), next()) else {
                    return;
                };
                if issued.is_empty() {
                    continue;
                }
                let (nonce, owner, at) = issued[usize::from(which) % issued.len()].clone();
                // Each bit of `how` is one thing that is wrong.
                let password = if how & 1 == 0 { "secret" } else { "guess" };
                let binding = if how & 2 == 0 { owner } else { owner.wrapping_add(1) % 3 };
                let mut sent = nonce.clone();
                if how & 4 != 0 {
                    let at = usize::from(with) % sent.len();
                    let other = if sent.as_bytes()[at] == b'A' { "B" } else { "A" };
                    sent.replace_range(at..=at, other);
                }
                let target = if how & 8 == 0 { uri } else { "sip:900@pbx" };
                let algorithm = if how & 16 == 0 { Algorithm::Md5 } else { Algorithm::Sha256 };
                let count = COUNTS[usize::from(count) % COUNTS.len()];
                let value = credentials(&sent, algorithm, password, uri, realm, count);
                let credentials = Credentials::parse(value.as_bytes()).expect("our own");
                let attempt = Attempt {
                    credentials: &credentials,
                    method: "INVITE",
                    request_uri: target,
                    realm,
                    binding: &[binding],
                };
                let secret = Ha1::derive(Algorithm::Md5, "101", realm, "secret");
                let verdict = nonces.check(now, &attempt, &secret);
                if let Verdict::Granted { .. } = verdict {
                    assert_eq!(how & 31, 0, "granted to somebody else");
                    // Of several in one instant each counts as a nanosecond younger than the one before.
                    let slack = Duration::from_nanos(issued.len() as u64);
                    assert!(now.instant.since(at) < LIFETIME + slack, "granted for an old nonce");
                    assert!(granted.insert((nonce, count)), "granted twice");
                } else if how & 31 == 1 {
                    assert!(matches!(verdict, Verdict::Failed | Verdict::Stale), "{verdict:?}");
                }
                assert!(nonces.served() <= SERVED_MAX);
            }
        }
    }
}

const STEPS_MAX: usize = 40;
/// Near each other, and one beyond the window.
const COUNTS: [u32; 8] = [1, 1, 2, 2, 3, 4, 9, 70];

/// What a client with this password says with this count.
fn credentials(
    nonce: &str,
    algorithm: Algorithm,
    password: &str,
    uri: &str,
    realm: &str,
    count: u32,
) -> String {
    let mut client = Client::new("101", password, Algorithm::Md5, Chance::from_number(3));
    let order = [algorithm];
    let challenge = Challenge::in_order(realm, nonce, false, &order).next().expect("one");
    let mut value =
        client.answer([challenge.to_string().as_bytes()], "INVITE", uri).expect("sound");
    for _ in 1..count {
        value = client.authorize("INVITE", uri).expect("the nonce is known");
    }
    value
}
