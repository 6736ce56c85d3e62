//! What an account, a phone and a call keep in the exchange, in bytes of the heap: what is free once the exchange is gone.
//! Beside it a process has sockets, TLS sessions, media and the store's writer, which `interop/bench-signalling memory`
//! measures from outside.

use std::process::ExitCode;
use std::time::Duration;

use exchange_bench::World;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Callers, each with a phone that it calls. Tables grow by doubling: these fill theirs as far as the worst case
/// of the next smaller, so that nothing is hidden in what they reserve.
const PAIRS: usize = 1_000;

fn main() -> ExitCode {
    let json = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--json") => true,
        Some(other) => {
            eprintln!("error: {other} is no option\n  remedy: benches/run memory [--json]");
            return ExitCode::from(2);
        }
    };
    let _profiler = dhat::Profiler::builder().testing().build();
    let rows: Vec<Row> = [false, true].into_iter().flat_map(account).collect();
    if json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        println!("{}", serde_json::json!({ "heap_bytes": rows }));
    } else {
        rows.iter().for_each(|row| println!("{:>7} bytes  {}", row.bytes, row.what));
    }
    ExitCode::SUCCESS
}

struct Row {
    what: String,
    bytes: usize,
}

impl Row {
    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "what": self.what, "bytes": self.bytes })
    }
}

/// What each stage adds to the one before it, for each of whatever it adds.
fn account(tls: bool) -> [Row; 5] {
    let phones = PAIRS * 2;
    let way = if tls { "TLS, SRTP" } else { "UDP, RTP" };
    let none = freed(World::new(2, tls));
    let accounts = freed(World::new(phones, tls));
    let mut world = World::new(phones, tls);
    world.register();
    let registered = freed(world);
    let up = |rest| {
        let mut world = World::new(phones, tls);
        world.register();
        world.hang_up = false;
        world.round(PAIRS);
        assert_eq!(world.answered, PAIRS as u64);
        world.pass(rest);
        freed(world)
    };
    let (fresh, rested) = (up(Duration::ZERO), up(Duration::from_secs(60)));
    let mut world = World::new(phones, tls);
    world.register();
    world.round(PAIRS);
    let over = freed(world);
    let row = |what: &str, more: usize, less: usize, count: usize| Row {
        what: format!("{way}: {what}"),
        bytes: more.saturating_sub(less) / count,
    };
    let account = if tls { "an account and its connection" } else { "an account" };
    [
        row(account, accounts, none, phones - 2),
        row("a phone that is registered", registered, accounts, phones),
        row("a call, two seconds after it was answered", fresh, registered, PAIRS),
        row("a call, a minute after it was answered", rested, registered, PAIRS),
        row("what is kept of a call that is over, for 32 seconds", over, registered, PAIRS),
    ]
}

/// What the heap has more of while the exchange lives.
fn freed(world: World) -> usize {
    let World { exchange, .. } = world;
    let held = dhat::HeapStats::get().curr_bytes;
    drop(exchange);
    held - dhat::HeapStats::get().curr_bytes
}
