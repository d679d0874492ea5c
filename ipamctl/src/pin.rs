//! `ipamctl pin`, `unpin` and `get pins`: addresses that one pod gets, for ever.
//!
//! A pin is a `SpiderReservedIP` document with labels, so that it is applied, exported and rebuilt
//! as every document is; a program that does not know of pins gives the address to nobody.

use std::io::Write;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use ipam_core::{
    AddressRange, IfName, Lease, NetworkName, Pin, Pool, RangeSet, Reserved, ReservedSpec,
};
use ipam_store::{Contents, Revision, Store};
use serde_json::{Value, json};

use crate::answer::{Answer, Kind};
use crate::inventory::Inventory;
use crate::table::{Format, write_list, write_rows};

#[derive(Debug, clap::Args)]
pub(crate) struct PinOptions {
    /// The address.
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,

    /// The pod that gets it and nobody else, by its name: its next ADD gets it before any other.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: PodName,

    /// Only in this CNI network, where the pod has several.
    #[arg(long, value_name = "NETWORK")]
    network: Option<NetworkName>,

    /// Only on this interface, where the pod has several in a network.
    #[arg(long, value_name = "IFNAME")]
    ifname: Option<IfName>,

    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UnpinOptions {
    /// The address.
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,

    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PodName {
    namespace: String,
    name: String,
}

impl FromStr for PodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("write NAMESPACE/NAME, as in default/web-0".to_owned()),
        }
    }
}

/// An address that is kept for a pod, as it is among everything that is stored.
struct Pinned<'a> {
    address: IpAddr,
    pin: &'a Pin,
    document: &'a Reserved,
    pool: Option<&'a Pool>,
    holder: Option<&'a Lease>,
}

pub(crate) fn pin(store: &Store, options: &PinOptions, out: &mut dyn Write) -> Result<()> {
    let PinOptions { address, pod, network, ifname, answer } = options;
    let pin = Pin {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        network: network.clone(),
        ifname: ifname.clone(),
    };
    let document = document(&name_of(*address), &RangeSet::from_iter([*address]), &pin)?;
    let mut holder = None;
    change(store, |contents| {
        check(*address, &pin, contents)?;
        holder = contents.leases.iter().find(|lease| lease.address == *address).cloned();
        let mut revision = without(*address, &contents.reserved)?;
        // The same document may have been that of another pin.
        revision.removed_reserved.retain(|name| name != document.name());
        revision.put.reserved.push(document.clone());
        Ok(revision)
    })?;
    let contents = store.contents()?;
    let pool = contents.pools.iter().find(|pool| pool.claims(*address));
    let pinned =
        Pinned { address: *address, pin: &pin, document: &document, pool, holder: holder.as_ref() };
    if !answer.is_text() {
        return answer.give(Kind::Pin, || pinned.fields(), out);
    }
    writeln!(out, "{address} is pinned to pod {pin}")?;
    if let Some(lease) = pinned.other_holder() {
        let holder = holder_of(lease);
        writeln!(out, "{holder} holds it, and keeps it till its end")?;
    }
    Ok(())
}

pub(crate) fn unpin(store: &Store, options: &UnpinOptions, out: &mut dyn Write) -> Result<()> {
    let address = options.address;
    change(store, |contents| {
        let revision = without(address, &contents.reserved)?;
        ensure!(revision != Revision::default(), "{address} is not pinned");
        Ok(revision)
    })?;
    if options.answer.is_text() {
        writeln!(out, "{address} is not pinned any more")?;
    }
    options.answer.give(Kind::Unpin, || json!({ "ip": address }), out)
}

pub(crate) fn show(
    inventory: &Inventory,
    format: Option<Format>,
    out: &mut dyn Write,
) -> Result<()> {
    let Inventory { pools, reserved, leases, .. } = inventory;
    let pinned = pinned(pools, reserved, leases);
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => write_list(
            &pinned.iter().map(|one| Kind::Pin.object(one.fields())).collect::<Vec<_>>(),
            format,
            out,
        ),
        Some(Format::Wide) | None => {
            let header = ["IP", "NAMESPACE", "POD", "NETWORK", "INTERFACE", "POOL", "HOLDER"];
            write_rows(&header, &pinned.iter().map(Pinned::row).collect::<Vec<_>>(), out)
        }
    }
}

/// Every address that is kept for a pod, one by one.
fn pinned<'a>(pools: &'a [Pool], reserved: &'a [Reserved], leases: &'a [Lease]) -> Vec<Pinned<'a>> {
    let of_document = |document: &'a Reserved| {
        let addresses = document.ips().ranges().iter().flat_map(AddressRange::addresses);
        // A document of a whole network names addresses that no pool has.
        let pool_of = |address| pools.iter().find(|pool| pool.claims(address));
        let pin = document.pin()?;
        Some(addresses.filter_map(move |address| {
            let pool = pool_of(address);
            let holder = leases.iter().find(|lease| lease.address == address);
            let is_one = document.ips().size() == 1;
            (is_one || pool.is_some()).then_some(Pinned { address, pin, document, pool, holder })
        }))
    };
    reserved.iter().filter_map(of_document).flatten().collect()
}

