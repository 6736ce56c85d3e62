//! How the story is told: a line for each event with its time, evidence indented below it, nothing said
//! by colour alone.

use std::io::Write;
use std::time::Instant;

use crate::cli::print::wrapped;

/// Writes as it goes. Who closed the other end hears no more; the demonstration goes on.
pub(crate) struct Teller {
    out: Box<dyn Write + Send>,
    colour: bool,
    begun: Instant,
}

impl Teller {
    pub(crate) fn new(out: Box<dyn Write + Send>, colour: bool) -> Self {
        Self { out, colour, begun: Instant::now() }
    }

    /// What comes next.
    pub(crate) fn act(&mut self, title: &str) {
        let title = self.painted(BOLD, title);
        self.write(&format!("\n{title}\n"));
    }

    /// Something happened, now.
    pub(crate) fn event(&mut self, text: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let head = format!("{seconds:>6.1} s  ");
        self.write(&wrapped(text, &head));
    }

    /// What it rests on.
    pub(crate) fn evidence(&mut self, text: &str) {
        self.write(&wrapped(text, EVIDENCE));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.write(text);
    }

    /// `holds` or `FAILS`: told apart by the word, and by colour where there is one.
    pub(crate) fn verdict(&self, holds: bool) -> String {
        match holds {
            true => self.painted(GREEN, "holds"),
            false => self.painted(RED, "FAILS"),
        }
    }

    fn painted(&self, with: &str, text: &str) -> String {
        if self.colour { format!("{with}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

const EVIDENCE: &str = "             ";
const BOLD: &str = "\u{1b}[1m";
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[1;31m";
const PLAIN: &str = "\u{1b}[0m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_a_word_with_and_without_colour() {
        for colour in [false, true] {
            let teller = Teller::new(Box::new(std::io::sink()), colour);
            assert!(teller.verdict(true).contains("holds"));
            assert!(teller.verdict(false).contains("FAILS"));
            assert_eq!(teller.verdict(true).contains('\u{1b}'), colour);
        }
    }
}
