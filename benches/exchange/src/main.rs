//! What one call costs the exchange, without sockets, disk or media: phones of `actors` register and call
//! each other through the real exchange, and only the time within the exchange is counted.
//!
//! On: digest, the wall, the gate, facts, snapshots, records, traces. Not here: the journal's chain, the
//! database, sockets, the relay, which answers at once.

use std::process::ExitCode;
use std::time::Duration;

use exchange_bench::World;

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (mut calls, mut json) = (20_000, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => json = true,
            other => match other.parse() {
                Ok(number) if (ROUNDS..=1_000_000).contains(&number) => calls = number,
                _ => {
                    eprintln!(
                        "error: {other} is no number of calls\n  remedy: benches/run exchange 20000 [--json]"
                    );
                    return ExitCode::from(2);
                }
            },
        }
    }
    let found = [false, true].map(|tls| measure(calls, tls));
    if json {
        let lines: Vec<_> = found.iter().map(Figures::json).collect();
        println!("{}", serde_json::json!({ "on": ON, "off": OFF, "exchange": lines }));
    } else {
        println!("on: {ON}\noff: {OFF}");
        found.iter().for_each(|one| println!("{}", one.text()));
    }
    ExitCode::SUCCESS
}

const ON: &str = "digest, wall, gate, facts, snapshots, records, ladders";
const OFF: &str = "journal chain, database, sockets, relay";
const ROUNDS: u64 = 5;
/// Callers, each with a phone that it calls.
const PAIRS: usize = 200;

/// What one way of calling costs. Times are CPU time of the exchange alone.
struct Figures {
    tls: bool,
    calls: u64,
    registration: Duration,
    /// Of a call, for each round, sorted.
    call: Vec<Duration>,
    /// For each call.
    inputs: f64,
    messages: f64,
    bytes: f64,
    rows: f64,
    facts: f64,
    lines: f64,
}

impl Figures {
    fn way(&self) -> &'static str {
        if self.tls { "TLS, SRTP" } else { "UDP, RTP" }
    }

    fn text(&self) -> String {
        let us = |span: Duration| span.as_secs_f64() * 1e6;
        let (median, most) = (self.call.len() / 2, self.call.len() - 1);
        format!(
            "{}: {:.0} µs a call (median of {ROUNDS}, {:.0} to {:.0}, {} calls), {:.0} µs a registration; a call has {:.1} \
             inputs, sends {:.1} messages ({:.0} bytes), writes {:.1} rows, {:.1} facts and {:.1} lines of its ladder",
            self.way(),
            us(self.call[median]),
            us(self.call[0]),
            us(self.call[most]),
            self.calls,
            us(self.registration),
            self.inputs,
            self.messages,
            self.bytes,
            self.rows,
            self.facts,
            self.lines,
        )
    }

    fn json(&self) -> serde_json::Value {
        let us = |span: &Duration| span.as_secs_f64() * 1e6;
        serde_json::json!({
            "way": self.way(),
            "calls": self.calls,
            "call_us": { "median": us(&self.call[self.call.len() / 2]), "rounds": self.call.iter().map(us).collect::<Vec<_>>() },
            "registration_us": us(&self.registration),
            "per_call": {
                "inputs": self.inputs, "messages": self.messages, "bytes": self.bytes,
                "rows": self.rows, "facts": self.facts, "ladder_lines": self.lines,
            },
        })
    }
}

fn measure(calls: u64, tls: bool) -> Figures {
    let mut world = World::new(PAIRS * 2, tls);
    world.register();
    let registration = world.spent / (PAIRS * 2) as u32;
    let mut call = Vec::new();
    for _ in 0..ROUNDS {
        let (before, answered) = (world.spent, world.answered);
        while world.answered < answered + calls / ROUNDS {
            world.round(PAIRS);
        }
        call.push((world.spent - before) / (world.answered - answered) as u32);
    }
    call.sort();
    let each = |count: u64| count as f64 / world.answered as f64;
    Figures {
        tls,
        calls: world.answered,
        registration,
        call,
        inputs: each(world.inputs),
        messages: each(world.sent),
        bytes: each(world.bytes),
        rows: each(world.rows),
        facts: each(world.facts),
        lines: each(world.traces),
    }
}
