use std::net::IpAddr;

use cloud::{MacAddr, Nic, ProviderName, Reading};
use ipam_core::{Attachment, Lease, Stamp};
use proptest::prelude::*;

use super::*;
use crate::sync::settings::Settings;
use crate::sync::wanted::{Node, wanted};

const NICS: [&str; 2] = ["00:16:3e:00:00:01", "00:16:3e:00:00:02"];

/// A NIC of 10.0.0.0/24 that has these last bytes.
fn nic(number: usize, primary: u8, secondary: &[u8]) -> Nic {
    let at = |last: u8| [10, 0, 0, last].into();
    Nic {
        mac: NICS[number].parse().unwrap(),
        id: format!("eni-{number}"),
        primary: Some(at(primary)),
        secondary: secondary.iter().copied().map(at).collect(),
        ipv6: Vec::new(),
        prefixes: Vec::new(),
        subnet_v4: "10.0.0.0/24".parse().ok(),
        subnet_v6: None,
        gateway_v4: Some(at(253)),
        gateway_v6: None,
    }
}

fn wanted_of(nics: &[Nic]) -> Vec<Wanted> {
    let networks = NICS.map(|mac| format!("{mac}=kube-system/net-{}", &mac[16..]));
    let options = crate::sync::Options {
        networks: networks.to_vec(),
        node_name: Some("n".into()),
        ..Default::default()
    };
    let settings = Settings::new(&options).unwrap();
    let reading = Reading { provider: ProviderName::Aws, nics: nics.to_vec() };
    wanted(&reading, &settings, &Node::default()).unwrap().0
}

fn rules(now_unix_seconds: u64) -> Rules {
    let confirm = Duration::from_secs(60);
    Rules { node: "n".parse().unwrap(), now_unix_seconds, confirm, prune: false }
}

/// What a store does with a plan.
fn carry_out(stored: &mut Contents, plan: &Plan) {
    let Revision { put, removed_pools, removed_reserved } = &plan.revision;
    for lease in &stored.leases {
        assert!(!removed_pools.contains(&lease.pool), "{} is held", lease.address);
    }
    stored.pools.retain(|pool| !removed_pools.contains(pool.name()));
    stored.reserved.retain(|one| !removed_reserved.contains(one.name()));
    ipam_core::apply(&stored.pools, &put.pools, &stored.leases).unwrap();
    for pool in &put.pools {
        stored.pools.retain(|one| one.name() != pool.name());
        stored.pools.push(pool.clone());
    }
    for reserved in &put.reserved {
        stored.reserved.retain(|one| one.name() != reserved.name());
        stored.reserved.push(reserved.clone());
    }
    stored.pools.sort_by(|one, other| one.name().cmp(other.name()));
}

fn sync(stored: &mut Contents, nics: &[Nic], now: u64) -> Plan {
    let plan = plan(&wanted_of(nics), stored, &rules(now)).unwrap();
    carry_out(stored, &plan);
    plan
}

