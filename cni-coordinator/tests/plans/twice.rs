//! A plan says what is to be: once it is, a plan changes nothing, and a DEL leaves nothing.

use cni_coordinator::{CoordinatorConfig, Ingredient, Scene, host_steps, plan, unplan};

use crate::pods::{Stack, add_net1, config, overlay, planned, underlay};
use crate::world::World;

/// Every kind of pod, with the configuration of its last ADD.
fn worlds() -> Vec<(World, CoordinatorConfig)> {
    let mut all = Vec::new();
    for fields in variants() {
        let config = config(&fields);
        let with_route = with_route(&fields);
        for stack in Stack::ALL {
            all.push((World::new(underlay(stack, 2)), with_route.clone()));
            for metric in [None, Some(4096)] {
                let mut world = World::new(underlay(stack, 2));
                world.add(&config);
                add_net1(&mut world.scene, stack, metric);
                all.push((world, with_route.clone()));
            }
            all.push((World::new(overlay(stack)), with_route.clone()));
        }
    }
    all
}

fn variants() -> Vec<String> {
    let defaults = ["", "eth0", "net1"].into_iter();
    let all = defaults.flat_map(|default| [(default, true), (default, false)]);
    all.map(|(default, tuned)| {
        format!(
            r#""podDefaultRouteNIC":"{default}","tunePodRoutes":{tuned},"txQueueLen":500,
               "vethLinkAddress":"169.254.200.1""#
        )
    })
    .collect()
}

