//! How long reading a number takes: it lies on the path of every call.
//!
//! `cargo run --release -p guard --example dial_plan_speed`
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::Instant;

use guard::number::{Country, Digits};
use guard::numbering::{DialPlan, countries_of, e164};

fn main() {
    let plan = |home: &str, area: &str| {
        let home: Country = home.parse().expect("two capital letters");
        DialPlan::new(home).with_outside_line(Some('9')).with_area(Some(area.to_owned()))
    };
    let (us, de) = (plan("US", "212"), plan("DE", "30"));
    let rows = [
        ("US, with +", &us, "+12125550123"),
        ("US, ten digits", &us, "7185550123"),
        ("US, local behind 9", &us, "95550123"),
        ("US to the Dominican Republic", &us, "18095550123"),
        ("US to London", &us, "011442079460000"),
        ("US, directory enquiries", &us, "411"),
        ("US, longest nonsense", &us, "99999999999999999999999999999999"),
        ("US, unknown with +", &us, "+999123456789"),
        ("DE, national", &de, "0891234567"),
        ("DE, unknown", &de, "900000000000000"),
    ];
    for (name, plan, text) in rows {
        let digits = Digits::parse(text).expect("digits");
        let first = Instant::now();
        black_box(plan.read(&digits));
        let first = first.elapsed();
        let each = time(|| drop(black_box(plan.read(black_box(&digits)))));
        println!("{name:<30} {each:>6} ns, the first time {first:?}");
    }
    let each =
        time(|| drop(black_box(e164(black_box("030 123456"), "DE".parse().expect("a country")))));
    println!("{:<30} {each:>6} ns", "e164");
    println!(
        "{:<30} {:>6} ns",
        "countries_of 1",
        time(|| drop(black_box(countries_of(black_box("1")))))
    );
}

/// Nanoseconds of one, as the least of ten averages.
fn time(mut run: impl FnMut()) -> u128 {
    const TIMES: u32 = 10_000;
    let average = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..TIMES).for_each(|_| run());
        start.elapsed().as_nanos() / u128::from(TIMES)
    };
    (0..10).map(|_| average(&mut run)).min().unwrap_or_default()
}
