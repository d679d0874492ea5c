//! What a reading of the cloud asks for: a pool for each NIC and subnet.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use cloud::{MacAddr, Nic, Reading};
use cni_net::{Link, Netlink};
use ipam_core::{AddressRange, NetworkRef, PoolName, RangeSet};
use ipnet::IpNet;

use super::settings::{Choice, Settings};

/// The pool of one NIC and subnet, as the cloud has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) mac: MacAddr,
    pub(super) subnet: IpNet,
    pub(super) gateway: Option<IpAddr>,
    /// Everything that the cloud gave for pods: never a primary address, and none that the node has
    /// itself. May be empty.
    pub(super) addresses: RangeSet,
    /// The network that uses the NIC; `None` if nothing is to be added.
    pub(super) network: Option<NetworkRef>,
}

impl Wanted {
    /// The name of the pool, which follows from NIC and subnet: neither of them ever changes in a
    /// pool.
    pub(super) fn pool(&self) -> Result<PoolName> {
        let mac = self.mac.to_string().replace(':', "");
        let subnet = self.subnet.to_string().replace([':', '/'], "-");
        let name = format!("cloud-{mac}-{subnet}");
        name.parse().with_context(|| format!("name a pool for {} of NIC {}", self.subnet, self.mac))
    }
}

/// What the node is, as far as the cloud does not tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) links: Vec<Link>,
    /// The addresses on its own links. Of the IPv6 addresses of a NIC, which know no primary one, it
    /// has taken one for itself; and some distributions put every secondary address on the NIC.
    pub(super) own: RangeSet,
}

impl Node {
    /// The node that this process is in.
    ///
    /// # Errors
    /// The kernel's errno.
    pub(super) fn look() -> cni_net::Result<Self> {
        let mut netlink = Netlink::open()?;
        let links = netlink.links()?;
        let own = netlink.all_addresses()?.into_iter().map(|address| address.net.addr());
        Ok(Self { links, own: own.collect() })
    }
}

/// What the NICs of a reading ask for, and one line for each NIC that is left out.
pub(super) fn wanted(
    reading: &Reading,
    settings: &Settings,
    node: &Node,
) -> Result<(Vec<Wanted>, Vec<String>)> {
    settings.check_nics(reading, &node.links)?;
    let primaries: RangeSet =
        reading.nics.iter().filter_map(|nic| nic.primary).map(IpAddr::from).collect();
    let taken = primaries.union(&node.own);
    let mut all = Vec::new();
    let mut notes = Vec::new();
    for nic in &reading.nics {
        let interface = interface(nic.mac, &node.links)?;
        let network = match settings.choice(nic, interface) {
            Choice::Network(network) => Some(network),
            Choice::Ignored => None,
            Choice::Unknown => {
                notes.push(format!(
                    "NIC {} ({}) has no link on this node: nothing of it is added; --network {}=\
                     NAMESPACE/NAME names its network",
                    nic.mac, nic.id, nic.mac
                ));
                None
            }
        };
        for (subnet, gateway) in subnets(nic) {
            let given = addresses_in(nic, subnet);
            let on_node = given.intersection(&node.own).difference(&primaries);
            // Of IPv6 that is as it should be.
            if subnet.addr().is_ipv4() && !on_node.is_empty() {
                let mac = nic.mac;
                notes.push(format!(
                    "{on_node} of NIC {mac} is on a link of this node: it is not for pods"
                ));
            }
            let addresses = given.difference(&taken);
            let network = network.clone();
            all.push(Wanted { mac: nic.mac, subnet, gateway, addresses, network });
        }
    }
    Ok((all, notes))
}

fn subnets(nic: &Nic) -> impl Iterator<Item = (IpNet, Option<IpAddr>)> {
    let v4 = nic.subnet_v4.map(|subnet| (subnet.into(), nic.gateway_v4.map(IpAddr::from)));
    let v6 = nic.subnet_v6.map(|subnet| (subnet.into(), nic.gateway_v6.map(IpAddr::from)));
    v4.into_iter().chain(v6)
}