fn with_route(fields: &str) -> CoordinatorConfig {
    config(&format!(r#"{fields},"policyRoutes":[{{"dst":"10.10.0.0/16","gw":"172.31.207.253"}}]"#))
}

#[test]
fn a_second_add_changes_nothing() {
    for (mut world, config) in worlds() {
        world.add(&config);
        // By now the node has a route to the pod by the veth, and may choose another source.
        world.scene.node.sources.reverse();
        let before = world.clone();
        let plan = world.add(&config);
        assert_eq!(world, before, "{plan:#?}");
    }
}

#[test]
fn a_second_add_of_the_first_nic_leaves_the_second_alone() {
    for fields in variants() {
        for stack in Stack::ALL {
            let (first, second) = (with_route(&fields), config(&fields));
            let mut world = World::new(underlay(stack, 2));
            world.add(&first);
            let of_first = world.scene.attachment.clone();
            add_net1(&mut world.scene, stack, None);
            world.add(&second);
            let mut before = world.clone();
            before.scene.attachment = of_first.clone();
            before.scene.wirings.reverse();
            world.scene.attachment = of_first;
            world.add(&first);
            assert_eq!(world, before, "{fields}");
        }
    }
}

#[test]
fn the_same_scene_gives_the_same_plan_in_whatever_order_links_are_listed() {
    for (world, config) in worlds() {
        let plan = planned(&config, &world.scene);
        assert_eq!(plan, planned(&config, &world.scene));
        let mut scene: Scene = world.scene;
        scene.pod.links.reverse();
        scene.wirings.reverse();
        assert_eq!(plan, planned(&config, &scene));
    }
}

#[test]
fn a_pod_is_reachable_only_after_everything_else() {
    for (world, config) in worlds() {
        let last = [Ingredient::HostRule, Ingredient::HostNeighbour, Ingredient::HostRoute];
        let steps = planned(&config, &world.scene).steps;
        let first = steps.iter().position(|step| last.contains(&step.ingredient)).unwrap();
        assert!(steps[first..].iter().all(|step| last.contains(&step.ingredient)));
    }
}

#[test]
fn rules_come_after_what_they_lead_to_and_routes_leave_last() {
    for (mut world, config) in worlds() {
        let plan = planned(&config, &world.scene);
        let outside = ["8.8.8.8", "2001:db8::8"];
        let had: Vec<bool> =
            outside.iter().map(|dst| world.way(None, false, dst) != "nowhere").collect();
        for step in &plan.steps {
            world.perform(std::slice::from_ref(step));
            for (dst, had) in outside.iter().zip(&had) {
                assert_eq!(world.way(None, false, dst) != "nowhere", *had, "after {step}");
            }
        }
    }
}

#[test]
fn what_the_node_has_can_be_made_again_from_records_alone() {
    for (mut world, config) in worlds() {
        world.add(&config);
        let before = world.clone();
        world.node_routes.clear();
        world.node_rules.clear();
        world.node_neighbours.clear();
        world.perform(&host_steps(&world.scene.wirings.clone()));
        assert_eq!(world.node_neighbours, before.node_neighbours);
        assert_eq!(world.node_routes, before.node_routes);
        assert_eq!(world.node_rules, before.node_rules);
    }
}

#[test]
fn dels_in_any_order_leave_the_nodes_rule_and_nothing_else() {
    for reverse in [false, true] {
        for (mut world, config) in worlds() {
            let links = world.scene.node.links.clone();
            let links: Vec<_> =
                links.into_iter().filter(|link| !link.name.starts_with("veth")).collect();
            world.add(&config);
            let mut rest = world.scene.wirings.clone();
            if reverse {
                rest.reverse();
            }
            while let Some(wiring) = rest.pop() {
                world.perform(&unplan(&wiring, &rest));
                for address in &wiring.addresses {
                    assert!(!world.node_routes.iter().any(|it| it.dst.contains(address)));
                    assert!(!world.node_neighbours.iter().any(|(who, ..)| who == address));
                    let mut rules = world.scene.pod.rules.iter();
                    let is_of = |net: ipnet::IpNet| net.contains(address);
                    let gone = rest.is_empty() && wiring.mode == cni_coordinator::Mode::Underlay;
                    assert!(gone || !rules.any(|rule| rule.from.is_some_and(is_of)));
                }
            }
            assert!(world.node_routes.is_empty() && world.node_neighbours.is_empty());
            assert_eq!(world.scene.node.links, links);
            assert!(!world.node_rules.is_empty());
        }
    }
}

#[test]
fn what_another_pod_left_is_replaced() {
    let mut world = World::new(underlay(Stack::V4, 1));
    let address = "172.31.199.187".parse().unwrap();
    world.node_neighbours.insert((address, "02:00:00:00:00:99".into(), "vethstale".into()));
    let plan = planned(&config(""), &world.scene);
    let stale = plan.steps.iter().find_map(|step| match &step.change {
        cni_coordinator::Change::PutRoute(route) if route.table == 500 => Some(route.clone()),
        _ => None,
    });
    let stale = cni_coordinator::Route { link: "vethstale".into(), ..stale.unwrap() };
    let other = cni_coordinator::Route { metric: Some(7), ..stale.clone() };
    world.node_routes.extend([stale, other]);
    world.add(&config(""));
    assert_eq!(world.node_routes.len(), 1);
    assert_eq!(world.node_routes[0].link, "veth0123456789a");
    assert_eq!(world.node_neighbours.len(), 1);
}

#[test]
fn each_ingredient_can_be_left_out() {
    let config = config(
        r#""vethLinkAddress":"169.254.200.1","txQueueLen":500,"podDefaultRouteNIC":"net1",
           "policyRoutes":[{"dst":"10.10.0.0/16","gw":"172.31.207.253"}]"#,
    );
    let mut world = World::new(underlay(Stack::Dual, 2));
    let first = world.add(&config);
    add_net1(&mut world.scene, Stack::Dual, None);
    let second = plan(&config, &world.scene).unwrap();
    for ingredient in Ingredient::ALL {
        let differs = |plan: &cni_coordinator::Plan| plan.clone().without(ingredient) != *plan;
        assert!(differs(&first) || differs(&second), "{ingredient} is in no plan");
        assert_eq!(ingredient.to_string().parse::<Ingredient>().unwrap(), ingredient);
    }
    let error = "Veth0".parse::<Ingredient>().unwrap_err().to_string();
    assert_eq!(error, "\"Veth0\" is no ingredient of a plan");

    // What the tests with real traffic rely on.
    let lines = |ingredient| crate::pods::lines(&first.clone().without(ingredient).steps);
    let mtu = lines(Ingredient::Mtu);
    assert!(mtu[0].starts_with("ip -n POD link add veth0 ") && !mtu[0].contains("mtu"));
    let peers = lines(Ingredient::MarkRulePreference);
    let rule = "ip -n POD rule add pref 1000 from all fwmark 0x80/0x80 lookup 100 OURS";
    assert!(peers.iter().any(|line| line == rule), "{}", peers.join("\n"));
}
