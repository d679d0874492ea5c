//! Which NIC the interface shares: found by what the configuration, the chain or the routes say.

use cni_net::{Link, Netlink, Route};
use cni_proto::{AddResult, Code, Error};
use ipnet::IpNet;

use crate::config::{IpvlanConfig, Master};
use crate::failure::kernel;

/// The IPv4 and IPv6 main routing table.
const MAIN: u32 = 254;

/// How many links a message lists.
const MOST_LISTED: usize = 16;

/// The master, in the namespace of the socket: the first of the configuration that is there; else
/// the one interface of `prev_result`; else that of the first default route.
///
/// # Errors
/// Code 7: there is none, or more than one; with the links there are.
pub(crate) fn find(
    config: &IpvlanConfig,
    prev_result: Option<&AddResult>,
    socket: &mut Netlink,
) -> Result<Link, Error> {
    if config.masters.is_empty() {
        return match prev_result {
            Some(result) => {
                let name = of_chain(result)?;
                let found = socket.link(name).map_err(kernel)?;
                found.map_or_else(|| Err(missing(&[Master::Name(name.into())], socket)), Ok)
            }
            None => of_default_route(config, socket),
        };
    }
    for master in &config.masters {
        let found = match master {
            Master::Name(name) => socket.link(name).map_err(kernel)?,
            Master::Mac(_) => with_mac(master, socket.links().map_err(kernel)?)?,
        };
        if let Some(link) = found {
            return Ok(link);
        }
    }
    Err(missing(&config.masters, socket))
}

/// The only interface that the plugins before made.
fn of_chain(result: &AddResult) -> Result<&str, Error> {
    match result.interfaces.as_slice() {
        [only] if !only.name.is_empty() => Ok(&only.name),
        several => {
            let names: Vec<_> = several.iter().map(|interface| interface.name.as_str()).collect();
            let msg = format!(
                "no master, and prevResult has {} interfaces [{}] where one is needed: set master",
                names.len(),
                names.join(", ")
            );
            Err(invalid(msg))
        }
    }
}

fn of_default_route(config: &IpvlanConfig, socket: &mut Netlink) -> Result<Link, Error> {
    let routes = socket.routes(Some(MAIN)).map_err(kernel)?;
    let found = match first_default(&routes) {
        Some(index) => socket.link_by_index(index).map_err(kernel)?,
        None => None,
    };
    found.ok_or_else(|| {
        let place = if config.link_in_container { "pod" } else { "node" };
        invalid(format!(
            "no master, and this {place} has no default route whose NIC to take: set master"
        ))
    })
}

/// The link of the IPv4 default route, else of the IPv6 one: each with the lowest metric.
fn first_default(routes: &[Route]) -> Option<u32> {
    let of_family = |is_family: fn(&IpNet) -> bool| {
        let defaults = routes.iter().filter(|it| it.dst.prefix_len() == 0 && is_family(&it.dst));
        defaults.min_by_key(|route| route.metric.unwrap_or(0)).map(|route| route.index)
    };
    of_family(|dst| matches!(dst, IpNet::V4(_)))
        .or_else(|| of_family(|dst| matches!(dst, IpNet::V6(_))))
}

/// The one link with the MAC. An ipvlan link has its parent's and is never meant.
fn with_mac(master: &Master, links: Vec<Link>) -> Result<Option<Link>, Error> {
    let Master::Mac(mac) = master else { return Ok(None) };
    let has_it = |link: &Link| link.mac == Some(*mac) && link.kind.as_deref() != Some("ipvlan");
    let mut found: Vec<_> = links.into_iter().filter(has_it).collect();
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|link| link.name.as_str()).collect();
        let names = names.join(", ");
        return Err(invalid(format!(
            "master {master}: [{names}] have this MAC: name the one that is meant"
        )));
    }
    Ok(found.pop())
}

fn missing(masters: &[Master], socket: &mut Netlink) -> Error {
    let wanted: Vec<_> = masters.iter().map(ToString::to_string).collect();
    // Best effort: the list is a help, and the error is certain without it.
    let links = socket.links().unwrap_or_default();
    invalid(missing_text(&wanted.join(", "), &links))
}