fn addresses_in(nic: &Nic, subnet: IpNet) -> RangeSet {
    let v4 = nic.secondary.iter().copied().map(IpAddr::from);
    let single = v4.chain(nic.ipv6.iter().copied().map(IpAddr::from)).map(AddressRange::from);
    let blocks = nic.prefixes.iter().copied().map(AddressRange::from);
    let all: RangeSet = single.chain(blocks).collect();
    all.intersection(&RangeSet::from(AddressRange::from(subnet)))
}

/// The name of the NIC's own link: others that have its MAC are made over it (ipvlan, VLANs) or of it
/// (a bond).
fn interface(mac: MacAddr, links: &[Link]) -> Result<Option<&str>> {
    let has_mac = links.iter().filter(|link| link.mac == Some(mac));
    let own: Vec<&Link> =
        has_mac.filter(|link| matches!(link.kind.as_deref(), None | Some("veth"))).collect();
    match own.as_slice() {
        [] => Ok(None),
        [link] => Ok(Some(&link.name)),
        several => {
            let names: Vec<&str> = several.iter().map(|link| link.name.as_str()).collect();
            bail!(
                "links {} all have MAC {mac}: --network {mac}=NAMESPACE/NAME names the network",
                names.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, kind: Option<&str>) -> Link {
        Link {
            index: 1,
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            mac: "00:16:3e:ac:c7:b7".parse().ok(),
            mtu: 1500,
            up: true,
            carrier: true,
            ..Link::default()
        }
    }

    #[test]
    fn the_link_of_a_nic_is_the_one_that_is_not_made_over_it() {
        let mac: MacAddr = "00:16:3e:ac:c7:b7".parse().unwrap();
        let links = [link("eth0", None), link("ipvl0", Some("ipvlan")), link("v7", Some("vlan"))];
        assert_eq!(interface(mac, &links).unwrap(), Some("eth0"));
        assert_eq!(interface("02:00:00:00:00:01".parse().unwrap(), &links).unwrap(), None);
        let error = interface(mac, &[link("a", None), link("b", None)]).unwrap_err().to_string();
        assert!(error.starts_with("links a, b all have MAC"), "{error}");
    }

    #[test]
    fn what_the_node_has_itself_is_not_for_pods() {
        let nic = Nic {
            mac: "00:16:3e:ac:c7:b7".parse().unwrap(),
            id: "eni-1".to_owned(),
            primary: "10.0.0.5".parse().ok(),
            secondary: vec!["10.0.0.7".parse().unwrap(), "10.0.0.8".parse().unwrap()],
            ipv6: vec!["fd00::7".parse().unwrap(), "fd00::8".parse().unwrap()],
            prefixes: Vec::new(),
            subnet_v4: "10.0.0.0/24".parse().ok(),
            subnet_v6: "fd00::/64".parse().ok(),
            gateway_v4: None,
            gateway_v6: None,
        };
        let reading = Reading { provider: cloud::ProviderName::Aws, nics: vec![nic] };
        let own = "10.0.0.5,10.0.0.8,fd00::7".parse().unwrap();
        let node = Node { links: vec![link("eth0", None)], own };
        let settings = Settings::new(&super::super::Options::default()).unwrap();
        let (wanted, notes) = wanted(&reading, &settings, &node).unwrap();
        let addresses: Vec<String> =
            wanted.iter().map(|wanted| wanted.addresses.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.7", "fd00::8"]);
        assert_eq!(
            notes,
            ["10.0.0.8 of NIC 00:16:3e:ac:c7:b7 is on a link of this node: it is not for pods"]
        );
    }

    #[test]
    fn a_pools_name_follows_from_nic_and_subnet() {
        let wanted = |subnet: &str| Wanted {
            mac: "00:16:3e:ac:c7:b7".parse().unwrap(),
            subnet: subnet.parse().unwrap(),
            gateway: None,
            addresses: RangeSet::new(),
            network: None,
        };
        let name = |subnet| wanted(subnet).pool().unwrap().to_string();
        assert_eq!(name("172.31.192.0/20"), "cloud-00163eacc7b7-172.31.192.0-20");
        assert_eq!(name("2408:4005::/64"), "cloud-00163eacc7b7-2408-4005---64");
    }
}
