//! Names of links, as a configuration lists them.

use std::fmt;
use std::str::FromStr;

/// A link's name, or the beginning of names: `lo`, `docker*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkPattern {
    beginning: String,
    /// Whether more may follow.
    open: bool,
}

/// A text that is neither a link's name nor a beginning of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no link's name (1 to 15 bytes without '/', ':' and white space) nor a beginning of \
     names, as docker*"
)]
pub struct LinkPatternError(String);

impl LinkPattern {
    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        if self.open { name.starts_with(&self.beginning) } else { name == self.beginning }
    }

    /// The links of a node whose addresses are not the node's own for its pods: those of container
    /// networks, bridges for virtual machines and the loopback. The peer's list.
    pub fn defaults() -> Vec<Self> {
        let beginning = |name: &&str| Self { beginning: (*name).to_owned(), open: true };
        let mut all: Vec<Self> = BEGINNINGS.iter().map(beginning).collect();
        all.push(Self { beginning: "lo".to_owned(), open: false });
        all
    }
}

const BEGINNINGS: [&str; 12] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "cali",
    "flannel",
    "kube-ipvs",
    "cni",
    "vx-submariner",
    "cilium",
];

impl FromStr for LinkPattern {
    type Err = LinkPatternError;

    fn from_str(text: &str) -> Result<Self, LinkPatternError> {
        let (beginning, open) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
        let forbidden = |c: char| matches!(c, '/' | ':' | '*' | '\0') || c.is_whitespace();
        if beginning.is_empty() || beginning.len() > 15 || beginning.contains(forbidden) {
            return Err(LinkPatternError(text.to_owned()));
        }
        Ok(Self { beginning: beginning.to_owned(), open })
    }
}

impl fmt::Display for LinkPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.beginning)?;
        if self.open { f.write_str("*") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_itself_and_a_beginning_what_it_begins() {
        let matches = |pattern: &str, name| pattern.parse::<LinkPattern>().unwrap().matches(name);
        assert!(matches("lo", "lo") && !matches("lo", "lo0"));
        assert!(matches("docker*", "docker0") && matches("docker*", "docker"));
        assert!(!matches("docker*", "mydocker"));
        assert_eq!("cali*".parse::<LinkPattern>().unwrap().to_string(), "cali*");
    }

    #[test]
    fn the_peers_links_are_excluded_and_nics_are_not() {
        let excluded =
            |name: &str| LinkPattern::defaults().iter().any(|pattern| pattern.matches(name));
        for name in ["docker0", "cbr0", "dummy0", "virbr0", "lxcbr0", "veth0123456789a", "lo"] {
            assert!(excluded(name), "{name}");
        }
        for name in ["cali1234", "flannel.1", "kube-ipvs0", "cni0", "vx-submariner", "cilium_host"]
        {
            assert!(excluded(name), "{name}");
        }
        for name in ["eth0", "ens5", "bond0", "lo1", "br0"] {
            assert!(!excluded(name), "{name}");
        }
    }

    #[test]
    fn what_no_link_can_be_named_is_refused() {
        for text in ["", "*", "a*b", "a/b", "a b", "1234567890123456"] {
            assert!(text.parse::<LinkPattern>().is_err(), "{text:?}");
        }
    }
}
