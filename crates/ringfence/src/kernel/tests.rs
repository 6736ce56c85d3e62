use super::*;
use std::process::Command;

fn source(text: &str) -> Source {
    text.parse::<IpAddr>().expect("an address").into()
}

fn table() -> Table {
    let ports = Ports { udp: [5060, 5062].into(), tcp: [5060, 5061].into() };
    Table { ports, told: BTreeMap::new() }
}

/// A socket in a network namespace of this thread's own; `None` where this user may not have one.
fn namespace() -> Option<Socket> {
    match nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
        Ok(()) => Some(Socket::open().expect("netlink is there")),
        Err(errno) => {
            println!("skipped: no network namespace ({errno}); run it as root");
            None
        }
    }
}

fn nft() -> Option<String> {
    let printed = Command::new("nft").args(["list", "ruleset"]).output().ok()?;
    Some(String::from_utf8_lossy(&printed.stdout).into_owned())
}

#[test]
fn the_last_word_on_a_source_counts_and_trust_is_never_banned() {
    let mut table = table();
    let (phone, rogue) = (source("192.0.2.1"), source("192.0.2.2"));
    let mut changes = BTreeMap::new();
    table.note(&mut changes, Change::Ban { source: rogue, until: Utc(1_000_000) });
    table.note(&mut changes, Change::Trust(phone));
    table.note(&mut changes, Change::Unban(rogue));
    table.note(&mut changes, Change::Ban { source: rogue, until: Utc(5_000_000) });
    // Neither undoes the other.
    table.note(&mut changes, Change::Distrust(rogue));
    table.note(&mut changes, Change::Unban(phone));
    table.update(&changes, Utc(0));
    assert_eq!(table.told.get(&phone), Some(&Told::Trusted));
    assert_eq!(table.told.get(&rogue), Some(&Told::Banned { until: Utc(5_000_000) }));
    table.forget_ended(Utc(5_000_000));
    assert_eq!(table.told.len(), 1);
    let mut changes = BTreeMap::new();
    table.note(&mut changes, Change::Distrust(phone));
    table.update(&changes, Utc(0));
    assert!(table.told.is_empty());
}

#[test]
#[should_panic(expected = "a trusted source is never banned")]
fn a_ban_of_a_trusted_source_is_a_fault_of_ours() {
    let mut table = table();
    let mut changes = BTreeMap::new();
    table.note(&mut changes, Change::Trust(source("192.0.2.1")));
    table.update(&changes, Utc(0));
    table.note(&mut changes, Change::Ban { source: source("192.0.2.1"), until: Utc(1) });
    table.update(&changes, Utc(0));
}

/// The real kernel takes it, shows it, and tells what somebody did to it.
#[test]
fn the_kernel_takes_the_table() {
    let Some(mut socket) = namespace() else { return };
    let mut table = table();
    table.told.insert(source("192.0.2.1"), Told::Trusted);
    table.told.insert(source("2001:db8::1"), Told::Trusted);
    table.told.insert(source("192.0.2.9"), Told::Banned { until: Utc(3_600_000_000) });
    // A former process left one behind.
    for _ in 0..2 {
        socket.transact(table.whole(Utc(0))).expect("it is sound");
        let found = socket.look().expect("it is there");
        assert_eq!(
            found,
            wire::Found {
                rules: table.rules(),
                trusted: 2,
                dropped: 0,
                ports: table.ports.clone()
            }
        );
    }
    if let Some(shown) = nft() {
        for line in [
            "type filter hook prerouting priority raw; policy accept;",
            "udp dport @udp_ports goto udp",
            "tcp dport @tcp_ports goto tcp",
            "ip saddr @trusted4 accept",
            "ip6 saddr & ffff:ffff:ffff:ffff:: == @trusted6 accept",
            "ip saddr @banned4 counter packets 0 bytes 0 drop",
            "update @strangers4 { ip saddr timeout 10s limit rate over 20/second burst 200 packets }",
            "limit rate over 200/second burst 400 packets counter packets 0 bytes 0 drop",
            "elements = { 5060, 5062 }",
            "192.0.2.9 timeout 1h",
        ] {
            assert!(shown.contains(line), "{line:?} is not in\n{shown}");
        }
    }

    let mut changes = BTreeMap::new();
    table
        .note(&mut changes, Change::Ban { source: source("192.0.2.9"), until: Utc(7_200_000_000) });
    table.note(&mut changes, Change::Distrust(source("2001:db8::1")));
    table.note(&mut changes, Change::Unban(source("192.0.2.77")));
    socket.transact(table.update(&changes, Utc(0))).expect("each is possible");
    assert_eq!(socket.look().expect("it is there").trusted, 1);
    if let Some(shown) = nft() {
        assert!(shown.contains("192.0.2.9 timeout 2h"), "{shown}");
    }

    let many = (0..10_000u32).map(|n| Source::from(IpAddr::from((0x0a00_0000 + n).to_be_bytes())));
    let mut changes = BTreeMap::new();
    many.for_each(|source| table.note(&mut changes, Change::Trust(source)));
    socket.transact(table.update(&changes, Utc(0))).expect("it fits");
    assert_eq!(socket.look().expect("it is there").trusted, 10_001);
    socket.transact(table.whole(Utc(0))).expect("it fits in one");
    assert_eq!(socket.look().expect("it is there").trusted, 10_001);

    socket.transact(Batch::default().delete_table()).expect("it is there");
    assert_eq!(socket.look(), Err(Errno::ENOENT));
    assert_eq!(socket.transact(Batch::default().delete_table()), Err(Errno::ENOENT));
}

