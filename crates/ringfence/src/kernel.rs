//! The kernel's table: `inet ringfence`, made, kept and removed by us over netlink.
//!
//! It drops what [`guard::admission`] would drop, with the same rates, before a socket is woken. It knows
//! only the configured signalling ports: audio and everything else of this host pass it with two
//! comparisons. In it: trusted sources first (so a phone that we know is never limited, and its calls for
//! help neither), then banned ones, then, for UDP, a rate for each stranger and one for all of them.
//!
//! It hangs at `prerouting`, priority raw: before connection tracking, so that a packet with a forged source
//! costs no entry there, and on every interface of the host, those too that come up later. `ingress` would
//! be a step earlier, but belongs to one interface each, and a second address family. Later fragments carry
//! no port and pass; the kernel never puts them together where the first was dropped.
//!
//! A thread keeps it: changes go in batches, each a transaction. It remembers what is in the table, looks
//! once a minute whether that is still so, and puts everything in place anew, at once and whole, where it
//! is not, or where a former process left one behind. Without CAP_NET_ADMIN the process does all of it.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guard::admission::{Admission, Change};
use guard::fact::Fact;
use guard::source::Source;
use nix::errno::Errno;
use pure::Utc;

use self::wire::{Batch, Element, Rule, Set, Socket, Verdict};
use crate::clock::Clock;
use crate::exchange_thread::Inbox;

/// What the rest of the process holds of it.
#[derive(Debug)]
pub(crate) struct Kernel {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    dropped: AtomicU64,
    state: Mutex<String>,
}

/// The ports that signalling is spoken on.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Ports {
    pub(crate) udp: BTreeSet<u16>,
    pub(crate) tcp: BTreeSet<u16>,
}

enum Order {
    Change(Change),
    Close,
}

