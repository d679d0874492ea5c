//! The mark of a connection that came in by the veth, and its bit.

use std::fmt;
use std::str::FromStr;

/// A value under a mask, as `ip rule` writes it: `0x80/0x80`.
///
/// A mark belongs to everybody who marks packets in the pod. Only the bits of the mask are ever
/// compared or changed: an application's `SO_MARK` and Istio's 0x539 keep theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    value: u32,
    mask: u32,
}

/// A text or number that is not a mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no mark: write VALUE/MASK, as 0x80/0x80, with a value that is not 0 and has no bit \
     outside of the mask"
)]
pub struct MarkError(String);

impl Mark {
    /// A bit that Istio's mark 0x539 and kube-proxy's 0x4000 and 0x8000 lack.
    pub const DEFAULT: Self = Self { value: 0x80, mask: 0x80 };

    /// The bits that a marked packet has.
    pub fn value(self) -> u32 {
        self.value
    }

    /// The bits that are looked at.
    pub fn mask(self) -> u32 {
        self.mask
    }

    /// `None` for one that marks nothing, or never matches.
    pub(crate) fn new(value: u32, mask: u32) -> Option<Self> {
        (value != 0 && value & !mask == 0).then_some(Self { value, mask })
    }
}

impl From<Mark> for cni_net::Mark {
    fn from(Mark { value, mask }: Mark) -> Self {
        Self { value, mask }
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for Mark {
    type Err = MarkError;

    /// `VALUE/MASK`, or a value alone, which is its own mask: no other bit is touched.
    fn from_str(text: &str) -> Result<Self, MarkError> {
        let (value, mask) = text.split_once('/').unwrap_or((text, text));
        let numbers = number(value).zip(number(mask));
        let valid = numbers.and_then(|(value, mask)| Self::new(value, mask));
        valid.ok_or_else(|| MarkError(text.to_owned()))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

fn number(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    // from_str_radix alone would also take a sign.
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_mask_in_any_notation() {
        for (text, shown) in [
            ("0x80/0x80", "0x80/0x80"),
            ("0x80", "0x80/0x80"),
            ("128/0xFF", "0x80/0xff"),
            ("1/0xffffffff", "0x1/0xffffffff"),
        ] {
            assert_eq!(text.parse::<Mark>().unwrap().to_string(), shown);
        }
        assert_eq!(Mark::default(), "0x80/0x80".parse().unwrap());
    }

    #[test]
    fn what_marks_nothing_or_never_matches_is_refused() {
        for text in ["", "0", "0/0x80", "0x180/0x80", "x", "0x1/", "-1", "+1", "0x100000000", "1/2"]
        {
            let error = text.parse::<Mark>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no mark: ")), "{error}");
        }
    }
}
