//! Lines out of a stream that arrives in pieces.

/// Collects pieces; gives each line once it is complete.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    unfinished: Vec<u8>,
}

impl Lines {
    /// The lines that `piece` completes, without their ends.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in piece {
            if *byte == b'\n' {
                lines.push(String::from_utf8_lossy(&self.unfinished).into_owned());
                self.unfinished.clear();
            } else {
                self.unfinished.push(*byte);
            }
        }
        lines
    }

    /// What has come of the line that is not complete.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.unfinished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_once_complete() {
        let mut lines = Lines::default();
        assert!(lines.push(b"te").is_empty());
        assert_eq!(lines.push(b"st\n\nx"), ["test", ""]);
        assert_eq!(lines.unfinished(), b"x");
    }
}