impl Kernel {
    /// Starts the thread; it makes the table and says what came of it.
    pub(crate) fn start(ports: Ports, clock: Clock, inbox: Inbox) -> std::io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let state = Mutex::new("being set up".to_owned());
        let shared = Arc::new(Shared { dropped: AtomicU64::new(0), state });
        let keeper = Keeper {
            table: Table { ports, told: BTreeMap::new() },
            clock,
            inbox,
            shared: shared.clone(),
            orders: received,
        };
        let thread = std::thread::Builder::new()
            .name("kernel-table".to_owned())
            .spawn(move || keeper.run())?;
        Ok(Self { orders, shared, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn tell(&self, change: Change) {
        // Nobody listens where the table can't be used.
        let _ = self.orders.send(Order::Change(change));
    }

    /// Packets that it dropped, as they were counted last.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// In words, with the remedy where there is one.
    pub(crate) fn state(&self) -> String {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the table, and waits until it is gone.
    pub(crate) fn close(&self) {
        let _ = self.orders.send(Order::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// What is to be in the table.
#[derive(Debug)]
struct Table {
    ports: Ports,
    told: BTreeMap<Source, Told>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Trusted,
    Banned { until: Utc },
}

/// What is to be known of each source that something was said of. `None`: nothing.
type Changes = BTreeMap<Source, Option<Told>>;

/// What was found in the kernel.
enum Look {
    Sound,
    /// Somebody changed or removed it.
    Changed,
    /// It is another node's.
    Taken,
}

struct Keeper {
    table: Table,
    clock: Clock,
    inbox: Inbox,
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
}

impl Keeper {
    fn run(mut self) {
        let mut socket = match Socket::open().and_then(|socket| self.replace(socket)) {
            Ok(socket) => socket,
            Err(errno) => return self.unavailable(errno),
        };
        self.up("it is in place");
        let mut look = Instant::now() + LOOK_EVERY;
        loop {
            let wait = look.saturating_duration_since(Instant::now());
            let mut changes = Changes::new();
            let mut closing = false;
            match self.orders.recv_timeout(wait) {
                Ok(first) => {
                    let rest = self.orders.try_iter().take(BATCH_MAX - 1);
                    for order in std::iter::once(first).chain(rest) {
                        match order {
                            Order::Change(change) => self.table.note(&mut changes, change),
                            Order::Close => closing = true,
                        }
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => closing = true,
            }
            if closing {
                if socket.look().is_ok_and(|found| found.ports == self.table.ports) {
                    let _ = socket.transact(Batch::default().delete_table());
                }
                return;
            }
            let batch = self.table.update(&changes, self.clock.now().utc);
            let mut sound = changes.is_empty() || socket.transact(batch).is_ok();
            if look <= Instant::now() {
                look = Instant::now() + LOOK_EVERY;
                self.table.forget_ended(self.clock.now().utc);
                match self.look(&mut socket) {
                    Look::Sound => {}
                    Look::Changed => sound = false,
                    Look::Taken => return self.taken(),
                }
            }
            if !sound {
                socket = match Socket::open().and_then(|socket| self.replace(socket)) {
                    Ok(socket) => socket,
                    Err(errno) => return self.unavailable(errno),
                };
                self.up("somebody had changed or removed it, and it is in place again");
            }
        }
    }

    /// Puts the whole table in place, whatever was there.
    fn replace(&self, mut socket: Socket) -> Result<Socket, Errno> {
        socket.transact(self.table.whole(self.clock.now().utc))?;
        Ok(socket)
    }

    /// Whether the table is as we made it; reads its counters on the way.
    fn look(&self, socket: &mut Socket) -> Look {
        let Ok(found) = socket.look() else { return Look::Changed };
        if found.rules == self.table.rules() && found.ports != self.table.ports {
            return Look::Taken;
        }
        self.shared.dropped.store(found.dropped, Ordering::Relaxed);
        let trusted = self.table.told.values().filter(|told| **told == Told::Trusted).count();
        if found.rules == self.table.rules() && found.trusted == trusted {
            Look::Sound
        } else {
            Look::Changed
        }
    }

    /// Two nodes that put it in place in turns would help neither.
    fn taken(&self) {
        let why =
            "another node of this host has put its own in place: run one node in each network \
                   namespace, or set firewall.kernel = \"off\" for one"
                .to_owned();
        self.say(&format!("not used ({why})"));
        self.inbox.fact(Fact::KernelTableUnavailable { why });
    }

    fn up(&self, how: &str) {
        self.say("in use");
        self.inbox.fact(Fact::KernelTableUp { how: how.to_owned() });
    }

    fn unavailable(&self, errno: Errno) {
        let why = match errno {
            Errno::EPERM | Errno::EACCES => {
                "no CAP_NET_ADMIN: give it to the service (see the guide, \"Run it as a service\"), or set \
                 firewall.kernel = \"off\""
                    .to_owned()
            }
            Errno::EPROTONOSUPPORT | Errno::ENOTSUP | Errno::ENOENT => {
                format!("this kernel has no nftables ({errno}): load its modules, or set firewall.kernel = \"off\"")
            }
            other => format!("{other}: see the kernel's log, or set firewall.kernel = \"off\""),
        };
        self.say(&format!("not used ({why})"));
        self.inbox.fact(Fact::KernelTableUnavailable { why });
    }

    fn say(&self, state: &str) {
        state.clone_into(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Table {
    /// What is to be known of a source after this change, as `Admission::apply` has it.
    fn note(&self, changes: &mut Changes, change: Change) {
        let (Change::Trust(source)
        | Change::Distrust(source)
        | Change::Unban(source)
        | Change::Ban { source, .. }) = change;
        let before = changes.get(&source).copied();
        let before = before.unwrap_or_else(|| self.told.get(&source).copied());
        let trusted = before == Some(Told::Trusted);
        let after = match change {
            Change::Trust(_) => Some(Told::Trusted),
            Change::Distrust(_) => before.filter(|_| !trusted),
            Change::Unban(_) => before.filter(|_| trusted),
            Change::Ban { until, .. } => {
                debug_assert!(!trusted, "a trusted source is never banned");
                before.filter(|_| trusted).or(Some(Told::Banned { until }))
            }
        };
        changes.insert(source, after);
    }

    /// What takes the kernel from what was told to what is told now.
    fn update(&mut self, changes: &Changes, now: Utc) -> Batch {
        let mut batch = Batch::default();
        let mut lists = Lists::default();
        for (source, told) in changes {
            if self.told.get(source) == told.as_ref() {
                continue;
            }
            if let Some(former) = self.told.remove(source) {
                batch = batch.remove(set_of(*source, former), &key(*source));
            }
            let full = self.told.len() >= SOURCES_MAX;
            if let Some(told) = told.filter(|_| !full) {
                self.told.insert(*source, told);
                lists.add(*source, told, now);
            }
        }
        lists.into_batch(batch)
    }

    /// Everything, in place of whatever is there.
    fn whole(&self, now: Utc) -> Batch {
        let mut batch = Batch::default().new_table().delete_table().new_table();
        for set in Set::ALL {
            batch = batch.new_set(set, SOURCES_MAX);
        }
        for (set, ports) in [(Set::UdpPorts, &self.ports.udp), (Set::TcpPorts, &self.ports.tcp)] {
            let ports = ports
                .iter()
                .map(|port| Element { key: port.to_be_bytes().to_vec(), timeout: None });
            batch = batch.add(set, ports.collect());
        }
        let mut lists = Lists::default();
        self.told.iter().for_each(|(source, told)| lists.add(*source, *told, now));
        batch = lists.into_batch(batch);
        for chain in [UDP, TCP] {
            batch = batch.new_chain(chain);
        }
        batch = batch.new_base_chain(ARRIVE);
        for (chain, rule) in rules() {
            batch = batch.new_rule(chain, rule);
        }
        batch
    }

    fn rules(&self) -> usize {
        rules().len()
    }

    /// The kernel forgets bans by itself when they end.
    fn forget_ended(&mut self, now: Utc) {
        self.told.retain(|_, told| !matches!(told, Told::Banned { until } if *until <= now));
    }
}

/// Elements to add, by set.
#[derive(Default)]
struct Lists(BTreeMap<Set, Vec<Element>>);

impl Lists {
    fn add(&mut self, source: Source, told: Told, now: Utc) {
        let timeout = match told {
            Told::Trusted => None,
            Told::Banned { until } if until <= now => return,
            Told::Banned { until } => Some(until.since(now).clamp(TIMEOUT_MIN, TIMEOUT_MAX)),
        };
        self.0.entry(set_of(source, told)).or_default().push(Element { key: key(source), timeout });
    }

    fn into_batch(self, batch: Batch) -> Batch {
        self.0.into_iter().fold(batch, |batch, (set, elements)| batch.add(set, elements))
    }
}

fn set_of(source: Source, told: Told) -> Set {
    match (source.ip(), told) {
        (IpAddr::V4(_), Told::Trusted) => Set::Trusted4,
        (IpAddr::V6(_), Told::Trusted) => Set::Trusted6,
        (IpAddr::V4(_), Told::Banned { .. }) => Set::Banned4,
        (IpAddr::V6(_), Told::Banned { .. }) => Set::Banned6,
    }
}

fn key(source: Source) -> Vec<u8> {
    match source.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Every rule, in order.
fn rules() -> Vec<(&'static str, Rule)> {
    let told = |chain: &'static str| {
        [
            (chain, Rule::of_v4().lookup(Set::Trusted4).verdict(Verdict::Accept)),
            (chain, Rule::of_v6().lookup(Set::Trusted6).verdict(Verdict::Accept)),
            (chain, Rule::of_v4().lookup(Set::Banned4).counted(Verdict::Drop)),
            (chain, Rule::of_v6().lookup(Set::Banned6).counted(Verdict::Drop)),
        ]
    };
    let each = Admission::STRANGER;
    let strangers = [
        // A full set leaves the stranger to the rule for all of them.
        (UDP, Rule::of_v4().over_each(Set::Strangers4, each).counted(Verdict::Drop)),
        (UDP, Rule::of_v6().over_each(Set::Strangers6, each).counted(Verdict::Drop)),
        (UDP, Rule::default().over(Admission::STRANGERS).counted(Verdict::Drop)),
    ];
    let mut all: Vec<_> = told(UDP).into_iter().chain(strangers).chain(told(TCP)).collect();
    all.push((ARRIVE, Rule::to_port(wire::UDP, Set::UdpPorts).verdict(Verdict::Goto(UDP))));
    all.push((ARRIVE, Rule::to_port(wire::TCP, Set::TcpPorts).verdict(Verdict::Goto(TCP))));
    all
}

const ARRIVE: &str = "arrive";
const UDP: &str = "udp";
const TCP: &str = "tcp";
/// Somebody who flushes it is found within a minute; so are the counters.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Changes of one transaction, some 50 KiB.
const BATCH_MAX: usize = 1_024;
/// As many as the process knows; beyond, the process alone knows them.
const SOURCES_MAX: usize = Admission::TRUSTED_MAX;
/// The kernel counts in its ticks, of up to ten milliseconds, and takes zero for "never".
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Said anew at each start; nothing is banned for longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(40 * 86_400);

#[cfg(test)]
mod tests;
