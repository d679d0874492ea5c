//! Addresses that wait for a pod to come back.

use alloc::string::String;
use core::fmt;

use crate::owner::{Attachment, IfName, NetworkName, PodRef};

/// Who an address waits for: a pod by its name, on one of its interfaces. Unlike an attachment it
/// outlives the sandbox and the pod's uid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StickyKey {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The network.
    pub network: NetworkName,
    /// The interface.
    pub ifname: IfName,
}

impl StickyKey {
    /// The key of a pod's attachment; `None` if the runtime did not say which pod it is.
    pub fn new(pod: Option<&PodRef>, attachment: &Attachment) -> Option<Self> {
        let pod = pod?;
        Some(Self {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            network: attachment.network.clone(),
            ifname: attachment.ifname.clone(),
        })
    }

    /// The ordinal at the end of a name as a `StatefulSet` gives it: `web-0` has 0.
    pub fn ordinal(&self) -> Option<u32> {
        let (set, digits) = self.name.rsplit_once('-')?;
        let canonical = digits == "0" || !digits.starts_with('0');
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if set.is_empty() || !canonical || !is_number { None } else { digits.parse().ok() }
    }
}

impl fmt::Display for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.namespace, self.name, self.ifname)
    }
}

/// Which pods find their address again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StickyNames {
    /// None.
    #[default]
    None,
    /// Those whose name ends with an ordinal, as those of a `StatefulSet` do. Whether there is such
    /// a set only the API server knows; a name of another kind that ends so is taken for one.
    Ordinal,
    /// All whose name the runtime tells.
    All,
}

impl StickyNames {
    /// Whether the pod of this key finds its address again.
    pub fn covers(self, key: &StickyKey) -> bool {
        match self {
            Self::None => false,
            Self::Ordinal => key.ordinal().is_some(),
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use super::*;

    #[test]
    fn an_ordinal_is_what_a_statefulset_appends() {
        for (name, ordinal) in [
            ("web-0", Some(0)),
            ("web-12", Some(12)),
            ("a-b-3", Some(3)),
            ("web", None),
            ("web-", None),
            ("-1", None),
            ("web-01", None),
            ("web-1a", None),
            ("web-+1", None),
            ("web-4294967296", None),
        ] {
            let key = StickyKey {
                namespace: "default".to_owned(),
                name: name.to_owned(),
                network: "n".parse().unwrap(),
                ifname: "eth0".parse().unwrap(),
            };
            assert_eq!(key.ordinal(), ordinal, "{name}");
            assert_eq!(StickyNames::Ordinal.covers(&key), ordinal.is_some());
            assert!(StickyNames::All.covers(&key) && !StickyNames::None.covers(&key));
        }
    }
}
