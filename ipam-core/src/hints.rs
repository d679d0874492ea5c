//! What pod, namespace and configuration say about pools, and which of them is heard.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::owner::IfName;
use crate::pattern::{PatternError, PoolPattern};

/// Pod annotation: pools per interface, as a JSON list.
pub const ANNOTATION_POOLS: &str = "ipam.spidernet.io/ippools";
/// Pod annotation: pools for the interface, as a JSON object.
pub const ANNOTATION_POOL: &str = "ipam.spidernet.io/ippool";
/// Namespace annotation: IPv4 pools of its pods, as a JSON list.
pub const ANNOTATION_NAMESPACE_V4: &str = "ipam.spidernet.io/default-ipv4-ippool";
/// Namespace annotation: IPv6 pools of its pods, as a JSON list.
pub const ANNOTATION_NAMESPACE_V6: &str = "ipam.spidernet.io/default-ipv6-ippool";
/// Pod annotation: further routes of the pod, as a JSON list of `dst` and `gw`.
pub const ANNOTATION_ROUTES: &str = "ipam.spidernet.io/routes";

/// The longest annotation in bytes that is read: what Kubernetes allows all of a pod's together.
pub const LONGEST_ANNOTATION: usize = 256 << 10;

/// Where pools can be named. Each text is as found; `None` where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints<'a> {
    /// The pod's [`ANNOTATION_POOLS`].
    pub pod_pools: Option<&'a str>,
    /// The pod's [`ANNOTATION_POOL`].
    pub pod_pool: Option<&'a str>,
    /// Its namespace's [`ANNOTATION_NAMESPACE_V4`].
    pub namespace_v4: Option<&'a str>,
    /// Its namespace's [`ANNOTATION_NAMESPACE_V6`].
    pub namespace_v6: Option<&'a str>,
    /// The network configuration's lists.
    pub configuration: Option<NamedPools>,
}

/// Pools that somebody named, per family, in the order of preference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedPools {
    /// For the IPv4 address.
    pub v4: Vec<PoolPattern>,
    /// For the IPv6 address.
    pub v6: Vec<PoolPattern>,
}

/// Which pools are offered to an attachment before any filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// Every pool with `default: true`: nobody named any.
    #[default]
    Defaults,
    /// These pools, default or not. A family with a list that is not empty is required.
    Named(NamedPools),
}

/// What the hints come to for one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The pools offered.
    pub source: Source,
    /// Whether the interface is to have no default route (`cleangateway`).
    pub clean_gateway: bool,
}

/// A hint that cannot be followed. The others are not tried: somebody meant this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HintError {
    /// Longer than [`LONGEST_ANNOTATION`].
    #[error("annotation {key} of {length} bytes: at most {LONGEST_ANNOTATION}")]
    TooLong {
        /// The annotation.
        key: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// Not the JSON that belongs there.
    #[error("annotation {key}: {cause}")]
    Syntax {
        /// The annotation.
        key: &'static str,
        /// What is wrong, and where.
        cause: String,
    },
    /// A text that names no pool.
    #[error("annotation {key}: {cause}")]
    Pattern {
        /// The annotation.
        key: &'static str,
        /// The text and the rule.
        cause: PatternError,
    },
    /// The list for several interfaces breaks one of its rules.
    #[error("annotation {ANNOTATION_POOLS}: {rule}")]
    Interfaces {
        /// The rule, with the offending value.
        rule: String,
    },
    /// One of the routes cannot be made.
    #[error("annotation {ANNOTATION_ROUTES}: {rule}")]
    Route {
        /// The rule, with the offending value.
        rule: String,
    },
    /// A requested address that is none.
    #[error("requested address {text:?}: {rule}")]
    Address {
        /// The text.
        text: String,
        /// What belongs there.
        rule: &'static str,
    },
}

impl Hints<'_> {
    /// Which hint [`Self::wish`] follows, by the key of the annotation; `None` if there is none, so
    /// that the default pools are offered.
    pub fn heard(&self) -> Option<&'static str> {
        [
            (self.pod_pools.is_some(), ANNOTATION_POOLS),
            (self.pod_pool.is_some(), ANNOTATION_POOL),
            (self.namespace_v4.is_some(), ANNOTATION_NAMESPACE_V4),
            (self.namespace_v6.is_some(), ANNOTATION_NAMESPACE_V6),
            (self.configuration.is_some(), "configuration"),
        ]
        .into_iter()
        .find_map(|(is_there, key)| is_there.then_some(key))
    }

    /// What they come to for the interface `ifname`. The first that is there is heard, in the
    /// peer's order: `ippools`, `ippool`, the namespace, the configuration, the default pools.
    ///
    /// # Errors
    ///
    /// The hint that is there cannot be followed: correct it.
    pub fn wish(&self, ifname: &IfName) -> Result<Wish, HintError> {
        if let Some(text) = self.pod_pools {
            return pools_of_interface(text, ifname);
        }
        let named = if let Some(text) = self.pod_pool {
            let Object(listed) = read::<Object<Listed>>(ANNOTATION_POOL, text)?;
            listed.named(ANNOTATION_POOL)?
        } else if self.namespace_v4.is_some() || self.namespace_v6.is_some() {
            let family = |key, text: Option<&str>| match text {
                None => Ok(Vec::new()),
                Some(text) => patterns(key, &read::<Vec<String>>(key, text)?),
            };
            NamedPools {
                v4: family(ANNOTATION_NAMESPACE_V4, self.namespace_v4)?,
                v6: family(ANNOTATION_NAMESPACE_V6, self.namespace_v6)?,
            }
        } else if let Some(named) = &self.configuration {
            named.clone()
        } else {
            return Ok(Wish::default());
        };
        Ok(Wish { source: Source::Named(named), clean_gateway: false })
    }
}

