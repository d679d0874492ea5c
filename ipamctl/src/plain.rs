//! Text for a terminal: names that others chose may hold what a terminal obeys.

use std::io::{self, Stderr, Write};

/// The text without control characters, and without those that turn the direction of writing
/// (Unicode Standard Annex 9, section 2): each stands there as `\u{1b}`. Lines and tabs stay.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_obeyed(character) {
            plain.extend(character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// JSON without them either: of these it escapes by itself only those of ASCII (RFC 8259, section 7).
pub(crate) fn json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_obeyed(character) {
            // Outside of strings there are none, and all are within 16 bits.
            plain.extend(format!("\\u{:04x}", u32::from(character)).chars());
        } else {
            plain.push(character);
        }
    }
    plain
}

fn is_obeyed(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || character.is_control() && !matches!(character, '\n' | '\t')
}

/// Writes text as [`plain`] has it.
pub(crate) struct Plain<W>(pub(crate) W);

/// Standard error, for one line.
pub(crate) fn stderr() -> Plain<Stderr> {
    Plain(io::stderr())
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // A character is never in two parts: everything here is written by `write!`.
        self.0.write_all(plain(&String::from_utf8_lossy(buffer)).as_bytes())?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_nothing_else_changes() {
        assert_eq!(plain("web-0\tpod é 日\n"), "web-0\tpod é 日\n");
        let mut written = Plain(Vec::new());
        let name = "\x1b[2J\u{9b}1m\r\u{7}\u{202e}";
        write!(written, "a{name}b").unwrap();
        let written = String::from_utf8(written.0).unwrap();
        assert_eq!(json("\"\u{9b}\u{202e}\\n\""), "\"\\u009b\\u202e\\n\"");
        assert_eq!(written, "a\\u{1b}[2J\\u{9b}1m\\u{d}\\u{7}\\u{202e}b");
    }
}
