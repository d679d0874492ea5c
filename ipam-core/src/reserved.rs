//! Addresses that no pool hands out, on any node.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::addr::Family;
use crate::document::{ReservedDocument, ReservedSpec};
use crate::labels::{Labels, note_labels};
use crate::owner::PoolName;
use crate::pin::{Pin, Pins};
use crate::pool::{MOST_RANGES, Pool};
use crate::range::AddressRange;
use crate::range_set::RangeSet;
use crate::violation::{Violation, Violations};

/// A valid `SpiderReservedIP`: addresses of one family that are kept from everybody, or from all but
/// one pod. Those who hold one of them keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    name: PoolName,
    labels: Labels,
    pin: Option<Pin>,
    ips: RangeSet,
}

impl Reserved {
    /// The reservation that `spec` describes.
    ///
    /// # Errors
    ///
    /// Every rule that the document breaks, at once.
    pub fn new(name: &str, spec: &ReservedSpec) -> Result<Self, Violations> {
        let mut broken = Violations::default();
        let name = broken.note("metadata.name", name, name.parse::<PoolName>());
        if spec.ips.len() > MOST_RANGES {
            let rule = alloc::format!("{} entries: at most {MOST_RANGES}", spec.ips.len());
            broken.push(Violation::new("spec.ips", "[...]", rule));
            return Err(broken);
        }
        let mut family = match spec.ip_version {
            None => None,
            Some(4) => Some(Family::V4),
            Some(6) => Some(Family::V6),
            Some(other) => {
                let rule = "it must be 4 or 6".to_string();
                broken.push(Violation::new("spec.ipVersion", &other.to_string(), rule));
                None
            }
        };
        let mut ranges = Vec::new();
        for (index, text) in spec.ips.iter().enumerate() {
            let field = alloc::format!("spec.ips[{index}]");
            let Some(range) = broken.note(&field, text, text.parse::<AddressRange>()) else {
                continue;
            };
            let expected = *family.get_or_insert(range.family());
            if range.family() != expected {
                let rule = alloc::format!("it must be {expected} like the others");
                broken.push(Violation::new(&field, text, rule));
            }
            ranges.push(range);
        }
        match name {
            Some(name) if broken.is_empty() => {
                let ips = ranges.into_iter().collect();
                Ok(Self { name, labels: Labels::new(), pin: None, ips })
            }
            _ => Err(broken),
        }
    }

    /// The same reservation with the `metadata.labels` of its document, which may carry a
    /// [`Pin`].
    ///
    /// # Errors
    ///
    /// Every label that Kubernetes would refuse, and every part of a pin that means nothing.
    pub fn with_labels(self, labels: Labels) -> Result<Self, Violations> {
        let mut broken = Violations::default();
        note_labels(&mut broken, &labels);
        let pin = Pin::of(&labels, &mut broken);
        broken.into_result().map(|()| Self { labels, pin, ..self })
    }

    /// The document's content that gives this reservation again, in canonical form.
    pub fn spec(&self) -> ReservedSpec {
        let family = self.ips.ranges().first().map(AddressRange::family);
        ReservedSpec {
            ip_version: family.map(Family::version),
            ips: self.ips.ranges().iter().map(ToString::to_string).collect(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &PoolName {
        &self.name
    }

    /// Whom the addresses are kept for, if for anybody.
    pub fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// `metadata.labels` of its document. Of decisions only [`Self::pin`] comes from them.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The addresses.
    pub fn ips(&self) -> &RangeSet {
        &self.ips
    }
}

impl TryFrom<&ReservedDocument> for Reserved {
    type Error = Violations;

    /// The reservation that the document describes; `apiVersion` and `kind` are for the caller.
    fn try_from(document: &ReservedDocument) -> Result<Self, Violations> {
        let labels = document.metadata.labels.clone();
        Self::new(&document.metadata.name, &document.spec)?.with_labels(labels)
    }
}

/// The pools as decisions see them, where these addresses are reserved. One that is kept for a pod
/// and reserved for nobody besides, for instance since the cloud does not give it any more, is
/// nobody's.
pub fn reserve(pools: &[Pool], reserved: &[Reserved]) -> Vec<Pool> {
    let nobodys = reserved.iter().filter(|one| one.pin.is_none());
    let nobodys = nobodys.fold(RangeSet::new(), |all, one| all.union(&one.ips));
    let pins = Arc::new(Pins::of(reserved));
    let none = RangeSet::new();
    pools.iter().map(|pool| pool.among(&nobodys, &none).keeping(&pins)).collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn one_family_and_the_grammar_of_ranges() {
        let spec = |ip_version, ips: &[&str]| ReservedSpec {
            ip_version,
            ips: ips.iter().map(ToString::to_string).collect(),
        };
        let reserved = Reserved::new("r", &spec(None, &["10.0.0.1-10.0.0.3", "10.0.0.4"])).unwrap();
        assert_eq!(reserved.ips().to_string(), "10.0.0.1-10.0.0.4");
        for (spec, expected) in [
            (spec(None, &["10.0.0.1", "fd00::1"]), "spec.ips[1] \"fd00::1\": it must be IPv4"),
            (spec(Some(6), &["10.0.0.1"]), "spec.ips[0] \"10.0.0.1\": it must be IPv6"),
            (spec(Some(5), &[]), "spec.ipVersion \"5\""),
            (spec(None, &["x"]), "spec.ips[0] \"x\""),
        ] {
            let error = Reserved::new("r", &spec).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let many = ReservedSpec { ip_version: None, ips: vec!["10.0.0.1".into(); 65_537] };
        assert!(Reserved::new("r", &many).unwrap_err().to_string().contains("at most 65536"));
    }

    #[test]
    fn labels_carry_a_pin_whole_or_not_at_all() {
        let spec = ReservedSpec { ip_version: None, ips: vec!["10.0.0.1".into()] };
        let labelled = |pairs: &[(&str, &str)]| {
            let labels = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string()));
            Reserved::new("r", &spec).unwrap().with_labels(labels.collect())
        };
        let (namespace, name) = ("node-ipam/pinned-namespace", "node-ipam/pinned-name");
        assert_eq!(labelled(&[("a", "b")]).unwrap().pin(), None);
        let pin = Pin {
            namespace: "default".into(),
            name: "web-0".into(),
            network: None,
            ifname: Some("net1".parse().unwrap()),
        };
        let pinned = Reserved::new("r", &spec).unwrap().with_labels(pin.labels()).unwrap();
        assert_eq!(pinned.pin(), Some(&pin));
        assert_eq!(Reserved::try_from(&ReservedDocument::from(&pinned)), Ok(pinned));
        assert_eq!(pin.to_string(), "default/web-0 on net1");
        for (pairs, expected) in [
            (&[(name, "web-0")][..], "pinned-namespace"),
            (&[(namespace, "default"), (name, "")], "pinned-name"),
            (&[("node-ipam/pinned-ifname", "eth0")], "a pin needs"),
            (
                &[(namespace, "a"), (name, "b"), ("node-ipam/pinned-network", "")],
                "must not be empty",
            ),
        ] {
            let error = labelled(pairs).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