fn missing_text(wanted: &str, links: &[Link]) -> String {
    let of_pods = |link: &&Link| matches!(link.kind.as_deref(), Some("veth" | "ipvlan"));
    let mut names: Vec<_> =
        links.iter().filter(|link| !of_pods(link)).map(|link| link.name.as_str()).collect();
    // Where every NIC is a veth, as in a nested node, they are what was meant.
    if names.iter().all(|name| *name == "lo") {
        names = links.iter().map(|link| link.name.as_str()).collect();
    }
    names.retain(|name| *name != "lo");
    let more = names.len().saturating_sub(MOST_LISTED);
    names.truncate(MOST_LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = names.join(", ");
    format!("master {wanted}: this node has no such link; it has [{names}]{more}: correct master")
}

fn invalid(msg: String) -> Error {
    Error::new(Code::INVALID_CONFIG, msg)
}

#[cfg(test)]
mod tests {
    use cni_net::MacAddr;
    use cni_proto::Interface;

    use super::*;
    use crate::precheck::tests::link;

    #[test]
    fn a_missing_master_lists_the_nics_there_are() {
        let veth = Link { kind: Some("veth".into()), ..link(7, "veth1") };
        let links = [link(1, "lo"), link(2, "ens5"), veth.clone(), link(3, "bond0")];
        assert_eq!(
            missing_text("eth9, eth8", &links),
            "master eth9, eth8: this node has no such link; it has [ens5, bond0]: correct master"
        );
        let nested = [link(1, "lo"), veth];
        assert!(missing_text("eth9", &nested).contains("it has [veth1]:"));
        let many: Vec<_> = (2..20).map(|index| link(index, &format!("e{index}"))).collect();
        assert!(missing_text("eth9", &many).contains("e17] and 2 more:"));
    }

    #[test]
    fn a_mac_means_one_link_and_never_an_ipvlan() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let with = |index, name: &str, kind: Option<&str>| Link {
            mac: Some(mac),
            kind: kind.map(Into::into),
            ..link(index, name)
        };
        let one = vec![link(2, "eth0"), with(3, "eth1", None), with(4, "ipv", Some("ipvlan"))];
        assert_eq!(with_mac(&Master::Mac(mac), one).unwrap().unwrap().name, "eth1");
        let two = vec![with(3, "eth1", None), with(4, "eth1.5", Some("vlan"))];
        let error = with_mac(&Master::Mac(mac), two).unwrap_err();
        assert_eq!(
            error.to_string(),
            "master 02:00:00:00:00:01: [eth1, eth1.5] have this MAC: name the one that is meant"
        );
        assert_eq!(with_mac(&Master::Mac(mac), vec![link(2, "eth0")]).unwrap(), None);
    }

    #[test]
    fn a_chain_must_have_made_one_interface() {
        let named = |name: &str| Interface { name: name.into(), ..Interface::default() };
        let mut result = AddResult { interfaces: vec![named("bond7")], ..AddResult::default() };
        assert_eq!(of_chain(&result).unwrap(), "bond7");
        result.interfaces.push(named("eth0"));
        assert_eq!(
            of_chain(&result).unwrap_err().to_string(),
            "no master, and prevResult has 2 interfaces [bond7, eth0] where one is needed: set \
             master"
        );
    }

    #[test]
    fn the_default_route_of_ipv4_and_the_lowest_metric_count_first() {
        let route = |dst: &str, metric, index| Route {
            metric: Some(metric),
            ..Route::new(dst.parse().unwrap(), None, index)
        };
        let v6 = route("::/0", 1024, 9);
        assert_eq!(first_default(&[route("10.0.0.0/8", 0, 2), v6.clone()]), Some(9));
        let both = [v6, route("0.0.0.0/0", 200, 3), route("0.0.0.0/0", 100, 4)];
        assert_eq!(first_default(&both), Some(4));
        assert_eq!(first_default(&[]), None);
    }
}
