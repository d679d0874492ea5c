//! Who uses which address on this node, by everything but the database.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use cni_ipam::live_namespaces;
use cni_net::{Census, CensusOptions, LiveNetns, OpenFiles, WholeCensus};
use ipam_core::{
    Attachment, IfName, Lease, LiveNamespaces, NetnsRef, PodRef, Pool, PoolName, Stamp,
};

use crate::result_cache::{CachedResult, ResultCache};

/// For looking at every namespace of the node, which takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// The network of a lease whose attachment nobody knows. No runtime will release it; it is freed
/// when its namespace is gone.
const UNKNOWN_NETWORK: &str = "recovered";

/// Where runtimes keep their result caches.
const CACHES: [&str; 2] = ["/var/lib/cni", "/var/lib/cni/multus"];

/// Where to look.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Sources {
    /// A directory with the runtime's results of earlier ADDs, in its `results`. May be given
    /// several times; /var/lib/cni and /var/lib/cni/multus without it, as far as they are there.
    #[arg(long = "cache-dir", value_name = "DIR")]
    caches: Vec<PathBuf>,

    /// The node is a container itself, as with kind: what its /proc shows is all of it.
    #[arg(long)]
    node_in_container: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// One lease for each address of the pools that is in use.
    pub(crate) leases: BTreeMap<IpAddr, Lease>,
    /// One line for each thing that is strange, or was left out.
    pub(crate) notes: Vec<String>,
}

/// What is alive on the node.
struct Alive<'a> {
    census: WholeCensus<'a>,
    namespaces: LiveNamespaces,
    now: Stamp,
}

impl Evidence {
    /// Looks at all namespaces of the node and at the result caches. `known` are leases from before,
    /// which say whose an address was; those that live are taken over, those that do not are not.
    ///
    /// # Errors
    /// If anything of the node could not be looked at: an address that was overlooked would be
    /// given out.
    pub(crate) fn gather(sources: &Sources, pools: &[Pool], known: &[Lease]) -> Result<Self> {
        let options = CensusOptions {
            node_in_container: sources.node_in_container,
            open_files: OpenFiles::Readable,
            ..CensusOptions::within(DEADLINE)
        };
        let now = ipam_store::now();
        let census = Census::take(&options);
        let census = match census.whole() {
            Ok(whole) => whole,
            Err(incomplete) => bail!("not all of the node can be seen: {incomplete}"),
        };
        let alive = Alive { census, namespaces: live_namespaces(census), now };
        let mut evidence = Self::default();
        for result in evidence.cached(sources)? {
            evidence.add_cached(&result, pools, &alive);
        }
        for lease in known {
            evidence.add_known(lease, pools, &alive);
        }
        evidence.add_alive(pools, &alive);
        Ok(evidence)
    }

    fn cached(&mut self, sources: &Sources) -> Result<Vec<CachedResult>> {
        let are_given = !sources.caches.is_empty();
        let usual = CACHES.map(PathBuf::from);
        let directories = if are_given { sources.caches.as_slice() } else { &usual };
        let mut results = Vec::new();
        for directory in directories {
            if !are_given && !directory.join("results").is_dir() {
                continue;
            }
            let cache = ResultCache::read(directory)?;
            results.extend(cache.results);
            self.notes.extend(cache.warnings);
        }
        Ok(results)
    }

    /// A result of an ADD without a DEL since. It counts unless its namespace is known to be gone.
    fn add_cached(&mut self, result: &CachedResult, pools: &[Pool], alive: &Alive<'_>) {
        let addresses = result.addresses.iter().map(|cached| cached.address.addr());
        let addresses: Vec<(IpAddr, &PoolName)> =
            addresses.filter_map(|address| Some((address, pool_of(pools, address)?))).collect();
        if addresses.is_empty() {
            return;
        }
        let file = result.file.display();
        let netns = result.netns_path().map(|path| alive.netns(path));
        if let Some(None) = netns {
            self.notes.push(format!("{file}: its network namespace is gone: left out"));
            return;
        }
        if is_older_than_boot(&result.file, &alive.now) {
            self.notes.push(format!("{file}: it is of an earlier boot: left out"));
            return;
        }
        let Some(attachment) = result.attachment() else {
            self.notes.push(format!("{file}: whose it is cannot be told"));
            return;
        };
        for (address, pool) in addresses {
            if alive.is_elsewhere(address, netns.as_ref().and_then(Option::as_ref)) {
                self.notes.push(format!("{file}: {address} is in another namespace: left out"));
                continue;
            }
            self.add(Lease {
                address,
                pool: pool.clone(),
                attachment: attachment.clone(),
                pod: result.pod.clone(),
                netns: netns.clone().flatten(),
                since: alive.now.clone(),
            });
        }
    }

    /// A lease from before. It counts if its namespace lives, or its address.
    fn add_known(&mut self, lease: &Lease, pools: &[Pool], alive: &Alive<'_>) {
        let (address, attachment) = (lease.address, &lease.attachment);
        let Some(pool) = pool_of(pools, address) else {
            self.notes.push(format!("{address} of {attachment}: no pool has it: left out"));
            return;
        };
        let is_of_this_boot = lease.since.boot.is_some() && lease.since.boot == alive.now.boot;
        let netns = lease.netns.as_ref().filter(|_| is_of_this_boot);
        let lives = netns.is_some_and(|netns| alive.namespaces.has(netns));
        let there = alive.place_of(address);
        if alive.is_elsewhere(address, netns) {
            self.notes.push(format!("{address} of {attachment}: it is in another namespace now"));
            return;
        }
        if !lives && there.is_none() {
            self.notes.push(format!("{address} of {attachment}: nothing of it lives: left out"));
            return;
        }
        let lease = Lease {
            pool: pool.clone(),
            netns: if lives {
                lease.netns.clone()
            } else {
                there.map(|(netns, _)| reference(netns))
            },
            since: alive.now.clone(),
            ..lease.clone()
        };
        self.add(lease);
    }

