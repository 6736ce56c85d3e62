//! Text of strangers where people read it: names of phones, accounts that were tried, a carrier's words.
//!
//! A terminal obeys control characters, also those of eight bits (U+0080 to U+009F), and a table or a mail
//! would take a line break for its own. What turns the reading direction can make `101` look like `011`.

pub(crate) use guard::fact::is_hostile;

/// One line: nothing in it moves the cursor, breaks the line or turns the direction.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if is_hostile(c) { '\u{fffd}' } else { c }).collect()
}

/// Lines of ours, whatever stands in them.
pub(crate) fn lines(text: &str) -> String {
    let kept = |c: char| matches!(c, '\n' | '\t') || !is_hostile(c);
    text.chars().map(|c| if kept(c) { c } else { '\u{fffd}' }).collect()
}

/// JSON that a terminal may show. Outside of its strings nothing of the kind stands, and within them an
/// escape means the same character.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || !is_hostile(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{9b}31m\u{0}\r\nb\u{202e}\u{2028}\u{7f}\tc";

    #[test]
    fn a_stranger_moves_no_cursor_and_breaks_no_line() {
        assert_eq!(
            line(HOSTILE),
            "a\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}c"
        );
        assert_eq!(lines("one\n\u{1b}two\n"), "one\n\u{fffd}two\n");
        assert_eq!(line("Käthe, 電話 101"), "Käthe, 電話 101");
    }

    #[test]
    fn json_says_the_same_and_moves_nothing() {
        let value = serde_json::json!({ "account": HOSTILE, "name": "Käthe" });
        let printed = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!printed.chars().any(|c| c != '\n' && is_hostile(c)), "{printed:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
    }
}