impl Pinned<'_> {
    /// Who holds the address and is not the pod that it is kept for.
    fn other_holder(&self) -> Option<&Lease> {
        let is_other = |lease: &&Lease| !self.pin.is_for(lease.pod.as_ref(), &lease.attachment);
        self.holder.filter(is_other)
    }

    fn row(&self) -> Vec<String> {
        let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
        let Pin { namespace, name, network, ifname } = self.pin;
        vec![
            self.address.to_string(),
            namespace.clone(),
            name.clone(),
            or(network.as_ref().map(ToString::to_string), "<any>"),
            or(ifname.as_ref().map(ToString::to_string), "<any>"),
            or(self.pool.map(|pool| pool.name().to_string()), "<none>"),
            or(self.holder.map(holder_of), "<none>"),
        ]
    }

    fn fields(&self) -> Value {
        let Pin { namespace, name, network, ifname } = self.pin;
        json!({
            "ip": self.address,
            "pool": self.pool.map(|pool| pool.name().as_str()),
            "podNamespace": namespace,
            "podName": name,
            "network": network.as_ref().map(NetworkName::as_str),
            "interface": ifname.as_ref().map(IfName::as_str),
            "document": self.document.name().as_str(),
            "holder": self.holder.map(|lease| json!({
                "network": lease.attachment.network.as_str(),
                "containerID": lease.attachment.container.as_str(),
                "interface": lease.attachment.ifname.as_str(),
                "podNamespace": lease.pod.as_ref().map(|pod| &pod.namespace),
                "podName": lease.pod.as_ref().map(|pod| &pod.name),
                "sinceUnixSeconds": lease.since.unix_seconds,
            })),
        })
    }
}

fn holder_of(lease: &Lease) -> String {
    match &lease.pod {
        Some(pod) => format!("pod {pod}"),
        None => lease.attachment.to_string(),
    }
}

/// Writes what `plan` answers, in the transaction in which it saw what is stored.
fn change(store: &Store, plan: impl FnOnce(&Contents) -> Result<Revision>) -> Result<()> {
    let mut refused = None;
    let revised = store.revise(
        |contents| {
            plan(contents).unwrap_or_else(|error| {
                refused = Some(error);
                Revision::default()
            })
        },
        &[],
    );
    if let Some(error) = refused {
        return Err(error);
    }
    revised.map(drop).context("nothing was changed")
}

/// Whether the address can be kept for that pod.
fn check(address: IpAddr, pin: &Pin, contents: &Contents) -> Result<()> {
    let Some(pool) = contents.pools.iter().find(|pool| pool.claims(address)) else {
        bail!("no pool has {address}: `ipamctl get pools` shows them");
    };
    if !pool.assignable().contains(address) {
        bail!("pool {} never hands {address} out: it is its gateway or its subnet's", pool.name());
    }
    for reserved in contents.reserved.iter().filter(|one| one.ips().contains(address)) {
        match reserved.pin() {
            None => bail!(
                "{address} is reserved by document {}, so that no pod gets it: take it out there",
                reserved.name()
            ),
            Some(other) if (&other.namespace, &other.name) != (&pin.namespace, &pin.name) => {
                bail!("{address} is pinned to pod {other}: `ipamctl unpin {address}` first");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Takes the address out of every pin.
fn without(address: IpAddr, reserved: &[Reserved]) -> Result<Revision> {
    let mut revision = Revision::default();
    let taken = RangeSet::from_iter([address]);
    for one in reserved.iter().filter(|one| one.ips().contains(address)) {
        let Some(pin) = one.pin() else { continue };
        let left = one.ips().difference(&taken);
        if left.is_empty() {
            revision.removed_reserved.push(one.name().clone());
        } else {
            let mut labels = one.labels().clone();
            labels.extend(pin.labels());
            let left = document(one.name().as_str(), &left, pin)?.with_labels(labels)?;
            revision.put.reserved.push(left);
        }
    }
    Ok(revision)
}

fn document(name: &str, addresses: &RangeSet, pin: &Pin) -> Result<Reserved> {
    let ips = addresses.ranges().iter().map(ToString::to_string).collect();
    let reserved = Reserved::new(name, &ReservedSpec { ip_version: None, ips })?;
    reserved.with_labels(pin.labels()).context("a pin is kept in labels")
}

/// A name that Kubernetes takes too: an IPv6 address may end with a colon.
fn name_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("pin-{v4}"),
        IpAddr::V6(v6) => {
            v6.segments().iter().fold("pin".to_owned(), |name, part| format!("{name}-{part:x}"))
        }
    }
}