/// The addresses of a request: `IP` of `CNI_ARGS`, `runtimeConfig.ips`, `args.cni.ips` or an
/// annotation. One address or several, separated by commas, each with or without a prefix length.
///
/// # Errors
///
/// [`HintError::Address`] names the text that is no address.
pub fn requested_addresses(text: &str) -> Result<Vec<IpAddr>, HintError> {
    let address = |text: &str| {
        let alone = text.parse::<IpAddr>().ok();
        alone.or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr())).ok_or_else(|| {
            let rule = "it must be an address, with or without a prefix length";
            HintError::Address { text: text.to_string(), rule }
        })
    };
    text.split(',').map(|one| address(one.trim())).collect()
}

/// A value from an object and nothing else: what serde derives also takes a list for the fields in
/// their order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

#[derive(Debug, Default, Deserialize)]
struct Listed {
    #[serde(default)]
    interface: Option<String>,
    #[serde(default)]
    ipv4: Option<Vec<String>>,
    #[serde(default)]
    ipv6: Option<Vec<String>>,
    #[serde(default)]
    cleangateway: Option<bool>,
}

impl Listed {
    fn named(&self, key: &'static str) -> Result<NamedPools, HintError> {
        let family = |names: &Option<Vec<String>>| patterns(key, names.as_deref().unwrap_or(&[]));
        Ok(NamedPools { v4: family(&self.ipv4)?, v6: family(&self.ipv6)? })
    }

    fn interface(&self) -> Option<&str> {
        self.interface.as_deref().filter(|name| !name.is_empty())
    }
}

fn pools_of_interface(text: &str, ifname: &IfName) -> Result<Wish, HintError> {
    let refused = |rule: String| Err(HintError::Interfaces { rule });
    let items: Vec<Object<Listed>> = read(ANNOTATION_POOLS, text)?;
    let items: Vec<Listed> = items.into_iter().map(|Object(listed)| listed).collect();
    let names: Vec<&str> = items.iter().filter_map(Listed::interface).collect();
    if items.is_empty() {
        return refused("the list is empty".into());
    }
    if !names.is_empty() && names.len() != items.len() {
        return refused("name the interface of every item, or of none".into());
    }
    let mut seen = BTreeSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(**name)) {
        return refused(alloc::format!("interface {name:?} stands twice"));
    }
    let place = if names.is_empty() {
        interface_number(ifname.as_str())
    } else {
        names.iter().position(|name| *name == ifname.as_str())
    };
    let Some(item) = place.and_then(|place| items.get(place)) else {
        return refused(alloc::format!("nothing is listed for interface {ifname}"));
    };
    Ok(Wish {
        source: Source::Named(item.named(ANNOTATION_POOLS)?),
        clean_gateway: item.cleangateway.unwrap_or(false),
    })
}

/// The number of an interface among a pod's, by the names that Multus gives: `eth0`, then `net1`,
/// `net2` and so on.
fn interface_number(ifname: &str) -> Option<usize> {
    match ifname.strip_prefix("net") {
        // Only as Multus writes it: "net01" and "net+1" are somebody else's names.
        Some(digits) if digits.starts_with(|first| matches!(first, '1'..='9')) => {
            digits.parse().ok()
        }
        Some(_) => None,
        None => (ifname == "eth0").then_some(0),
    }
}

pub(crate) fn read<T: DeserializeOwned>(key: &'static str, text: &str) -> Result<T, HintError> {
    if text.len() > LONGEST_ANNOTATION {
        return Err(HintError::TooLong { key, length: text.len() });
    }
    serde_json::from_str(text).map_err(|error| HintError::Syntax { key, cause: error.to_string() })
}

fn patterns(key: &'static str, texts: &[String]) -> Result<Vec<PoolPattern>, HintError> {
    let pattern = |text: &String| text.parse().map_err(|cause| HintError::Pattern { key, cause });
    texts.iter().map(pattern).collect()
}
