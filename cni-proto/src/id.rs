//! The three names that key all a plugin does; each holds only what the specification allows.

use std::fmt;
use std::str::FromStr;

/// A text that cannot be the name it was given as; `what` and `rule` say which and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {value:?}: it must {rule}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

const IDENTIFIER: &str =
    "start with a letter or digit and go on with letters, digits, '_', '.' or '-'";
const INTERFACE: &str =
    "be 1 to 15 bytes, not \".\" or \"..\", without '/', ':', NUL and white space";

/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, the rule for container ids and network names alike: both become
/// components of paths (specification, section 2, "Parameters" and section 1).
fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// The kernel's `dev_valid_name`, with white space as Unicode has it.
fn is_interface(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text.contains(|c: char| matches!(c, '/' | ':' | '\0') || c.is_whitespace())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $holds:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it obeys the rule.
            ///
            /// # Errors
            /// [`InvalidName`] with the text and the rule it broke.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let value = text.into();
                if $holds(&value) {
                    Ok(Self(value))
                } else {
                    Err(InvalidName { what: $what, value, rule: $rule })
                }
            }

            /// The name as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    };
}

name!(
    /// `CNI_CONTAINERID`: which container, unique on the node while it lives.
    ContainerId,
    "CNI_CONTAINERID",
    is_identifier,
    IDENTIFIER
);
name!(
    /// `CNI_IFNAME`: the interface inside the container. With the container it names one
    /// attachment to a network.
    IfName,
    "CNI_IFNAME",
    is_interface,
    INTERFACE
);
name!(
    /// `name` of the configuration: which network, unique on the node.
    NetworkName,
    "network name",
    is_identifier,
    IDENTIFIER
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for good in ["a", "0", "ipvlan-eth0", "A_b.c-d", "1-", &"x".repeat(300)] {
            assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
            assert_eq!(NetworkName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".", "..", "_a", "a/b", "a b", "a\n", "\u{e9}", "a\u{e9}", "a:b"] {
            assert!(ContainerId::new(bad).is_err(), "{bad:?}");
            assert!(NetworkName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn interfaces() {
        for good in ["eth0", "e", "123456789012345", "...", "-", "net1@x", "\u{e9}\u{e9}"] {
            assert_eq!(IfName::new(good).unwrap().as_str(), good);
        }
        let too_long_in_bytes = "\u{e9}".repeat(8);
        for bad in [
            "",
            ".",
            "..",
            "1234567890123456",
            "a/b",
            "a:b",
            "a b",
            "a\tb",
            "a\u{a0}b",
            "a\u{2003}b",
            "a\0b",
            &too_long_in_bytes,
        ] {
            assert!(IfName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_names_the_variable_the_value_and_the_rule() {
        let error = IfName::new("a/b").unwrap_err().to_string();
        assert_eq!(error, format!("invalid CNI_IFNAME \"a/b\": it must {INTERFACE}"));
    }
}
