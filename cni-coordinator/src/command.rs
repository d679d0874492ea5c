//! A step as a person would type it: for `ipamctl explain`, debug logs and tests.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use ipam_core::Family;

use crate::mark::Mark;
use crate::step::{Change, Marks, Neighbour, Place, Route, Rule, Step, Veth};

/// The name that commands have for the pod's namespace.
const POD: &str = "POD";

impl Display for Step {
    /// The change as one line of a shell in the node's namespace, in which `POD` is the name of the
    /// pod's namespace and `NODE` that of the node's own.
    ///
    /// Where the step leaves something of ours alone that the command has no word for, the command
    /// goes further: `ip neigh flush` and `ip route flush` take the entry over the right link too,
    /// which the next line puts back.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.change {
            Change::SetSysctl { key, value } => {
                let prefix = match self.place {
                    Place::Node => "",
                    Place::Pod => "ip netns exec POD ",
                };
                return write!(f, "{prefix}sysctl -w net/{key}={value}");
            }
            Change::PutMarks(marks) => return marks.fmt(f),
            _ => {}
        }
        f.write_str("ip ")?;
        if self.place == Place::Pod {
            write!(f, "-n {POD} ")?;
        }
        match &self.change {
            Change::PutVeth(veth) => veth.fmt(f),
            Change::SetAlias { link, alias } => write!(f, "link set {link} alias {alias}"),
            Change::SetUp { link } => write!(f, "link set {link} up"),
            Change::SetTxQueueLen { link, packets } => {
                write!(f, "link set {link} txqueuelen {packets}")
            }
            Change::PutAddress { link, address } => {
                write!(f, "address replace {address} dev {link}")?;
                if address.addr().is_ipv6() { f.write_str(" nodad") } else { Ok(()) }
            }
            Change::ForgetNeighbours { address, link: _ } => {
                write!(f, "{}neigh flush to {address} nud all", option(Family::of(*address)))
            }
            Change::PutNeighbour(neighbour) => neighbour.fmt(f),
            Change::DeleteNeighbour { address, link } => {
                write!(f, "neigh delete {address} dev {link}")
            }
            Change::ForgetRoutes { dst, table, link: _ } => {
                let option = option(Family::of(dst.addr()));
                write!(f, "{option}route flush table {table} exact {dst}")
            }
            Change::PutRoute(route) => write!(f, "route replace {route}"),
            Change::DeleteRoute(route) => write!(f, "route delete {route}"),
            Change::FlushTable { family, table } => {
                write!(f, "{}route flush table {table}", option(*family))
            }
            Change::ReturnDefault { family, table, leaving: _ } => {
                let option = option(*family);
                write!(
                    f,
                    "{option}route show table {table} default | sed 's/^/route replace /' | \
                     ip -n {POD} {option}-batch -"
                )
            }
            Change::PutRule(rule) => write!(f, "{}rule add {rule}", option(rule.family)),
            Change::DeleteRule(rule) => write!(f, "{}rule delete {rule}", option(rule.family)),
            Change::DeleteLink { link, .. } => write!(f, "link delete {link}"),
            Change::SetSysctl { .. } | Change::PutMarks(_) => Ok(()),
        }
    }
}

/// For the commands that cannot tell the family by an address of theirs.
fn option(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => "-6 ",
    }
}

impl Display for Veth {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { pod, node, pod_mac, node_mac, mtu } = self;
        let mtu = mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
        write!(
            f,
            "link add {pod} address {pod_mac}{mtu} type veth peer name {node} address \
             {node_mac}{mtu} netns NODE"
        )
    }
}

impl Display for Neighbour {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { address, mac, link } = self;
        write!(f, "neigh replace {address} lladdr {mac} dev {link} nud permanent")
    }
}

impl Display for Route {
    /// As iproute2 takes it behind `ip route add`; the main table is not named.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.link)?;
        if self.onlink {
            f.write_str(" onlink")?;
        }
        if self.table != crate::numbers::MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        write!(f, " proto {}", self.protocol)?;
        if self.link_scope && matches!(self.dst.addr(), IpAddr::V4(_)) {
            f.write_str(" scope link")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        for (word, value) in [("metric", self.metric), ("mtu", self.mtu), ("advmss", self.advmss)] {
            if let Some(value) = value {
                write!(f, " {word} {value}")?;
            }
        }
        Ok(())
    }
}

impl Display for Rule {
    /// As iproute2 takes it behind `ip rule add`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "pref {} from ", self.preference)?;
        match self.from {
            Some(from) => write!(f, "{from}")?,
            None => f.write_str("all")?,
        }
        if let Some(mark) = self.mark {
            write!(f, " fwmark {mark}")?;
        }
        write!(f, " lookup {} protocol {}", self.table, self.protocol)
    }
}

impl Display for Marks {
    /// A chain of type `route` is needed for what the pod sends: another type would mark a packet
    /// and not look its route up again.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { link, mark } = self;
        let (value, bits) = (mark.value(), mark.mask());
        let (connection, packet) = (set("ct mark", *mark), set("meta mark", *mark));
        write!(
            f,
            "ip netns exec {POD} nft 'add table inet cni_coordinator; \
             delete table inet cni_coordinator; table inet cni_coordinator {{ \
             chain prerouting {{ type filter hook prerouting priority mangle; \
             iifname \"{link}\" ct state new {connection}; }}; \
             chain output {{ type route hook output priority mangle; \
             ct mark and {bits:#x} == {value:#x} {packet}; }}; }}'"
        )
    }
}

/// The value goes into the bits of the mask; where it has all of these, that is one `or`.
fn set(what: &str, mark: Mark) -> String {
    let (value, bits) = (mark.value(), mark.mask());
    if value == bits {
        return format!("{what} set {what} or {value:#x}");
    }
    format!("{what} set {what} and {:#x} or {value:#x}", !bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bits_of_the_mask_change() {
        let set = |mark: &str| set("ct mark", mark.parse().unwrap());
        assert_eq!(set("0x80"), "ct mark set ct mark or 0x80");
        assert_eq!(set("0x80/0xff"), "ct mark set ct mark and 0xffffff00 or 0x80");
    }

    #[test]
    fn a_route_with_every_option() {
        let (dst, via) = ("10.0.0.0/8".parse().unwrap(), "10.1.0.1".parse().unwrap());
        let route = Route {
            source: Some("10.1.0.2".parse().unwrap()),
            metric: Some(7),
            mtu: Some(1400),
            advmss: Some(1360),
            onlink: true,
            ..Route::new(dst, Some(via), "net1", 102)
        };
        assert_eq!(
            route.to_string(),
            "10.0.0.0/8 via 10.1.0.1 dev net1 onlink table 102 proto 157 src 10.1.0.2 metric 7 \
             mtu 1400 advmss 1360"
        );
    }
}
