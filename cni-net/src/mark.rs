//! A mark on a packet or a connection.

use std::{fmt, str::FromStr};

/// A value in the bits of a mask: who matches looks at those bits only, and who sets it leaves the
/// others as they are. Shown and parsed as iproute2 does, `0x80/0x80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Within the mask.
    pub value: u32,
    /// Which bits count.
    pub mask: u32,
}

impl Mark {
    /// One bit, or several, that are set where the mark is.
    pub const fn bits(bits: u32) -> Self {
        Self { value: bits, mask: bits }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

impl FromStr for Mark {
    type Err = MarkError;

    /// `VALUE` (then every bit counts) or `VALUE/MASK`, each decimal or hexadecimal with `0x`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || MarkError(text.to_owned());
        let number = |text: &str| {
            let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                Some(digits) if digits.starts_with('+') => return Err(error()),
                Some(digits) => u32::from_str_radix(digits, 16),
                None => text.parse(),
            };
            parsed.map_err(|_| error())
        };
        let mark = match text.split_once('/') {
            Some((value, mask)) => Self { value: number(value)?, mask: number(mask)? },
            None => Self { value: number(text)?, mask: u32::MAX },
        };
        if mark.value & !mark.mask == 0 { Ok(mark) } else { Err(error()) }
    }
}

/// The text is not a mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mark: VALUE or VALUE/MASK is needed, as 0x80/0x80, the value in the mask")]
pub struct MarkError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_it_parses() {
        let mark = Mark::bits(0x80);
        assert_eq!(mark.to_string(), "0x80/0x80");
        assert_eq!("0x80/0x80".parse(), Ok(mark));
        assert_eq!("128/0X80".parse(), Ok(mark));
        assert_eq!("1".parse(), Ok(Mark { value: 1, mask: u32::MAX }));
    }

    #[test]
    fn refuses_what_is_no_mark() {
        for text in ["", "0x", "0x+1", "-1", "0x100000000", "1/", "0x3/0x1", "1/1/1"] {
            let error = text.parse::<Mark>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
