//! What does not fit together, in words that say what to do.

use cni_coordinator::{NodeLink, Scene, WantedMode, plan, turn};

use crate::pods::{Stack, add_net1, attachment, config, nic, node_link, overlay, underlay};
use crate::world::World;

fn refused(fields: &str, scene: &Scene) -> String {
    plan(&config(fields), scene).unwrap_err().to_string()
}

#[test]
fn a_further_nic_before_the_first() {
    let mut scene = underlay(Stack::V4, 2);
    add_net1(&mut scene, Stack::V4, None);
    assert_eq!(
        refused(r#""mode":"underlay""#, &scene),
        "net1 is not the pod's first interface eth0, and that was not wired: run this plugin for \
         eth0 first, name the first interface in podDefaultCniNic, or use mode overlay"
    );
    // Without a veth, `auto` takes eth0 for the NIC of an overlay network.
    assert_eq!(
        refused("", &scene),
        "the pod's link eth0 is no veth with its other end on the node, by which the pod could be \
         joined with it"
    );
    assert!(plan(&config(r#""podDefaultCniNic":"net1""#), &scene).is_ok());
}

#[test]
fn overlay_mode_where_it_cannot_be() {
    assert_eq!(
        refused(r#""mode":"overlay""#, &underlay(Stack::V4, 1)),
        "mode overlay: eth0 is the pod's first interface, whose own plugin has to join it with the \
         node: use mode underlay for it, or auto"
    );
    let mut world = World::new(underlay(Stack::V4, 2));
    world.add(&config(""));
    add_net1(&mut world.scene, Stack::V4, None);
    assert_eq!(
        refused(r#""mode":"overlay""#, &world.scene),
        "mode overlay: the pod has a veth0 already, so its first interface was wired in mode \
         underlay: use the same for net1, or auto"
    );
    let mut scene = overlay(Stack::V4);
    scene.pod.links.retain(|link| link.name != "eth0");
    assert_eq!(
        refused("", &scene),
        "the pod has no link eth0: podDefaultCniNic must name the pod's first interface"
    );
}

#[test]
fn the_mode_and_the_turn_of_an_interface() {
    let first = underlay(Stack::V4, 1);
    let of = |fields: &str, scene: &Scene| {
        let turn = turn(&config(fields), scene).unwrap().unwrap();
        (turn.mode.to_string(), turn.first, turn.ordinal)
    };
    assert_eq!(of("", &first), ("underlay".into(), true, 1));
    assert_eq!(of(r#""mode":"underlay""#, &first), ("underlay".into(), true, 1));
    assert_eq!(of("", &overlay(Stack::V4)), ("overlay".into(), true, 1));
    assert_eq!(config(r#""mode":"disabled""#).mode, WantedMode::Disabled);
    assert_eq!(turn(&config(r#""mode":"disabled""#), &first), Ok(None));

    let mut world = World::new(first);
    world.add(&config(""));
    add_net1(&mut world.scene, Stack::V4, None);
    assert_eq!(of("", &world.scene), ("underlay".into(), false, 2));
    world.add(&config(""));
    // Again the same, and the next has the next.
    assert_eq!(of("", &world.scene), ("underlay".into(), false, 2));
    world.scene.attachment = attachment("net2");
    assert_eq!(of("", &world.scene), ("underlay".into(), false, 3));
    // The number of one that is gone is free.
    world.scene.wirings.retain(|it| it.attachment != attachment("net1"));
    assert_eq!(of("", &world.scene), ("underlay".into(), false, 2));

    let mut full = world.wirings_up_to(99);
    full.attachment = attachment("net200");
    assert_eq!(
        refused("", &full),
        "container 0123456789abcdef0123456789abcdef has 99 wired interfaces, the most that there \
         can be"
    );
}

#[test]
fn an_interface_that_is_not_there_or_has_no_address() {
    let mut scene = underlay(Stack::V4, 1);
    scene.pod.links[1].addresses = vec!["169.254.0.9/16".parse().unwrap()];
    assert_eq!(
        refused("", &scene),
        "interface eth0 has no address beyond its link: run this plugin behind one that gives it \
         one"
    );
    scene.pod.links.pop();
    assert_eq!(
        refused("", &scene),
        "the pod has no link eth0: run this plugin behind the one that makes it"
    );
}

#[test]
fn names_that_somebody_else_has() {
    let mut scene = underlay(Stack::V4, 1);
    let name = "veth0123456789a";
    let veth = |alias: Option<&str>| NodeLink {
        kind: Some("veth".into()),
        alias: alias.map(str::to_owned),
        ..node_link(60, name, &[])
    };
    // Of the same first eleven characters, and yet another container.
    for other in [
        veth(Some("cni-coordinator/0123456789abcdef0123456789abcdee/eth0")),
        NodeLink { kind: Some("bridge".into()), ..veth(None) },
    ] {
        scene.node.links.push(other);
        assert_eq!(
            refused("", &scene),
            "the node has a link veth0123456789a that is not this container's: rename or delete it"
        );
        scene.node.links.pop();
    }
    for own in [
        veth(None),
        veth(Some("cni-coordinator/0123456789abcdef0123456789abcdef/eth0")),
        veth(Some("a text of somebody's")),
    ] {
        scene.node.links.push(own);
        assert!(plan(&config(""), &scene).is_ok());
        scene.node.links.pop();
    }
    scene.pod.links.push(nic(9, "veth0", "dummy", &[]));
    assert_eq!(
        refused("", &scene),
        "the pod has a link veth0 that is not this container's: rename or delete it"
    );
}

#[test]
fn a_family_of_services_that_the_node_lacks() {
    let mut scene = underlay(Stack::Dual, 1);
    scene.node.sources.pop();
    for link in &mut scene.node.links {
        link.addresses.retain(std::net::IpAddr::is_ipv4);
    }
    assert_eq!(
        refused("", &scene),
        "serviceCIDR fd00:10:233::/116: the node has no IPv6 address that its pods could reach it \
         by: give it one, look at hostInterfaceExclude, or leave the CIDR out"
    );
    let plan = plan(&config(r#""serviceCIDR":["10.233.0.0/18"]"#), &scene).unwrap();
    assert_eq!(
        plan.warnings,
        ["the node has no IPv6 address that its pods could reach it by: that family has no way \
             to the node"]
    );
}

#[test]
fn what_would_take_the_place_of_something_else() {
    let scene = underlay(Stack::V4, 1);
    assert_eq!(
        refused(r#""hijackCIDR":["172.31.192.0/20"]"#, &scene),
        "172.31.192.0/20 is the subnet of the pod's interface eth0 and is to be reached by the \
         node too: leave it out of overlayPodCIDR, serviceCIDR and hijackCIDR"
    );
    let mut same = scene.clone();
    same.node.links[1].addresses.push("172.31.199.187".parse().unwrap());
    assert_eq!(
        refused("", &same),
        "address 172.31.199.187 is the node's own: give the pod another"
    );
    assert_eq!(
        refused(r#""vethMTU":1279"#, &underlay(Stack::Dual, 1)),
        "vethMTU 1279: the pod has IPv6, which needs 1280 bytes (RFC 8200, section 5)"
    );
    assert!(plan(&config(r#""vethMTU":1279"#), &scene).is_ok());
}

#[test]
fn a_default_route_nic_that_the_pod_lacks() {
    let fields = r#""podDefaultRouteNIC":"net7""#;
    // The first interface cannot know which others come.
    let mut world = World::new(underlay(Stack::V4, 2));
    world.add(&config(fields));
    add_net1(&mut world.scene, Stack::V4, None);
    assert_eq!(
        refused(fields, &world.scene),
        "the pod has no link net7: podDefaultRouteNIC must name an interface that the pod has by \
         now"
    );
}

#[test]
fn a_nic_that_nobody_wired_keeps_its_default_route_and_is_told_of() {
    let mut world = World::new(underlay(Stack::V4, 2));
    world.add(&config(""));
    world.scene.wirings.clear();
    add_net1(&mut world.scene, Stack::V4, None);
    let plan = world.add(&config(r#""podDefaultRouteNIC":"net1""#));
    assert_eq!(
        plan.warnings,
        ["eth0 has a default route of IPv4 beside that of net1, and was not wired by this \
             plugin: its route stays"]
    );
    assert_eq!(plan.wiring.unwrap().ordinal, 2);
}
