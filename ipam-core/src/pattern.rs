//! A pool's name, or a pattern that stands for the names it matches.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::owner::{LONGEST_NAME, NameError, PoolName};

/// A reference to pools: one name, or a wildcard over names.
///
/// A text is a wildcard if it contains `*`, `?`, or both `[` and `]` (the peer's rule): `*` stands
/// for any characters, `?` for one, `[ab]`, `[a-f]` and `[^a]` for one of or none of a class, and a
/// backslash takes the next character literally (Go's `path.Match`; names have no slash).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolPattern {
    text: String,
    parts: Option<Vec<Part>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Any,
    One,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A text that is neither a pool's name nor a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Not a name.
    #[error("{0}")]
    Name(NameError),
    /// A class that is not closed or empty, or a backslash at the end.
    #[error("{text:?} is no pattern: close each [class] and put a character behind a backslash")]
    Malformed {
        /// The text.
        text: String,
    },
}

impl PoolPattern {
    /// Whether the text stands for more than the name it is.
    pub fn is_wildcard(&self) -> bool {
        self.parts.is_some()
    }

    /// Whether the pattern stands for `name`.
    pub fn matches(&self, name: &PoolName) -> bool {
        match &self.parts {
            None => self.text == name.as_str(),
            Some(parts) => matches(parts, name.as_str()),
        }
    }
}

impl From<PoolName> for PoolPattern {
    fn from(name: PoolName) -> Self {
        Self { text: name.to_string(), parts: None }
    }
}

impl FromStr for PoolPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > LONGEST_NAME {
            let length = text.len();
            return Err(PatternError::Name(NameError::TooLong { what: "a pool name", length }));
        }
        let has_class = text.contains('[') && text.contains(']');
        if text.contains(['*', '?']) || has_class {
            let malformed = || PatternError::Malformed { text: text.to_string() };
            let parts = parse(text).ok_or_else(malformed)?;
            return Ok(Self { text: text.to_string(), parts: Some(parts) });
        }
        text.parse::<PoolName>().map(Self::from).map_err(PatternError::Name)
    }
}

impl fmt::Display for PoolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        parts.push(match next {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Literal(rest.next()?),
            '[' => class(&mut rest)?,
            literal => Part::Literal(literal),
        });
    }
    Some(parts)
}

fn class(rest: &mut core::str::Chars<'_>) -> Option<Part> {
    let mut ranges = Vec::new();
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    loop {
        let low = match rest.next()? {
            ']' if ranges.is_empty() => return None,
            ']' => return Some(Part::Class { negated, ranges }),
            '-' => return None,
            '\\' => rest.next()?,
            low => low,
        };
        let mut high = low;
        if rest.as_str().starts_with('-') {
            rest.next();
            high = match rest.next()? {
                ']' | '-' => return None,
                '\\' => rest.next()?,
                high => high,
            };
        }
        ranges.push((low, high));
    }
}

/// Steps back to the last `*` only, so the cost is at most the product of both lengths.
fn matches(parts: &[Part], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut part, mut at) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    loop {
        match parts.get(part) {
            None if at == name.len() => return true,
            Some(Part::Any) => {
                last_any = Some((part, at));
                part += 1;
                continue;
            }
            Some(one) if name.get(at).is_some_and(|&found| one.takes(found)) => {
                part += 1;
                at += 1;
                continue;
            }
            _ => {}
        }
        match last_any {
            Some((any, from)) if from < name.len() => {
                last_any = Some((any, from + 1));
                part = any + 1;
                at = from + 1;
            }
            _ => return false,
        }
    }
}

impl Part {
    fn takes(&self, found: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == found,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&found)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wildcards_match_as_in_go() {
        for (pattern, name, matches) in [
            ("master-172", "master-172", true),
            ("master-172", "master-1", false),
            ("*", "anything", true),
            ("master-*", "master-172", true),
            ("master-*", "master-", true),
            ("master-*", "worker-172", false),
            ("*-172", "master-172", true),
            ("*-1*2", "master-1x2x2", true),
            ("*a*b", "aaab", true),
            ("*a*b", "aaac", false),
            ("master-17?", "master-172", true),
            ("master-17?", "master-17", false),
            ("master-[12]72", "master-172", true),
            ("master-[3-9]72", "master-172", false),
            ("master-[^3-9]72", "master-172", true),
            ("master-\\172*", "master-172", true),
            ("m**r", "master", true),
            ("?*", "a", true),
            ("?*", "ab", true),
        ] {
            let pattern: PoolPattern = pattern.parse().unwrap();
            let found = pattern.matches(&name.parse().unwrap());
            assert_eq!(found, matches, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_neither_name_nor_pattern_is_refused() {
        for text in ["", "Upper", "a b", "a[", "a[]*", "a[b-]", "a*\\", "[a-]*"] {
            assert!(text.parse::<PoolPattern>().is_err(), "{text:?}");
        }
        assert!(!"a[".parse::<PoolPattern>().is_ok_and(|pattern| pattern.is_wildcard()));
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern: PoolPattern = "*a".repeat(100).parse().unwrap();
        let name: PoolName = alloc::format!("{}b", "a".repeat(250)).parse().unwrap();
        assert!(!pattern.matches(&name));
    }
}
