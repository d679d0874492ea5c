//! Why a plan cannot be made.

use std::net::IpAddr;

use ipam_core::Family;
use ipnet::IpNet;

/// Why there is no plan. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A further interface came before the first.
    #[error(
        "{ifname} is not the pod's first interface {first_nic}, and that was not wired: run this \
         plugin for {first_nic} first, name the first interface in podDefaultCniNic, or use mode \
         overlay"
    )]
    NoVeth {
        /// The interface.
        ifname: String,
        /// `podDefaultCniNic`.
        first_nic: String,
    },
    /// The first interface in overlay mode.
    #[error(
        "mode overlay: {ifname} is the pod's first interface, whose own plugin has to join it with \
         the node: use mode underlay for it, or auto"
    )]
    FirstInOverlay {
        /// The interface.
        ifname: String,
    },
    /// Overlay mode in a pod that has a veth.
    #[error(
        "mode overlay: the pod has a veth0 already, so its first interface was wired in mode \
         underlay: use the same for {ifname}, or auto"
    )]
    VethInOverlay {
        /// The interface.
        ifname: String,
    },
    /// No number is left for one more NIC.
    #[error("container {container} has {most} wired interfaces, the most that there can be")]
    TooManyNics {
        /// The container.
        container: String,
        /// The limit.
        most: u16,
    },
    /// The pod lacks a link.
    #[error("the pod has no link {link}: {remedy}")]
    NoLink {
        /// Its name.
        link: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The pod's link to the node has no end on the node, or no MAC.
    #[error(
        "the pod's link {link} is no veth with its other end on the node, by which the pod could \
         be joined with it"
    )]
    NoPeer {
        /// The link.
        link: String,
    },
    /// A link that is not ours has a name that we need.
    #[error("{place} has a link {link} that is not this container's: rename or delete it")]
    NameTaken {
        /// Where: `the pod` or `the node`.
        place: &'static str,
        /// The name.
        link: String,
    },
    /// The interface has no address that anybody could reach.
    #[error(
        "interface {ifname} has no address beyond its link: run this plugin behind one that gives \
         it one"
    )]
    NoAddress {
        /// The interface.
        ifname: String,
    },
    /// The pod and the node have the same address.
    #[error("address {address} is the node's own: give the pod another")]
    AddressOfNode {
        /// The address.
        address: IpAddr,
    },
    /// Services of a family are to be reached by a node that has no address of it.
    #[error(
        "serviceCIDR {cidr}: the node has no IPv{} address that its pods could reach it by: give \
         it one, look at hostInterfaceExclude, or leave the CIDR out", .family.version()
    )]
    NoNodeAddress {
        /// The family.
        family: Family,
        /// The first such CIDR.
        cidr: IpNet,
    },
    /// What is to go by the node is the subnet of a NIC.
    #[error(
        "{cidr} is the subnet of the pod's interface {link} and is to be reached by the node too: \
         leave it out of overlayPodCIDR, serviceCIDR and hijackCIDR"
    )]
    HijackedSubnet {
        /// The destination.
        cidr: IpNet,
        /// The NIC.
        link: String,
    },
    /// The MTU is too small for IPv6.
    #[error("vethMTU {mtu}: the pod has IPv6, which needs 1280 bytes (RFC 8200, section 5)")]
    MtuTooSmall {
        /// The MTU.
        mtu: u32,
    },
}