/// The thread that keeps it, in the real kernel: changes arrive, a flush is found and mended, and a clean
/// end leaves nothing.
#[test]
fn the_table_is_kept_and_removed() {
    let Some(mut socket) = namespace() else { return };
    let (inbox, events) = crate::exchange_thread::inbox();
    let ports = Ports { udp: [5060].into(), tcp: [5061].into() };
    let kernel = Kernel::start(ports, Clock::start(), inbox).expect("a thread");
    let up = events.fact();
    assert!(matches!(up, Fact::KernelTableUp { .. }), "{up:?}");
    assert_eq!(kernel.state(), "in use");
    let mut until = |trusted: usize| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while socket.look().map(|found| found.trusted) != Ok(trusted) {
            assert!(Instant::now() < deadline, "{trusted} trusted sources don't appear");
            std::thread::yield_now();
        }
    };
    kernel.tell(Change::Trust(source("192.0.2.1")));
    kernel.tell(Change::Trust(source("2001:db8::1")));
    until(2);
    kernel.tell(Change::Distrust(source("192.0.2.1")));
    until(1);
    // Somebody flushes it: the next change finds out, and all of it is there again.
    let mut somebody = Socket::open().expect("netlink is there");
    somebody.transact(Batch::default().delete_table()).expect("it is there");
    kernel.tell(Change::Trust(source("192.0.2.2")));
    let Fact::KernelTableUp { how } = events.fact() else { panic!("it is up again") };
    assert!(how.contains("in place again"), "{how}");
    until(2);
    kernel.close();
    assert_eq!(somebody.look(), Err(Errno::ENOENT));
}

#[test]
fn the_table_of_another_node_is_left_alone_and_said() {
    let Some(mut socket) = namespace() else { return };
    let (inbox, events) = crate::exchange_thread::inbox();
    let ports = Ports { udp: [5060].into(), tcp: [5061].into() };
    let kernel = Kernel::start(ports.clone(), Clock::start(), inbox.clone()).expect("a thread");
    assert!(matches!(events.fact(), Fact::KernelTableUp { .. }));
    let theirs = table();
    socket.transact(theirs.whole(Utc(0))).expect("it is sound");
    // The end of one node leaves the other's in place.
    kernel.close();
    assert_eq!(socket.look().expect("it is there").ports, theirs.ports);
    let (_orders, received) = mpsc::channel();
    let keeper = Keeper {
        table: Table { ports, told: BTreeMap::new() },
        clock: Clock::start(),
        inbox,
        shared: Arc::new(Shared { dropped: AtomicU64::new(0), state: Mutex::default() }),
        orders: received,
    };
    assert!(matches!(keeper.look(&mut socket), Look::Taken));
    keeper.taken();
    let Fact::KernelTableUnavailable { why } = events.fact() else { panic!("said") };
    assert!(why.starts_with("another node"), "{why}");
}

#[test]
fn without_the_capability_it_says_so_once_with_the_remedy() {
    let (inbox, events) = crate::exchange_thread::inbox();
    let shared = Shared { dropped: AtomicU64::new(0), state: Mutex::default() };
    let (_orders, received) = mpsc::channel();
    let shared = Arc::new(shared);
    let keeper = Keeper {
        table: table(),
        clock: Clock::start(),
        inbox,
        shared: shared.clone(),
        orders: received,
    };
    keeper.unavailable(Errno::EPERM);
    let Fact::KernelTableUnavailable { why } = events.fact() else { panic!("said") };
    assert!(why.starts_with("no CAP_NET_ADMIN: "), "{why}");
    assert_eq!(*shared.state.lock().expect("nobody panicked"), format!("not used ({why})"));
}
