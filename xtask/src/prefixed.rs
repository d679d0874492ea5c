//! A stream whose every line says where it comes from.

use std::io::{self, Write};

use crate::lines::Lines;

/// Passes lines on, each once it is complete, with a prefix.
#[derive(Debug)]
pub(crate) struct Prefixed<W: Write> {
    prefix: String,
    out: W,
    lines: Lines,
}

impl<W: Write> Prefixed<W> {
    pub(crate) fn new(prefix: String, out: W) -> Self {
        Self { prefix, out, lines: Lines::default() }
    }
}

impl<W: Write> Write for Prefixed<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        for line in self.lines.push(piece) {
            // One call: another stream may end up in the same place.
            self.out.write_all(format!("{}{line}\n", self.prefix).as_bytes())?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Drop for Prefixed<W> {
    fn drop(&mut self) {
        if !self.lines.unfinished().is_empty() {
            // The reader is gone: there is nobody to tell.
            let _ = self.write(b"\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_prefix_also_one_without_an_end() {
        let mut out = Vec::new();
        let mut prefixed = Prefixed::new("1 | ".into(), &mut out);
        prefixed.write_all(b"on").unwrap();
        prefixed.write_all(b"e\n\ntw").unwrap();
        prefixed.write_all(b"o").unwrap();
        drop(prefixed);
        assert_eq!(String::from_utf8(out).unwrap(), "1 | one\n1 | \n1 | two\n");
    }
}
