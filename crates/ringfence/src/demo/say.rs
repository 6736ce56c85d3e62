//! How the story is told: a line for each event with its time, evidence indented below it, nothing said
//! by colour alone.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::cli::print::wrapped;

/// Writes as it goes. Who closed the other end hears no more; the demonstration goes on.
pub(crate) struct Teller {
    out: Box<dyn Write + Send>,
    colour: bool,
    begun: Instant,
    silent: Arc<AtomicBool>,
    /// Why nothing can be written, bar a reader that has seen enough.
    broken: Option<String>,
}

impl Teller {
    pub(crate) fn new(out: Box<dyn Write + Send>, colour: bool) -> Self {
        let silent = Arc::new(AtomicBool::new(false));
        Self { out, colour, begun: Instant::now(), silent, broken: None }
    }

    /// Set, nothing more is told.
    pub(crate) fn silence(&self) -> Arc<AtomicBool> {
        self.silent.clone()
    }

    /// Why the story could not be told, if it couldn't.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
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
        if self.silent.load(Ordering::Relaxed) {
            return;
        }
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.broken.get_or_insert_with(|| error.to_string());
        }
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

    /// A full disk, which takes nothing.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_could_not_be_told_is_known_and_after_a_stop_nothing_is_told() {
        let mut teller = Teller::new(Box::new(Full), false);
        teller.text("once upon a time");
        assert!(teller.broken().is_some());
        let mut teller = Teller::new(Box::new(Full), false);
        teller.silence().store(true, Ordering::Relaxed);
        teller.act("THE BILL");
        assert_eq!(teller.broken(), None, "nothing was written");
    }

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
