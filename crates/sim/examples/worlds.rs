//! Plays random worlds: `worlds N [--seed S] [--lines L]`. Prints each failure with its seed, then what was
//! reached, then `N passed, M failed`. Called by `crates/sim/worlds`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use sim::coverage::Coverage;
use sim::random::{self, Outcome};

fn main() -> ExitCode {
    let mut worlds = 2_000;
    let mut first = 1;
    let mut lines = 60;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
        let parsed = match argument.as_str() {
            "--seed" => number(arguments.next()).map(|seed| first = seed),
            "--lines" => number(arguments.next()).map(|count| lines = count as usize),
            _ => number(Some(argument)).map(|count| worlds = count),
        };
        if parsed.is_none() {
            eprintln!("usage: worlds [N] [--seed S] [--lines L]");
            return ExitCode::from(2);
        }
    }
    let (mut coverage, mut failed) = (Coverage::default(), 0);
    let (mut calls, mut answered, mut minutes) = (0, 0, 0.0);
    let mut fewest = (u64::MAX, f64::MAX);
    // Each thread takes the next seed; what they found is put together in the order of the seeds.
    let (next, found) = (AtomicU64::new(first), mpsc::channel());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes: BTreeMap<u64, Outcome> = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, tell) = (&next, found.0.clone());
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + worlds {
                        break;
                    }
                    let mut outcome = random::play(seed);
                    // Only a failure shows its ladder: thousands of others would fill the memory.
                    if outcome.broken.is_empty() {
                        outcome.ladder = Vec::new();
                    }
                    if tell.send((seed, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(found.0);
        found.1.into_iter().collect()
    });
    for (seed, outcome) in outcomes {
        coverage.add(&outcome.coverage);
        calls += outcome.calls;
        answered += outcome.answered;
        let lasted = outcome.lasted.as_secs_f64() / 60.0;
        minutes += lasted;
        fewest = (fewest.0.min(outcome.calls), fewest.1.min(lasted));
        if !outcome.broken.is_empty() {
            failed += 1;
            if failed <= SHOWN {
                println!("seed {seed} broke:");
                for line in outcome.ladder.iter().rev().take(lines).rev() {
                    println!("    {line}");
                }
                for what in &outcome.broken {
                    println!("  {what}");
                }
            } else {
                println!("seed {seed} broke: {}", outcome.broken[0].lines().next().unwrap_or(""));
            }
        }
    }
    println!("reached:\n{coverage}");
    println!("{calls} calls ({answered} answered) in {minutes:.0} simulated minutes");
    println!("at the least {} calls and {:.1} minutes a world", fewest.0, fewest.1);
    // Few worlds can't reach everything.
    let missing = if worlds >= ENOUGH { coverage.missing() } else { Vec::new() };
    for item in &missing {
        println!("never reached: {}", item.name());
    }
    println!("{} passed, {failed} failed", worlds - failed);
    if failed == 0 && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Failures that are shown with their ladder.
const SHOWN: u64 = 3;
/// Worlds from which on every item must have been reached.
const ENOUGH: u64 = 500;
