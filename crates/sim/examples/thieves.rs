//! Plays thefts: `thieves N`. Each with what was printed, what was billed, and how.

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    for seed in 1..=count {
        let theft = sim::random::theft::steal(seed);
        println!("{theft:?}");
    }
}
