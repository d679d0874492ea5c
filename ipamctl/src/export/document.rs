//! The export's fields as they are written; their names are part of the format.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Result, bail};
use ipam_core::{
    Attachment, BootId, ContainerId, IfName, Lease, Moment, NetnsRef, NetworkName, POOL_KIND,
    PodRef, Pool, PoolDocument, PoolName, RESERVED_KIND, Reserved, ReservedDocument, Rest,
    RestReason, Stamp, StickyKey,
};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::{API_VERSION, Export, KIND, Resting};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExportDocument {
    api_version: String,
    kind: String,
    /// Empty until the rest is complete.
    pub(super) checksum: String,
    written: StampDocument,
    pools: Vec<PoolDocument>,
    reserved: Vec<ReservedDocument>,
    leases: Vec<LeaseDocument>,
    rests: Vec<RestDocument>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StampDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<Text<BootId>>,
    moment_seconds: u64,
    unix_seconds: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LeaseDocument {
    address: IpAddr,
    pool: Text<PoolName>,
    network: Text<NetworkName>,
    container: Text<ContainerId>,
    ifname: Text<IfName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<PodDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<NetnsDocument>,
    since: StampDocument,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodDocument {
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NetnsDocument {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RestDocument {
    address: IpAddr,
    pool: Text<PoolName>,
    reason: ReasonDocument,
    since_seconds: u64,
    until_seconds: u64,
}

/// `"cooldown"`, `{"quarantine": {...}}` or `{"sticky": {...}}`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum ReasonDocument {
    Cooldown,
    Quarantine { seen: String },
    Sticky(StickyDocument),
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StickyDocument {
    namespace: String,
    name: String,
    network: Text<NetworkName>,
    ifname: Text<IfName>,
}

impl ExportDocument {
    pub(super) fn new(export: &Export) -> Result<Self> {
        let pools = export.pools.iter();
        Ok(Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            checksum: String::new(),
            written: StampDocument::new(&export.written),
            pools: pools.map(PoolDocument::from).collect(),
            reserved: export.reserved.iter().map(ReservedDocument::from).collect(),
            leases: export.leases.iter().map(LeaseDocument::new).collect(),
            rests: export.rests.iter().map(RestDocument::new).collect::<Result<_>>()?,
        })
    }

    /// `apiVersion`, `kind` and `checksum` of the whole are checked already.
    pub(super) fn into_export(self) -> Result<Export> {
        let mut faults = Vec::new();
        let mut pools = Vec::new();
        for (index, document) in self.pools.iter().enumerate() {
            let place = format!("pools[{index}]");
            is_of(&place, &document.api_version, &document.kind, POOL_KIND, &mut faults);
            match Pool::try_from(document) {
                Ok(pool) => pools.push(pool),
                Err(broken) => {
                    faults.extend(broken.as_slice().iter().map(|fault| format!("{place}.{fault}")));
                }
            }
        }
        let mut reserved = Vec::new();
        for (index, document) in self.reserved.iter().enumerate() {
            let place = format!("reserved[{index}]");
            is_of(&place, &document.api_version, &document.kind, RESERVED_KIND, &mut faults);
            match Reserved::try_from(document) {
                Ok(one) => reserved.push(one),
                Err(broken) => {
                    faults.extend(broken.as_slice().iter().map(|fault| format!("{place}.{fault}")));
                }
            }
        }
        if !faults.is_empty() {
            bail!("{}", faults.join("\n  "));
        }
        Ok(Export {
            written: self.written.into_stamp(),
            pools,
            reserved,
            leases: self.leases.into_iter().map(LeaseDocument::into_lease).collect(),
            rests: self.rests.into_iter().map(RestDocument::into_resting).collect(),
        })
    }
}

fn is_of(place: &str, api_version: &str, kind: &str, expected: &str, faults: &mut Vec<String>) {
    for (field, found, expected) in
        [("apiVersion", api_version, ipam_core::API_VERSION), ("kind", kind, expected)]
    {
        if found != expected {
            faults.push(format!("{place}.{field} {found:?}: it must be {expected}"));
        }
    }
}

impl StampDocument {
    fn new(stamp: &Stamp) -> Self {
        let Stamp { boot, moment, unix_seconds } = stamp;
        Self { boot: boot.clone().map(Text), moment_seconds: moment.0, unix_seconds: *unix_seconds }
    }

    fn into_stamp(self) -> Stamp {
        Stamp {
            boot: self.boot.map(|boot| boot.0),
            moment: Moment(self.moment_seconds),
            unix_seconds: self.unix_seconds,
        }
    }
}

// Each value is taken apart by name below: a field that is added to it cannot be forgotten here.

impl LeaseDocument {
    fn new(lease: &Lease) -> Self {
        let Lease { address, pool, attachment, pod, netns, since } = lease.clone();
        let Attachment { network, container, ifname } = attachment;
        Self {
            address,
            pool: Text(pool),
            network: Text(network),
            container: Text(container),
            ifname: Text(ifname),
            pod: pod.map(|PodRef { namespace, name, uid }| PodDocument { namespace, name, uid }),
            netns: netns.map(|NetnsRef { path, inode }| NetnsDocument { path, inode }),
            since: StampDocument::new(&since),
        }
    }

    fn into_lease(self) -> Lease {
        let (network, container, ifname) = (self.network.0, self.container.0, self.ifname.0);
        Lease {
            address: self.address,
            pool: self.pool.0,
            attachment: Attachment { network, container, ifname },
            pod: self.pod.map(|PodDocument { namespace, name, uid }| PodRef {
                namespace,
                name,
                uid,
            }),
            netns: self.netns.map(|NetnsDocument { path, inode }| NetnsRef { path, inode }),
            since: self.since.into_stamp(),
        }
    }
}

impl RestDocument {
    fn new(resting: &Resting) -> Result<Self> {
        let Resting { address, pool, rest: Rest { reason, since, until } } = resting.clone();
        let reason = match reason {
            RestReason::Cooldown => ReasonDocument::Cooldown,
            RestReason::Quarantine { seen } => ReasonDocument::Quarantine { seen },
            RestReason::Sticky { key: StickyKey { namespace, name, network, ifname } } => {
                let (network, ifname) = (Text(network), Text(ifname));
                ReasonDocument::Sticky(StickyDocument { namespace, name, network, ifname })
            }
            other => bail!("address {address}: {API_VERSION} has no word for its rest {other:?}"),
        };
        Ok(Self {
            address,
            pool: Text(pool),
            reason,
            since_seconds: since.0,
            until_seconds: until.0,
        })
    }

    fn into_resting(self) -> Resting {
        let reason = match self.reason {
            ReasonDocument::Cooldown => RestReason::Cooldown,
            ReasonDocument::Quarantine { seen } => RestReason::Quarantine { seen },
            ReasonDocument::Sticky(StickyDocument { namespace, name, network, ifname }) => {
                let (network, ifname) = (network.0, ifname.0);
                RestReason::Sticky { key: StickyKey { namespace, name, network, ifname } }
            }
        };
        let (since, until) = (Moment(self.since_seconds), Moment(self.until_seconds));
        let rest = Rest { reason, since, until };
        Resting { address: self.address, pool: self.pool.0, rest }
    }
}

/// A name as its text, checked on entry so that an error has its place.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}