    /// Addresses that are on an interface of a pod. Where nobody knows whose, they are held for
    /// their namespace.
    fn add_alive(&mut self, pools: &[Pool], alive: &Alive<'_>) {
        for (address, places) in alive.census.alive_elsewhere() {
            let Some(pool) = pool_of(pools, address) else { continue };
            let [first, ..] = places.as_slice() else { continue };
            if places.len() > 1 {
                let count = places.len();
                self.notes.push(format!("{address} is on {count} interfaces at once"));
            }
            if let Some(lease) = self.leases.get_mut(&address) {
                lease.netns = Some(reference(first.netns));
                continue;
            }
            let Some(attachment) = unknown(first.netns, &first.link.name) else { continue };
            self.notes.push(format!("{address} is alive and nobody knows whose it is: held"));
            self.add(Lease {
                address,
                pool: pool.clone(),
                attachment,
                pod: None::<PodRef>,
                netns: Some(reference(first.netns)),
                since: alive.now.clone(),
            });
        }
    }

    fn add(&mut self, lease: Lease) {
        match self.leases.get(&lease.address) {
            None => {
                self.leases.insert(lease.address, lease);
            }
            Some(held) if held.attachment == lease.attachment => {}
            Some(held) => self.notes.push(format!(
                "{} is claimed by {} and {}: the first holds it",
                lease.address, held.attachment, lease.attachment
            )),
        }
    }
}

impl Alive<'_> {
    /// The namespace at a path, if it lives.
    fn netns(&self, path: &str) -> Option<NetnsRef> {
        let found = self.census.namespaces().iter().filter(|netns| !netns.own).find(|netns| {
            netns.mounts.contains(Path::new(path))
                || path
                    .strip_prefix("/var/run/")
                    .is_some_and(|rest| netns.mounts.contains(&Path::new("/run").join(rest)))
                || netns.processes.iter().any(|pid| path == format!("/proc/{pid}/ns/net"))
        })?;
        Some(NetnsRef { path: path.to_owned(), inode: Some(found.id.ino) })
    }

    /// Whether the address is on an interface of another namespace than this one, so that whoever
    /// is in this one does not have it.
    fn is_elsewhere(&self, address: IpAddr, netns: Option<&NetnsRef>) -> bool {
        let inode = netns.and_then(|netns| netns.inode);
        let there = self.place_of(address).map(|(netns, _)| netns.id.ino);
        inode.is_some() && there.is_some() && inode != there
    }

    /// The namespace and the interface of a pod that has the address.
    fn place_of(&self, address: IpAddr) -> Option<(&LiveNetns, &str)> {
        self.census.namespaces().iter().filter(|netns| !netns.own).find_map(|netns| {
            let interface = netns.interfaces.iter().flatten().find(|interface| {
                interface.addresses.iter().any(|there| there.addr() == address)
            })?;
            Some((netns, interface.link.name.as_str()))
        })
    }
}

/// Whether a lease is held for its namespace only, since nobody knew whose it is.
pub(crate) fn is_nobodys(lease: &Lease) -> bool {
    lease.attachment.network.as_str() == UNKNOWN_NETWORK
}

/// Which of the leases that another program has written down live, with their namespaces, and which
/// do not.
pub(crate) fn living(
    sources: &Sources,
    pools: &[Pool],
    claims: &[Lease],
) -> Result<(Vec<Lease>, Vec<Lease>)> {
    let evidence = Evidence::gather(sources, pools, claims)?;
    let lives = |claim: &&Lease| {
        evidence.leases.get(&claim.address).is_some_and(|lease| lease.netns.is_some())
    };
    let (alive, dead): (Vec<&Lease>, Vec<&Lease>) = claims.iter().partition(lives);
    let with_netns = |claim: &Lease| {
        let netns = evidence.leases.get(&claim.address).and_then(|lease| lease.netns.clone());
        Lease { netns, ..claim.clone() }
    };
    Ok((alive.into_iter().map(with_netns).collect(), dead.into_iter().cloned().collect()))
}

fn pool_of(pools: &[Pool], address: IpAddr) -> Option<&PoolName> {
    pools.iter().find(|pool| pool.claims(address)).map(Pool::name)
}

fn reference(netns: &LiveNetns) -> NetnsRef {
    let path = match (netns.mounts.first(), netns.processes.first()) {
        (Some(mount), _) => mount.display().to_string(),
        (None, Some(pid)) => format!("/proc/{pid}/ns/net"),
        (None, None) => String::new(),
    };
    NetnsRef { path, inode: Some(netns.id.ino) }
}

fn unknown(netns: &LiveNetns, ifname: &str) -> Option<Attachment> {
    Some(Attachment {
        network: UNKNOWN_NETWORK.parse().ok()?,
        container: format!("netns-{}", netns.id.ino).parse().ok()?,
        ifname: ifname.parse::<IfName>().ok()?,
    })
}

/// Whether a file was written before the node was started. If that cannot be told it was not.
fn is_older_than_boot(file: &Path, now: &Stamp) -> bool {
    let written = fs::metadata(file).and_then(|metadata| metadata.modified());
    let written = written.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let started = now.unix_seconds.saturating_sub(now.moment.0);
    written.is_some_and(|written| written.as_secs() < started)
}

/// Reads a file that the user named.
pub(crate) fn read_text(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}
