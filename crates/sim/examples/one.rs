fn main() {
    let seed: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let outcome = sim::random::play(seed);
    for line in &outcome.ladder { println!("{line}"); }
    println!("{:#?}", outcome.broken);
}
