//! The bounds and waiting times of the exchange, each with its reason. What happens at a bound stands
//! beside it. Defaults suit one node of a small or mid-size business.

use std::time::Duration;

use rtp::srtp::Suite;

/// See each field. A value is taken as it is: whoever reads a configuration checks it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Calls up, being set up or ending (for five seconds at most). The next INVITE gets 503 with Retry-After; emergency still passes.
    /// 500 calls are a thousand legs, which one signalling thread and one media thread carry with
    /// room to spare; a carrier's engineer says more in `limits.calls`.
    pub calls_max: usize,
    /// Legs beside the caller's that one call may open: the devices of an extension that ring
    /// together. Further devices don't ring. A person has three; eight leaves room for a hot desk.
    pub forks_max: usize,
    /// Transactions at work, all methods: those that only absorb what is repeated don't count. The next request is
    /// answered 503, statelessly where it can be. Each holds a message of a few kilobytes.
    pub transactions_max: usize,
    /// Transactions at work with one peer (connection and remote address). Its next request is
    /// answered 503, statelessly; those within its own calls, and calls for help by who may make them,
    /// have as much again. A phone has a handful; without this one stranger could fill the table.
    pub transactions_per_path_max: usize,
    /// Calls that one extension may have open as caller, those that are ending included (for five
    /// seconds at most). The next is refused with 486. A phone has two
    /// to six line keys; a stolen secret must not get more than a phone could use.
    pub calls_per_extension_max: usize,
    /// How long a phone may ring before the caller hears 480.
    pub ring_timeout: Duration,
    /// How long ports and the snapshot may take before the call is refused with 500. Both are local.
    pub prepare_timeout: Duration,
    /// How long arming the media and writing the answer may take before the call is ended.
    pub answer_timeout: Duration,
    /// How long statistics are awaited after the media was closed; the CDR goes without them then.
    pub stats_timeout: Duration,
    /// Both parties silent for so long: the call is ended, since nobody is there. Audio that stops in
    /// one direction only is somebody listening.
    pub silence_limit: Duration,
    /// A held call carries no audio, so silence says nothing; it is ended after so long.
    pub hold_max: Duration,
    /// The longest a call may last, whatever happens on it.
    pub call_max: Duration,
    /// The session interval that we ask for as refresher and grant at most (RFC 4028).
    pub session_interval: Duration,
    /// The shortest session interval accepted; a shorter one gets 422 (RFC 4028 §5: not below 90 s).
    pub session_interval_min: Duration,
    /// As `session_interval`, on legs to carriers: their dialogs cost money, and we refresh them
    /// ourselves at half of it. A held call has no audio whose end would tell.
    pub trunk_session_interval: Duration,
    /// A carrier that says nothing to an INVITE, not even 100, for so long is left for the next way.
    /// RFC 3261 wants 100 within 200 ms; a lost packet over UDP takes half a second to repeat.
    pub trunk_mute_timeout: Duration,
    /// A call for help that a carrier has taken, but that rings nowhere after so long, goes out by the next
    /// way too, and the first answer wins. Five to eight seconds to the first ring are slow but seen.
    pub help_ring_timeout: Duration,
    /// Ways to the outside that one call tries; then it ends with what was heard.
    pub ways_max: usize,
    /// How long a test of a trunk may take; what has not answered by then has failed.
    pub trunk_test_timeout: Duration,
    /// Calls for help are waited for so long before a drain ends them.
    pub drain_emergency_max: Duration,
    /// After [`crate::command::Command::Drain`]: what still has no answer to its BYE is left behind.
    /// A service is given ten seconds by most supervisors.
    pub drain_timeout: Duration,
    /// What Retry-After says when calls are shed.
    pub retry_after: Duration,
    /// How long the orphan legs of a former process are kept to be ended when their phone comes back:
    /// longer than the granted expiry of a registration over a connection.
    /// For as long a carrier whose connection broke is owed the BYE of a call that is over.
    pub orphan_timeout: Duration,
    /// The suites that we offer to a phone we call, preferred first. AES_CM_128_HMAC_SHA1_80 is the
    /// one that every phone takes, so it is always among them and stands first; AES-256-GCM follows
    /// for phones that were told to take nothing less. What a caller offers is answered with the
    /// strongest of its own.
    pub suites: Vec<Suite>,
    /// A re-INVITE that meets one of the other side is tried again so often (RFC 3261 §14.1).
    pub glare_retries: u8,
    /// Defences that are off. Only a test may set one.
    pub dangerous: Dangerous,
}

/// Defences switched off, so that a test can show what each is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dangerous {
    /// Audio in clear is taken from everybody.
    pub without_encryption: bool,
    /// Every leg to the outside is permitted, without money.
    pub without_gate: bool,
    /// Failures are not counted, nobody is banned, scanners are answered.
    pub without_wall: bool,
    /// A call for help is a call like another.
    pub without_emergency: bool,
    /// Ports are promised and never opened, so that signalling is measured alone.
    pub without_media: bool,
}

impl Settings {
    /// For a node that carries so many calls at once.
    pub fn for_calls(calls_max: usize) -> Self {
        let own = Self::default();
        let transactions_max = calls_max.saturating_mul(TRANSACTIONS_PER_CALL);
        Self { calls_max, transactions_max: transactions_max.max(own.transactions_max), ..own }
    }
}

/// A call that rings at [`Settings::forks_max`] devices has nine INVITEs under way, and as many CANCELs.
const TRANSACTIONS_PER_CALL: usize = 16;

impl Default for Settings {
    fn default() -> Self {
        Self {
            calls_max: 500,
            forks_max: 8,
            transactions_max: 8_000,
            transactions_per_path_max: 256,
            calls_per_extension_max: 6,
            ring_timeout: Duration::from_secs(60),
            prepare_timeout: Duration::from_secs(4),
            answer_timeout: Duration::from_secs(4),
            stats_timeout: Duration::from_secs(2),
            silence_limit: Duration::from_secs(10 * 60),
            hold_max: Duration::from_secs(4 * 3_600),
            call_max: Duration::from_secs(12 * 3_600),
            session_interval: Duration::from_secs(1_800),
            session_interval_min: Duration::from_secs(90),
            trunk_session_interval: Duration::from_secs(600),
            trunk_mute_timeout: Duration::from_secs(4),
            help_ring_timeout: Duration::from_secs(8),
            ways_max: 6,
            trunk_test_timeout: Duration::from_secs(20),
            drain_emergency_max: Duration::from_secs(30 * 60),
            drain_timeout: Duration::from_secs(5),
            retry_after: Duration::from_secs(10),
            orphan_timeout: Duration::from_secs(15 * 60),
            suites: vec![Suite::AesCm128HmacSha1_80, Suite::AeadAes256Gcm],
            glare_retries: 4,
            dangerous: Dangerous::default(),
        }
    }
}
