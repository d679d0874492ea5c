//! Directories in which so many addresses are held.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipam_core::{Asker, Attachment, Demand, Lease, NetnsRef, PodRef, Pool, PoolSpec};
use ipam_store::{Contents, Request, Store};

/// The network of all configurations.
pub(crate) const NETWORK: &str = "bench";

/// The subnet of all configurations.
pub(crate) const SUBNET: &str = "10.0.0.0/8";

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 2).to_bits() + number)
}

/// A runtime's name for a container.
fn container(number: u32) -> String {
    format!("{number:064x}")
}

fn pool(name: &str, subnet: &str) -> Result<Pool> {
    let spec = PoolSpec {
        subnet: subnet.into(),
        ips: vec![subnet.into()],
        gateway: None,
        default: Some(true),
        ..PoolSpec::default()
    };
    Pool::new(name, &spec).with_context(|| format!("pool {name}"))
}

/// Of this container.
pub(crate) fn attachment(number: u32) -> Result<Attachment> {
    Ok(Attachment {
        network: NETWORK.parse()?,
        container: container(number).parse()?,
        ifname: "eth0".parse()?,
    })
}

fn lease(number: u32, address: Ipv4Addr, pool: &Pool) -> Result<Lease> {
    Ok(Lease {
        address: address.into(),
        pool: pool.name().clone(),
        attachment: attachment(number)?,
        pod: Some(PodRef {
            namespace: "default".into(),
            name: format!("web-7d4b9c6f5-{number:05x}"),
            uid: Some(format!("3f0c5b1e-8a4d-4c1e-9c57-{number:012x}")),
        }),
        netns: Some(NetnsRef {
            path: format!("/var/run/netns/cni-3f0c5b1e-8a4d-4c1e-9c57-{number:012x}"),
            inode: Some(u64::from(number) + 4_026_532_000),
        }),
        since: ipam_store::now(),
    })
}

/// A database with one pool, of which so many addresses are held.
pub(crate) fn ours(directory: &Path, leases: u32) -> Result<Store> {
    let pool = pool("bench", SUBNET)?;
    let leases: Result<Vec<Lease>> =
        (0..leases).map(|number| lease(number, address(number), &pool)).collect();
    create(directory, vec![pool], leases?)
}

/// The same, come about as on a node: address by address.
pub(crate) fn grown(directory: &Path, leases: u32) -> Result<Store> {
    let store = ours(directory, 0)?;
    let pool = pool("bench", SUBNET)?;
    for number in 0..leases {
        let Lease { attachment, pod, netns, .. } = lease(number, address(number), &pool)?;
        let asker = Asker::new("bench".parse()?, NETWORK.parse()?);
        let demand = Demand { pod, ..Demand::new(attachment, asker) };
        store.allocate(&Request { demand, netns })?;
    }
    Ok(store)
}

/// A database with so many pools of a /24 each, which hold the same number of addresses.
pub(crate) fn pools(directory: &Path, pools: u32, leases: u32) -> Result<Store> {
    let each = leases / pools;
    ensure!(each <= 253, "{each} leases in a /24");
    let (mut all, mut held) = (Vec::new(), Vec::new());
    for number in 0..pools {
        let subnet = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number * 256);
        let pool = pool(&format!("pool-{number:05}"), &format!("{subnet}/24"))?;
        for place in 0..each {
            let address = Ipv4Addr::from_bits(subnet.to_bits() + 2 + place);
            held.push(lease(number * each + place, address, &pool)?);
        }
        all.push(pool);
    }
    create(directory, all, held)
}

fn create(directory: &Path, pools: Vec<Pool>, leases: Vec<Lease>) -> Result<Store> {
    let store = Store::new(directory, Duration::from_secs(60));
    let now = ipam_store::now();
    let contents =
        Contents { pools, leases, boot: now.boot, moment: now.moment, ..Contents::default() };
    store.create(&contents)?;
    Ok(store)
}

/// host-local's directory of the network with so many reservations, as that plugin leaves it.
pub(crate) fn host_local(data_dir: &Path, leases: u32) -> Result<()> {
    let directory = data_dir.join(NETWORK);
    fs::create_dir_all(&directory)?;
    for number in 0..leases {
        let text = format!("{}\r\neth0", container(number));
        fs::write(directory.join(address(number).to_string()), text)?;
    }
    if let Some(last) = leases.checked_sub(1) {
        fs::write(directory.join("last_reserved_ip.0"), address(last).to_string())?;
    }
    Ok(())
}
