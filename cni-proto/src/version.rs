//! The versions of the specification that this crate speaks.
//!
//! A version is one variant here and one layout in [`crate::result`]; every `match` on it is
//! exhaustive, so a further variant does not compile before its layout exists.

use std::fmt;
use std::str::FromStr;

/// Which version of the CNI specification a configuration asks for, oldest first in `Ord`.
///
/// The text has to match literally: the specification has no ranges and no "compatible" versions,
/// and 1.2 or 1.3 are releases of a Go library, not of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// 0.1.0: `ip4` and `ip6`, one address each. What a configuration without `cniVersion` means.
    V0_1_0,
    /// 0.2.0: VERSION.
    V0_2_0,
    /// 0.3.0: lists of interfaces, addresses and routes; plugins in a chain.
    V0_3_0,
    /// 0.3.1: 0.3.0 with its text corrected.
    V0_3_1,
    /// 0.4.0: CHECK, and the result for DEL.
    V0_4_0,
    /// 1.0.0: `ips[]` without the family's number.
    V1_0_0,
    /// 1.1.0: GC, STATUS, more about interfaces and routes.
    V1_1_0,
}

impl Version {
    /// Every version that is spoken, oldest first; VERSION answers with this list.
    pub const SUPPORTED: &[Self] = &[
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// What is spoken when nobody asked for a version that is known.
    pub const NEWEST: Self = Self::V1_1_0;

    /// What a configuration without `cniVersion` means (Go's `version.ConfigDecoder`).
    pub const IMPLIED: Self = Self::V0_1_0;

    /// The version as the specification writes it, for example `1.0.0`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = UnsupportedVersion;

    /// # Errors
    /// [`UnsupportedVersion`] for every text that is not literally one of [`Self::SUPPORTED`].
    fn from_str(text: &str) -> Result<Self, UnsupportedVersion> {
        let found = Self::SUPPORTED.iter().find(|version| version.as_str() == text);
        found.copied().ok_or_else(|| UnsupportedVersion(text.to_owned()))
    }
}

/// The text was no version that this crate speaks: change `cniVersion` to a listed one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("config is {0:?}, plugin supports {list:?}", list = supported())]
pub struct UnsupportedVersion(String);

/// The texts of [`Version::SUPPORTED`].
pub(crate) fn supported() -> Vec<&'static str> {
    Version::SUPPORTED.iter().map(|version| version.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_ordered_and_ends_with_the_newest() {
        assert!(Version::SUPPORTED.is_sorted());
        assert_eq!(Version::SUPPORTED.last(), Some(&Version::NEWEST));
        for version in Version::SUPPORTED {
            assert_eq!(version.to_string().parse(), Ok(*version));
        }
    }

    #[test]
    fn only_the_literal_text_is_a_version() {
        for text in ["", "0.1", "1.0", "1.0.0 ", "v1.0.0", "0.3.2", "1.2.0", "1.3.0"] {
            let error = text.parse::<Version>().unwrap_err();
            let list = r#"["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]"#;
            assert_eq!(error.to_string(), format!("config is {text:?}, plugin supports {list}"));
        }
    }
}
