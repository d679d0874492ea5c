//! The lab: a cloud VPC, its nodes and pods in network namespaces, and the tests that run real
//! plugins in it.
//!
//! One [`Cluster`] describes everything as data; [`Lab::start`] builds it with `ip`, `bridge` and
//! `nft`, as root, on any kernel with veth, bridge and `nf_tables`; dropping the [`Lab`] removes
//! it. By default the VPC is as strict as Alibaba Cloud's; [`Cloud`] has the switches.
//!
//! ```no_run
//! use e2e::{Cluster, Lab, seed};
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::start(&seed::cluster())?;
//! let master = lab.node("master")?;
//! let pod = lab.pod("default", "test-app-1-ddlx7")?;
//! let before = master.snapshot()?;
//!
//! let conf = r#"{"cniVersion":"1.1.0","name":"ipvlan-eth0","type":"cni-ipvlan"}"#;
//! let answer = master.runtime()?.add("cni-ipvlan", conf, pod, "eth0")?;
//! println!("{}", answer.success()?["ips"][0]["address"]);
//! assert!(pod.ping("172.31.199.193", 2)?.all_received());
//! println!("{:?}", lab.vpc().nic_drops("master", "eth0")?);
//!
//! master.runtime()?.del("cni-ipvlan", conf, pod, "eth0")?.success()?;
//! assert!(before.changes(&master.snapshot()?).is_empty());
//! # Ok(())
//! # }
//! ```

mod capture;
mod carrier;
mod chain;
mod check;
pub mod conformance;
pub mod deployment;
mod description;
pub mod ecs;
pub mod ipam;
mod ipamctl;
pub mod kube_proxy;
mod lab;
pub mod load_balancer;
mod mac;
pub mod metadata;
mod meter;
mod namespace;
mod nat;
mod node;
pub mod operations;
mod orphan;
mod outcome;
pub mod peer;
mod ping;
mod plugin_dir;
pub mod plugin_wiring;
mod pod;
mod random;
pub mod reference_script;
pub mod reference_wiring;
mod ruleset;
mod runtime;
pub mod runtimes;
pub mod sandbox;
pub mod seed;
mod snapshot;
mod step;
mod trace;
mod volume;
mod vpc;
pub mod wiring;

pub use capture::Capture;
pub use chain::Chain;
pub use description::{
    Arp, Cloud, Cluster, Ipv6Subnet, Nat, NicSpec, NodeSpec, OutsideSpec, PodSpec, VSwitch,
};
pub use lab::Lab;
pub use mac::Mac;
pub use meter::{Meter, Passed};
pub use namespace::Namespace;
pub use node::Node;
pub use orphan::remove_orphans;
pub use outcome::Outcome;
pub use ping::{Ping, Reply};
pub use plugin_dir::{PLUGIN_DIR, UPSTREAM_PLUGIN_DIR, plugin_dir, side_by_side};
pub use pod::Pod;
pub use random::Random;
pub use runtime::{Answer, Call, Running, Runtime};
pub use snapshot::Snapshot;
pub use trace::Trace;
pub use volume::Volume;
pub use vpc::{NicDrops, Vpc, VpcDrops};
