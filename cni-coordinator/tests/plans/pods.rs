//! The pods and nodes of the tests: the example of the specification, and its neighbours.

use cni_coordinator::numbers::MAIN_TABLE;
use cni_coordinator::{
    CoordinatorConfig, NodeLink, NodeScene, Plan, PodLink, PodScene, Route, Scene, Step, VethPair,
    Wiring, plan,
};
use cni_net::MacAddr;
use cni_proto::NetworkConfig;
use ipam_core::Attachment;
use ipnet::IpNet;

pub(crate) const CONTAINER: &str = "0123456789abcdef0123456789abcdef";

/// `RTPROT_KERNEL`, `RTPROT_BOOT`.
const KERNEL: u8 = 2;
const BOOT: u8 = 3;

/// The families of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    V4,
    V6,
    Dual,
}

impl Stack {
    pub(crate) const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Dual];

    fn has(self, net: &IpNet) -> bool {
        match self {
            Self::V4 => matches!(net, IpNet::V4(_)),
            Self::V6 => matches!(net, IpNet::V6(_)),
            Self::Dual => true,
        }
    }
}

/// The example's destinations by way of the node.
pub(crate) const EXAMPLE: &str = r#""serviceCIDR":["10.233.0.0/18","fd00:10:233::/116"],
    "overlayPodCIDR":["10.233.64.0/18"],"hijackCIDR":["169.254.0.0/16"]"#;

pub(crate) fn read(fields: &str) -> Result<CoordinatorConfig, cni_proto::Error> {
    let comma = if fields.is_empty() { "" } else { "," };
    let text = format!(
        r#"{{"cniVersion":"1.1.0","name":"ipvlan","type":"cni-coordinator"{comma}{fields}}}"#
    );
    CoordinatorConfig::new(&NetworkConfig::parse(text.as_bytes())?)
}

/// The example's configuration, and these fields.
pub(crate) fn config(fields: &str) -> CoordinatorConfig {
    let comma = if fields.is_empty() { "" } else { "," };
    read(&format!("{EXAMPLE}{comma}{fields}")).unwrap()
}

pub(crate) fn attachment(ifname: &str) -> Attachment {
    Attachment {
        network: "ipvlan".parse().unwrap(),
        container: CONTAINER.parse().unwrap(),
        ifname: ifname.parse().unwrap(),
    }
}

pub(crate) fn nic(index: u32, name: &str, kind: &str, addresses: &[&str]) -> PodLink {
    PodLink {
        index,
        name: name.into(),
        up: true,
        broadcast: true,
        multicast: true,
        mac: Some(MacAddr([0x00, 0x16, 0x3e, 0, 0, u8::try_from(index).unwrap()])),
        mtu: 1500,
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        kind: Some(kind.into()),
        peer: None,
    }
}

pub(crate) fn node_link(index: u32, name: &str, addresses: &[&str]) -> NodeLink {
    NodeLink {
        index,
        name: name.into(),
        mac: Some(MacAddr([0x00, 0x16, 0x3e, 1, 0, u8::try_from(index).unwrap()])),
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        ..NodeLink::default()
    }
}

/// What a main plugin and the kernel left: `dst [via gateway]`.
pub(crate) fn route(text: &str, link: &str, source: Option<&str>) -> Route {
    let (dst, via) = text.split_once(" via ").map_or((text, None), |(dst, via)| (dst, Some(via)));
    let dst: IpNet = dst.parse().unwrap();
    let v6 = matches!(dst, IpNet::V6(_));
    let metric = match (v6, via) {
        (false, _) => None,
        (true, Some(_)) => Some(1024),
        (true, None) => Some(256),
    };
    Route {
        dst,
        via: via.map(|via| via.parse().unwrap()),
        link: link.into(),
        table: MAIN_TABLE,
        source: source.filter(|_| !v6).map(|source| source.parse().unwrap()),
        metric,
        mtu: None,
        advmss: None,
        link_scope: via.is_none() && !v6,
        onlink: false,
        protocol: if via.is_none() { KERNEL } else { BOOT },
    }
}