fn hold(stored: &mut Contents, address: IpAddr) {
    let pool = stored.pools.iter().find(|pool| pool.claims(address)).unwrap().name().clone();
    let attachment = Attachment {
        network: "net".parse().unwrap(),
        container: format!("c{address}").parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let since = Stamp::default();
    stored.leases.push(Lease { address, pool, attachment, pod: None, netns: None, since });
}

/// Everything that the pools of ours hand out.
fn handed_out(stored: &Contents) -> RangeSet {
    let effective = stored.effective_pools();
    let ours = effective.iter().filter(|pool| is_ours(pool.labels()));
    ours.fold(RangeSet::new(), |all, pool| all.union(pool.assignable()))
}

fn set(text: &str) -> RangeSet {
    text.parse().unwrap()
}

fn foreign(name: &str, subnet: &str, ips: &str) -> Pool {
    let ips = ips.split(',').map(str::to_owned).collect();
    Pool::new(name, &PoolSpec { subnet: subnet.into(), ips, ..PoolSpec::default() }).unwrap()
}

#[test]
fn a_pool_is_as_a_person_would_have_written_it() {
    let mut stored = Contents::default();
    let plan = sync(&mut stored, &[nic(0, 5, &[7, 8, 10])], 100);
    assert_eq!(plan.pools[0].fate, Fate::Created);
    let [pool] = stored.pools.as_slice() else { panic!("{:?}", stored.pools) };
    assert_eq!(pool.name().as_str(), "cloud-00163e000001-10.0.0.0-24");
    let spec = pool.spec();
    assert_eq!(spec.ips, ["10.0.0.7-10.0.0.8", "10.0.0.10"]);
    assert_eq!(
        (spec.subnet.as_str(), spec.gateway.as_deref()),
        ("10.0.0.0/24", Some("10.0.0.253"))
    );
    assert_eq!(
        (spec.node_name, spec.multus_name),
        (vec!["n".into()], vec!["kube-system/net-1".into()])
    );
    assert_eq!(spec.default, Some(true));
    assert_eq!(sync(&mut stored, &[nic(0, 5, &[7, 8, 10])], 100).revision, Revision::default());
}

#[test]
fn a_person_keeps_what_was_set_in_a_pool_of_ours() {
    let mut stored = Contents::default();
    sync(&mut stored, &[nic(0, 5, &[7, 8])], 100);
    let mut spec = stored.pools[0].spec();
    spec.exclude_ips = vec!["10.0.0.8".into()];
    spec.disable = Some(true);
    spec.namespace_name = vec!["web".into()];
    let edited = Pool::new(stored.pools[0].name().as_str(), &spec).unwrap();
    stored.pools[0] = edited.with_labels(stored.pools[0].labels().clone()).unwrap();
    sync(&mut stored, &[nic(0, 5, &[7, 8, 9])], 100);
    let pool = &stored.pools[0];
    assert!(pool.is_disabled() && pool.namespaces()[0].as_str() == "web");
    assert_eq!(pool.claimed(), set("10.0.0.7,10.0.0.9"));
}

#[test]
fn what_is_gone_is_fenced_then_confirmed_then_removed_and_never_while_it_is_held() {
    let mut stored = Contents::default();
    sync(&mut stored, &[nic(0, 5, &[7, 8, 9])], 100);
    hold(&mut stored, "10.0.0.8".parse().unwrap());
    // Stale, and given back.
    sync(&mut stored, &[nic(0, 5, &[7])], 200);
    assert_eq!(handed_out(&stored), set("10.0.0.7"));
    let plan = sync(&mut stored, &[nic(0, 5, &[7, 8, 9])], 201);
    assert_eq!(plan.pools[0].given_back, set("10.0.0.8-10.0.0.9"));
    assert_eq!((stored.reserved.len(), handed_out(&stored)), (0, set("10.0.0.7-10.0.0.9")));
    // Gone for good.
    sync(&mut stored, &[nic(0, 5, &[7])], 300);
    let plan = sync(&mut stored, &[nic(0, 5, &[7])], 359);
    assert_eq!(plan.revision, Revision::default());
    let fenced = &plan.pools[0].fenced;
    assert_eq!(fenced[0].holder.as_ref().unwrap().address.to_string(), "10.0.0.8");
    assert_eq!((&fenced[1].addresses, fenced[1].since_unix_seconds), (&set("10.0.0.9"), 300));
    let plan = sync(&mut stored, &[nic(0, 5, &[7])], 360);
    assert_eq!(plan.pools[0].removed, set("10.0.0.9"));
    assert_eq!(stored.pools[0].claimed(), set("10.0.0.7-10.0.0.8"));
    stored.leases.clear();
    assert_eq!(handed_out(&stored), set("10.0.0.7"), "never reissued after its release either");
    sync(&mut stored, &[nic(0, 5, &[7])], 361);
    assert_eq!((stored.pools[0].claimed(), stored.reserved.len()), (set("10.0.0.7"), 0));
}

#[test]
fn a_nic_that_is_gone_with_all_it_had_keeps_it_until_a_person_says_otherwise() {
    for empty in [vec![nic(1, 6, &[])], vec![nic(0, 5, &[]), nic(1, 6, &[])]] {
        let mut stored = Contents::default();
        sync(&mut stored, &[nic(0, 5, &[7, 8]), nic(1, 6, &[])], 100);
        let claimed = stored.pools[0].claimed();
        for now in [200, 300, 100_000] {
            sync(&mut stored, &empty, now);
            assert_eq!(
                (stored.pools[0].claimed(), handed_out(&stored)),
                (claimed.clone(), set(""))
            );
        }
        let pruning = Rules { prune: true, ..rules(100_001) };
        let mut held = stored.clone();
        hold(&mut held, "10.0.0.7".parse().unwrap());
        let left = plan(&wanted_of(&empty), &held, &pruning).unwrap();
        assert_eq!(
            (left.pools[0].fate, &left.pools[0].removed),
            (Fate::Configured, &set("10.0.0.8"))
        );
        let pruned = plan(&wanted_of(&empty), &stored, &pruning).unwrap();
        carry_out(&mut stored, &pruned);
        assert_eq!((stored.pools.len(), stored.reserved.len()), (0, 0));
    }
}

#[test]
fn an_address_that_moves_to_another_nic_waits_until_the_first_has_lost_it() {
    let mut stored = Contents::default();
    sync(&mut stored, &[nic(0, 5, &[7, 8]), nic(1, 6, &[9])], 100);
    let moved = [nic(0, 5, &[7]), nic(1, 6, &[8, 9])];
    let plan = sync(&mut stored, &moved, 200);
    assert_eq!(
        (&plan.pools[1].waiting, handed_out(&stored)),
        (&set("10.0.0.8"), set("10.0.0.7,10.0.0.9"))
    );
    let plan = sync(&mut stored, &moved, 260);
    assert_eq!(
        (&plan.pools[0].removed, &plan.pools[1].added),
        (&set("10.0.0.8"), &set("10.0.0.8"))
    );
    assert_eq!(handed_out(&stored), set("10.0.0.7-10.0.0.9"));
}

#[test]
fn a_persons_pool_is_never_touched_and_what_overlaps_it_is_named_with_both() {
    for (pool, expected) in [
        (foreign("mine", "10.0.0.0/24", "10.0.0.7"), "10.0.0.7: pool mine has it"),
        (foreign("mine", "10.0.0.0/16", "10.0.9.1"), "subnet 10.0.0.0/16 of pool mine"),
        (foreign("cloud-00163e000001-10.0.0.0-24", "10.0.0.0/24", "10.0.0.99"), "has the name"),
    ] {
        let mut stored = Contents { pools: vec![pool.clone()], ..Contents::default() };
        let plan = sync(&mut stored, &[nic(0, 5, &[7, 8])], 100);
        let text = plan.conflicts.join("\n");
        assert!(text.contains(expected) && text.contains("cloud-00163e000001"), "{text}");
        assert_eq!(stored.pools, [pool]);
    }
    // Beside it there is room.
    let pool = foreign("mine", "10.0.0.0/24", "10.0.0.99");
    let mut stored = Contents { pools: vec![pool.clone()], ..Contents::default() };
    assert_eq!(sync(&mut stored, &[nic(0, 5, &[7])], 100).conflicts, Vec::<String>::new());
    assert!(stored.pools.contains(&pool) && stored.pools.len() == 2);
    // And the fences of other pools go on.
    let taken = foreign("other", "10.0.0.0/24", "10.0.0.20");
    stored.pools.push(taken);
    let plan = sync(&mut stored, &[nic(0, 5, &[8, 20])], 200);
    assert_eq!((plan.conflicts.len(), handed_out(&stored)), (1, set("")));
}

#[derive(Debug, Clone)]
enum Step {
    /// What the cloud tells of each NIC; a NIC can be missing.
    Sync([Option<(u8, Vec<u8>)>; 2], u64),
    Hold(usize),
    Release(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let told =
        || proptest::option::weighted(0.9, (10..14u8, proptest::collection::vec(10..22u8, 0..6)));
    prop_oneof![
        3 => ([told(), told()], 0..100u64).prop_map(|(told, wait)| Step::Sync(told, wait)),
        3 => any::<usize>().prop_map(Step::Hold),
        1 => any::<usize>().prop_map(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the cloud tells, and whoever holds what.
    #[test]
    fn nothing_held_is_removed_nothing_untold_is_given_and_no_primary_is_added(
        steps in proptest::collection::vec(step(), 1..30),
    ) {
        let mine = foreign("mine", "10.0.0.0/24", "10.0.0.20-10.0.0.21");
        let mut stored = Contents { pools: vec![mine.clone()], ..Contents::default() };
        let mut now = 1000;
        for step in steps {
            match step {
                Step::Sync(told, wait) => {
                    now += wait;
                    let nics: Vec<Nic> = told.iter().enumerate().filter_map(|(number, told)| {
                        let (primary, secondary) = told.as_ref()?;
                        Some(nic(number, *primary, secondary))
                    }).collect();
                    let before = stored.clone();
                    sync(&mut stored, &nics, now);
                    for lease in &stored.leases {
                        prop_assert!(stored.pools.iter().any(|pool| {
                            *pool.name() == lease.pool && pool.claims(lease.address)
                        }), "{} is held", lease.address);
                    }
                    let told: RangeSet = nics.iter().flat_map(|nic| &nic.secondary)
                        .map(|address| IpAddr::from(*address)).collect();
                    prop_assert!(handed_out(&stored).is_subset(&told));
                    for nic in &nics {
                        let primary = IpAddr::from(nic.primary.unwrap());
                        prop_assert!(!handed_out(&stored).contains(primary));
                        let had = before.pools.iter().any(|pool| pool.claims(primary));
                        let has = stored.pools.iter().any(|pool| pool.claims(primary));
                        prop_assert!(had || !has, "primary {primary} was added");
                    }
                    prop_assert!(stored.pools.contains(&mine));
                    let again = plan(&wanted_of(&nics), &stored, &rules(now)).unwrap();
                    prop_assert_eq!(again.revision, Revision::default());
                }
                Step::Hold(which) => {
                    let held: RangeSet = stored.leases.iter().map(|lease| lease.address).collect();
                    let free = handed_out(&stored).difference(&held);
                    if let Some(address) = free.at(which as u128 % free.size().max(1)) {
                        hold(&mut stored, address);
                    }
                }
                Step::Release(which) => {
                    let count = stored.leases.len();
                    if count > 0 {
                        stored.leases.swap_remove(which % count);
                    }
                }
            }
        }
    }
}

#[test]
fn prefixes_and_ipv6_are_pools_of_their_own_subnet() {
    let six = Nic {
        ipv6: vec!["fd00::7".parse().unwrap()],
        prefixes: vec!["10.0.0.16/28".parse().unwrap(), "fd00:0:0:0:1::/80".parse().unwrap()],
        subnet_v6: "fd00::/64".parse().ok(),
        gateway_v6: "fe80:ec2::1".parse().ok(),
        ..nic(0, 5, &[])
    };
    let mut stored = Contents::default();
    sync(&mut stored, std::slice::from_ref(&six), 100);
    assert_eq!(stored.pools.len(), 2);
    assert_eq!(stored.pools[0].claimed(), set("10.0.0.16/28"));
    assert_eq!(stored.pools[1].gateway().unwrap().to_string(), "fe80:ec2::1");
    assert_eq!(stored.pools[1].claimed(), set("fd00::7,fd00:0:0:0:1::/80"));
    sync(&mut stored, &[nic(0, 5, &[])], 200);
    let names: Vec<&str> = stored.reserved.iter().map(|one| one.name().as_str()).collect();
    assert_eq!(names, ["cloud-gone-v4-200", "cloud-gone-v6-200"]);
    let _: MacAddr = six.mac;
}
