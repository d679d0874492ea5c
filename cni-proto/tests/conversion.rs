//! The laws of conversion: from any result to the text of any version and back, nothing is lost
//! that the version can carry.

use cni_proto::{AddResult, Dns, Interface, IpConfig, Route, Version};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn net() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<[u8; 4]>(), 0..=32_u8)
        .prop_map(|(address, length)| Ipv4Net::new(address.into(), length).unwrap().into());
    let v6 = (any::<[u8; 16]>(), 0..=128_u8)
        .prop_map(|(address, length)| Ipv6Net::new(address.into(), length).unwrap().into());
    prop_oneof![v4, v6]
}

fn gateway() -> impl Strategy<Value = Option<std::net::IpAddr>> {
    option::of(net().prop_map(|net| net.addr()))
}

fn text() -> impl Strategy<Value = Option<String>> {
    option::of("\\PC{1,8}")
}

prop_compose! {
    fn interface()(
        name in "\\PC{0,8}",
        mac in text(),
        mtu in option::of(1..=u32::MAX),
        sandbox in text(),
        socket_path in text(),
        pci_id in text(),
    ) -> Interface {
        Interface { name, mac, mtu, sandbox, socket_path, pci_id }
    }
}

prop_compose! {
    fn route()(
        dst in net(),
        gw in gateway(),
        mtu in option::of(1..=u32::MAX),
        advmss in option::of(1..=u32::MAX),
        priority in option::of(1..=u32::MAX),
        table in any::<Option<u32>>(),
        scope in any::<Option<u8>>(),
    ) -> Route {
        Route { dst, gw, mtu, advmss, priority, table, scope }
    }
}

prop_compose! {
    fn dns()(
        nameservers in prop::collection::vec("\\PC{0,8}", 0..3),
        domain in text(),
        search in prop::collection::vec("\\PC{0,8}", 0..3),
        options in prop::collection::vec("\\PC{0,8}", 0..3),
    ) -> Dns {
        Dns { nameservers, domain, search, options }
    }
}

prop_compose! {
    fn result()(interfaces in prop::collection::vec(interface(), 0..4))(
        ips in prop::collection::vec(ip(interfaces.len()), 0..5),
        interfaces in Just(interfaces),
        routes in prop::collection::vec(route(), 0..5),
        dns in dns(),
    ) -> AddResult {
        AddResult { interfaces, ips, routes, dns }
    }
}

fn ip(interfaces: usize) -> impl Strategy<Value = IpConfig> {
    let index =
        if interfaces == 0 { Just(None).boxed() } else { option::of(0..interfaces).boxed() };
    (net(), gateway(), index).prop_map(|(address, gateway, interface)| IpConfig {
        address,
        gateway,
        interface,
    })
}

fn version() -> impl Strategy<Value = Version> {
    select(Version::SUPPORTED)
}

/// What a version has a place for, written down a second time.
fn carried(mut result: AddResult, version: Version) -> AddResult {
    if version < Version::V1_1_0 {
        for interface in &mut result.interfaces {
            (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
        }
        for route in &mut result.routes {
            *route = Route { gw: route.gw, ..Route::to(route.dst) };
        }
    }
    if version < Version::V0_3_0 {
        result.interfaces.clear();
        let is_v4 = |net: &IpNet| net.addr().is_ipv4();
        let mut kept = Vec::new();
        let mut routes = Vec::new();
        for v4 in [true, false] {
            let first = result.ips.iter().find(|ip| is_v4(&ip.address) == v4);
            if let Some(first) = first {
                kept.push(IpConfig { interface: None, ..first.clone() });
                let same = result.routes.iter().filter(|route| is_v4(&route.dst) == v4);
                routes.extend(same.cloned());
            }
        }
        (result.ips, result.routes) = (kept, routes);
    }
    result
}

proptest! {
    #[test]
    fn back_from_a_version_is_what_it_carries(result in result(), version in version()) {
        let printed = result.to_json(version).unwrap();
        prop_assert_eq!(&printed["cniVersion"], version.as_str());
        let read = AddResult::from_json(&printed).unwrap();
        prop_assert_eq!(&read, &carried(result, version));
        prop_assert_eq!(read.to_json(version).unwrap(), printed, "printed again");
    }

    #[test]
    fn a_chain_loses_what_its_poorest_version_lacks(
        result in result(),
        versions in prop::collection::vec(version(), 1..5),
    ) {
        let poorest = *versions.iter().min().unwrap();
        let mut passed = result.clone();
        for version in versions {
            passed = AddResult::from_json(&passed.to_json(version).unwrap()).unwrap();
        }
        prop_assert_eq!(passed, carried(result, poorest));
    }

    #[test]
    fn the_keys_tell_the_layout_where_no_version_is_stated(
        result in result(),
        version in version(),
    ) {
        let mut printed = result.to_json(version).unwrap();
        printed.as_object_mut().unwrap().remove("cniVersion");
        prop_assert_eq!(AddResult::from_json(&printed).unwrap(), carried(result, version));
    }

    #[test]
    fn a_delegates_output_is_read_as_it_was_printed(result in result(), version in version()) {
        let printed = result.to_json(version).unwrap().to_string();
        prop_assert_eq!(AddResult::parse(printed.as_bytes()).unwrap(), carried(result, version));
    }
}