/// eth0 on the node's eth0, and the node has an eth1 too if `nics` is 2.
pub(crate) fn underlay(stack: Stack, nics: usize) -> Scene {
    let mut eth0 =
        nic(2, "eth0", "ipvlan", &["172.31.199.187/20", "fd00:172:31::187/64", "fe80::2/64"]);
    eth0.addresses.retain(|net| stack.has(net));
    let mut routes = vec![
        route("0.0.0.0/0 via 172.31.207.253", "eth0", None),
        route("172.31.192.0/20", "eth0", Some("172.31.199.187")),
        route("::/0 via fd00:172:31::253", "eth0", None),
        route("fd00:172:31::/64", "eth0", None),
        route("fe80::/64", "eth0", None),
    ];
    routes.retain(|route| stack.has(&route.dst));
    let mut links = vec![
        node_link(1, "lo", &["127.0.0.1", "::1"]),
        node_link(2, "eth0", &["172.31.199.183", "fd00:172:31::183", "fe80::183"]),
        node_link(3, "eth1", &["192.168.0.10", "fd00:192::10"]),
        node_link(4, "docker0", &["172.17.0.1"]),
    ];
    links.retain(|link| nics == 2 || link.name != "eth1");
    let sources = ["172.31.199.183", "fd00:172:31::183"].map(|source| source.parse().unwrap());
    let sources = sources.into_iter().filter(|it: &std::net::IpAddr| stack.has(&(*it).into()));
    Scene {
        attachment: attachment("eth0"),
        netns: "/run/netns/pod".into(),
        pod: PodScene {
            links: vec![PodLink { name: "lo".into(), up: true, ..PodLink::default() }, eth0],
            routes,
            rules: Vec::new(),
        },
        node: NodeScene { sources: sources.collect(), links },
        wirings: Vec::new(),
    }
}

/// The metric that a further NIC's default route of IPv4 has: none with upstream's ipvlan, 4096
/// with ours.
pub(crate) fn add_net1(scene: &mut Scene, stack: Stack, metric: Option<u32>) {
    let mut net1 = nic(7, "net1", "ipvlan", &["192.168.0.160/24", "fd00:192::160/64"]);
    net1.addresses.retain(|net| stack.has(net));
    let default = |text| {
        let route = route(text, "net1", None);
        Route { metric: metric.or(route.metric), ..route }
    };
    let mut routes = vec![
        // In front: a new route goes before one of the same metric.
        default("0.0.0.0/0 via 192.168.0.253"),
        route("192.168.0.0/24", "net1", Some("192.168.0.160")),
        default("::/0 via fd00:192::253"),
        route("fd00:192::/64", "net1", None),
        route("fe80::/64", "net1", None),
    ];
    routes.retain(|route| stack.has(&route.dst));
    routes.append(&mut scene.pod.routes);
    scene.pod.routes = routes;
    scene.pod.links.push(net1);
    scene.attachment = attachment("net1");
    let sources = ["192.168.0.10", "fd00:192::10"].map(|source| source.parse().unwrap());
    let sources = sources.into_iter().filter(|it: &std::net::IpAddr| stack.has(&(*it).into()));
    scene.node.sources = sources.collect();
}

/// eth0 of an overlay network, net1 on the node's eth0.
pub(crate) fn overlay(stack: Stack) -> Scene {
    let mut scene = underlay(stack, 1);
    let mut net1 = scene.pod.links.pop().unwrap();
    net1.name = "net1".into();
    net1.index = 7;
    let mut eth0 = nic(3, "eth0", "veth", &["10.233.105.154/32", "fd00:10:233:64::9a/128"]);
    eth0.addresses.retain(|net| stack.has(net));
    eth0.peer = Some(9);
    for route in &mut scene.pod.routes {
        route.link = "net1".into();
        if route.dst.prefix_len() == 0 {
            route.metric = Some(4096);
        }
    }
    let mut routes = vec![
        route("0.0.0.0/0 via 169.254.1.1", "eth0", None),
        Route { source: None, ..route("169.254.1.1/32", "eth0", None) },
        route("::/0 via fe80::ecee:eeff:feee:eeee", "eth0", None),
    ];
    routes.retain(|route| stack.has(&route.dst));
    scene.pod.routes.splice(0..0, routes);
    scene.pod.links.extend([eth0, net1]);
    scene.node.links.push(NodeLink { kind: Some("veth".into()), ..node_link(9, "cali12345", &[]) });
    scene.attachment = attachment("net1");
    scene
}

pub(crate) fn planned(config: &CoordinatorConfig, scene: &Scene) -> Plan {
    plan(config, scene).unwrap()
}

/// Steps in words, with the pair's MACs as `PMAC` and `HMAC` and our protocol as `OURS`.
pub(crate) fn lines(steps: &[Step]) -> Vec<String> {
    let pair = VethPair::of(&attachment("eth0"));
    let named = |step: &Step| {
        step.to_string()
            .replace(&pair.pod_mac.to_string(), "PMAC")
            .replace(&pair.host_mac.to_string(), "HMAC")
            .replace("proto 157", "OURS")
            .replace("protocol 157", "OURS")
    };
    steps.iter().map(named).collect()
}

/// Compares line by line, so that a failure shows the first difference.
pub(crate) fn assert_lines(plan: &Plan, expected: &[&str]) {
    let lines = lines(&plan.steps);
    for (number, (line, expected)) in lines.iter().zip(expected).enumerate() {
        assert_eq!(line, expected, "line {number} of\n{}", lines.join("\n"));
    }
    assert_eq!(lines.len(), expected.len(), "{}", lines.join("\n"));
}

pub(crate) fn wiring(plan: &Plan) -> Wiring {
    plan.wiring.clone().unwrap()
}
