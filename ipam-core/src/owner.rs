//! Who asks for an address and who holds it: the names that travel together, each its own type.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// Longest name that is accepted, in bytes: the bound of a Kubernetes object name.
pub(crate) const LONGEST_NAME: usize = 253;

/// A name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("{what} must not be empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// The name is longer than 253 bytes.
    #[error("{what} of {length} bytes is too long: at most {LONGEST_NAME}")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// The name has a character that its kind forbids.
    #[error("{what} {name:?} must not contain {found:?}: {rule}")]
    Character {
        /// Which kind of name.
        what: &'static str,
        /// The name.
        name: String,
        /// The first forbidden character.
        found: char,
        /// What is allowed.
        rule: &'static str,
    },
}

fn checked(
    what: &'static str,
    name: &str,
    rule: &'static str,
    allowed: impl Fn(char) -> bool,
) -> Result<String, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > LONGEST_NAME {
        return Err(NameError::TooLong { what, length: name.len() });
    }
    match name.chars().find(|&found| !allowed(found)) {
        Some(found) => Err(NameError::Character { what, name: name.to_string(), found, rule }),
        None => Ok(name.to_string()),
    }
}

fn is_visible(found: char) -> bool {
    !found.is_control() && !found.is_whitespace()
}

fn is_object_name(found: char) -> bool {
    found.is_ascii_lowercase() || found.is_ascii_digit() || matches!(found, '-' | '.')
}

const VISIBLE: &str = "white space and control characters are not allowed";
const OBJECT_NAME: &str = "only a-z, 0-9, '-' and '.' are allowed (RFC 1123)";

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:ident, $allowed:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                checked($what, name, $rule, $allowed).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a pool: `metadata.name` of its document.
    PoolName, "a pool name", OBJECT_NAME, is_object_name
}
name! {
    /// The Kubernetes name of a node.
    NodeName, "a node name", VISIBLE, is_visible
}
name! {
    /// The name of a Kubernetes namespace.
    NamespaceName, "a namespace name", VISIBLE, is_visible
}
name! {
    /// The CNI network's name: `name` of the network configuration.
    NetworkName, "a network name", VISIBLE, is_visible
}
name! {
    /// The runtime's id of a container or pod sandbox: `CNI_CONTAINERID`.
    ContainerId, "a container id", VISIBLE, is_visible
}
name! {
    /// The name of the interface in the container: `CNI_IFNAME`.
    IfName, "an interface name", VISIBLE, is_visible
}

name! {
    /// The id of one boot of the node: `/proc/sys/kernel/random/boot_id`.
    BootId, "a boot id", VISIBLE, is_visible
}

/// One interface of one container in one network: what holds an address.
///
/// This is the key of every decision. The pod is an attribute of it, never a part: a new sandbox
/// of the same pod is another attachment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// The CNI network.
    pub network: NetworkName,
    /// The container or pod sandbox.
    pub container: ContainerId,
    /// The interface in it.
    pub ifname: IfName,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container, self.ifname)
    }
}

/// The pod behind an attachment, as far as the runtime told (`K8S_POD_*` of `CNI_ARGS`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`; older runtimes do not pass it.
    pub uid: Option<String>,
}

impl PodRef {
    /// A pod by names that are safe to keep and to show.
    ///
    /// # Errors
    ///
    /// One of them is empty, longer than 253 bytes, or has white space or control characters, which
    /// no name of Kubernetes has: they would end up in terminals and logs.
    pub fn new(namespace: &str, name: &str, uid: Option<&str>) -> Result<Self, NameError> {
        let part = |what, text: &str| checked(what, text, VISIBLE, is_visible);
        Ok(Self {
            namespace: part("a pod's namespace", namespace)?,
            name: part("a pod's name", name)?,
            uid: uid.map(|uid| part("a pod's uid", uid)).transpose()?,
        })
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A network as pools and network attachments name it: `namespace/name`, or `name` alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkRef {
    namespace: Option<NamespaceName>,
    name: NetworkName,
}

impl NetworkRef {
    /// Whether both mean the same network: the names are equal, and so are the namespaces where
    /// both sides give one. A reference without namespace matches that name in any namespace,
    /// since a plain CNI configuration has no namespace to give.
    pub fn matches(&self, other: &Self) -> bool {
        let same_namespace = match (&self.namespace, &other.namespace) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        same_namespace && self.name == other.name
    }
}

impl From<NetworkName> for NetworkRef {
    fn from(name: NetworkName) -> Self {
        Self { namespace: None, name }
    }
}

impl FromStr for NetworkRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.parse()?), name),
            None => (None, text),
        };
        if name.contains('/') {
            return Err(NameError::Character {
                what: "a network reference",
                name: text.to_string(),
                found: '/',
                rule: "write namespace/name or name",
            });
        }
        Ok(Self { namespace, name: name.parse()? })
    }
}

impl fmt::Display for NetworkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_without_namespace_matches_that_name_anywhere() {
        let parse = |text: &str| text.parse::<NetworkRef>().unwrap();
        assert!(parse("kube-system/ipvlan-eth0").matches(&parse("kube-system/ipvlan-eth0")));
        assert!(parse("kube-system/ipvlan-eth0").matches(&parse("ipvlan-eth0")));
        assert!(parse("ipvlan-eth0").matches(&parse("kube-system/ipvlan-eth0")));
        assert!(!parse("kube-system/ipvlan-eth0").matches(&parse("default/ipvlan-eth0")));
        assert!(!parse("kube-system/ipvlan-eth0").matches(&parse("ipvlan-eth1")));
    }

    #[test]
    fn names_are_checked_on_entry() {
        assert!("a/b/c".parse::<NetworkRef>().is_err());
        assert!("/b".parse::<NetworkRef>().is_err());
        assert!("a/".parse::<NetworkRef>().is_err());
        assert!("Master".parse::<PoolName>().unwrap_err().to_string().contains("RFC 1123"));
        assert!("a\0b".parse::<ContainerId>().is_err());
        assert!("x".repeat(254).parse::<NodeName>().is_err());
        assert!(PodRef::new("default", "web-0", None).is_ok());
        let long = "x".repeat(100_000);
        for (namespace, name, uid) in [
            ("default", "a\u{1b}[31m", None),
            ("default", &*long, None),
            ("de\nfault", "a", None),
            ("default", "a", Some("1\t2")),
            ("default", "", None),
        ] {
            assert!(PodRef::new(namespace, name, uid).is_err(), "{namespace:?} {uid:?}");
        }
    }
}
