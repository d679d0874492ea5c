//! Addresses that are kept for one pod, for ever.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use crate::labels::Labels;
use crate::owner::{Attachment, IfName, NetworkName, PodRef};
use crate::range_set::RangeSet;
use crate::reserved::Reserved;
use crate::violation::{Violation, Violations};

const NAMESPACE: &str = "node-ipam/pinned-namespace";
const NAME: &str = "node-ipam/pinned-name";
const NETWORK: &str = "node-ipam/pinned-network";
const IFNAME: &str = "node-ipam/pinned-ifname";

/// Whom a reservation keeps its addresses for: a pod by its name, which outlives sandbox, uid and
/// boot. It is carried by labels of the reservation, so a name has to be a label's value: of at most
/// 63 characters, as the pods of a `StatefulSet` have it anyway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The network, where the pod has several; `None`: any.
    pub network: Option<NetworkName>,
    /// The interface, where the pod has several in a network; `None`: any.
    pub ifname: Option<IfName>,
}

impl Pin {
    /// Whether an attachment of a pod is the one that is meant.
    pub fn is_for(&self, pod: Option<&PodRef>, attachment: &Attachment) -> bool {
        pod.is_some_and(|pod| pod.namespace == self.namespace && pod.name == self.name)
            && self.network.as_ref().is_none_or(|network| *network == attachment.network)
            && self.ifname.as_ref().is_none_or(|ifname| *ifname == attachment.ifname)
    }

    /// The labels that carry it: see [`Reserved::with_labels`].
    pub fn labels(&self) -> Labels {
        let network = self.network.as_ref().map(ToString::to_string);
        let ifname = self.ifname.as_ref().map(ToString::to_string);
        let parts = [
            (NAMESPACE, Some(self.namespace.clone())),
            (NAME, Some(self.name.clone())),
            (NETWORK, network),
            (IFNAME, ifname),
        ];
        parts.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect()
    }

    /// The pin that labels carry, if they carry one; what is wrong with them is noted.
    pub(crate) fn of(labels: &Labels, broken: &mut Violations) -> Option<Self> {
        if [NAMESPACE, NAME, NETWORK, IFNAME].iter().all(|key| !labels.contains_key(*key)) {
            return None;
        }
        let needed = |broken: &mut Violations, key: &str| {
            let value = labels.get(key).filter(|value| !value.is_empty());
            if value.is_none() {
                let rule = alloc::format!("a pin needs {NAMESPACE} and {NAME}");
                broken.push(Violation::new(&field(key), "", rule));
            }
            value.cloned()
        };
        let (namespace, name) = (needed(broken, NAMESPACE), needed(broken, NAME));
        let network = parsed(labels, NETWORK, broken);
        let ifname = parsed(labels, IFNAME, broken);
        Some(Self { namespace: namespace?, name: name?, network, ifname })
    }
}

fn field(key: &str) -> String {
    alloc::format!("metadata.labels[{key:?}]")
}

fn parsed<T: FromStr<Err: fmt::Display>>(
    labels: &Labels,
    key: &str,
    broken: &mut Violations,
) -> Option<T> {
    let value = labels.get(key)?;
    broken.note(&field(key), value, value.parse())
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        if let Some(network) = &self.network {
            write!(f, " in network {network}")?;
        }
        match &self.ifname {
            Some(ifname) => write!(f, " on {ifname}"),
            None => Ok(()),
        }
    }
}

/// The pins of all reservations, found by pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pins {
    /// By namespace and name.
    pods: BTreeMap<String, BTreeMap<String, Vec<(Pin, RangeSet)>>>,
    addresses: RangeSet,
}

impl Pins {
    pub(crate) fn of(reserved: &[Reserved]) -> Self {
        let mut pins = Self::default();
        for reserved in reserved {
            let Some(pin) = reserved.pin() else { continue };
            let names = pins.pods.entry(pin.namespace.clone()).or_default();
            let kept = names.entry(pin.name.clone()).or_default();
            kept.push((pin.clone(), reserved.ips().clone()));
            pins.addresses = pins.addresses.union(reserved.ips());
        }
        pins
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// All addresses that are kept for somebody.
    pub(crate) fn addresses(&self) -> &RangeSet {
        &self.addresses
    }

    /// What is kept for an attachment of a pod.
    pub(crate) fn kept_for(
        &self,
        pod: Option<&PodRef>,
        attachment: &Attachment,
    ) -> impl Iterator<Item = &RangeSet> {
        let of_pod = pod.and_then(|pod| self.pods.get(&pod.namespace)?.get(&pod.name));
        let kept = of_pod.into_iter().flatten();
        kept.filter(move |(pin, _)| pin.is_for(pod, attachment)).map(|(_, addresses)| addresses)
    }

    /// The first pin of an address, for an error's text.
    pub(crate) fn of_address(&self, address: IpAddr) -> Option<&Pin> {
        let all = self.pods.values().flat_map(BTreeMap::values).flatten();
        let mut of_address = all.filter(|(_, addresses)| addresses.contains(address));
        of_address.next().map(|(pin, _)| pin)
    }
}
