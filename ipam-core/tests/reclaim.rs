//! Garbage collection: every reason to free a lease, every reason to keep one, and the laws that
//! hold for any leases and facts. The ids are those of the peer's cases.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipam_core::{
    Attachment, Facts, Lease, LiveNamespaces, Moment, NetnsRef, Stamp, ValidAttachments, WhyFreed,
    WhyKept, reclaim,
};
use proptest::prelude::*;

fn attachment(network: &str, container: &str, ifname: &str) -> Attachment {
    Attachment {
        network: network.parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: ifname.parse().unwrap(),
    }
}

/// Held since moment 10 of boot `b2`, in the namespace with inode 7.
fn lease() -> Lease {
    Lease {
        address: "10.6.0.1".parse().unwrap(),
        pool: "p".parse().unwrap(),
        attachment: attachment("n", "c1", "eth0"),
        pod: None,
        netns: Some(NetnsRef { path: "/run/netns/a".into(), inode: Some(7) }),
        since: Stamp { boot: Some("b2".parse().unwrap()), moment: Moment(10), unix_seconds: 0 },
    }
}

/// In boot `b2`, at moment 1000, of which no more is known.
fn facts() -> Facts {
    Facts {
        boot: Some("b2".parse().unwrap()),
        now: Moment(1000),
        snapshot: Moment(990),
        grace_seconds: 300,
        valid: None,
        namespaces: None,
        alive: BTreeSet::new(),
    }
}

fn listed(network: &str, attachments: &[(&str, &str)]) -> ValidAttachments {
    let key =
        |(container, ifname): &(&str, &str)| (container.parse().unwrap(), ifname.parse().unwrap());
    let attachments = attachments.iter().map(key).collect();
    ValidAttachments { network: network.parse().unwrap(), attachments }
}

fn living(inodes: &[u64], paths: &[&str]) -> LiveNamespaces {
    LiveNamespaces {
        inodes: inodes.iter().copied().collect(),
        paths: paths.iter().map(|path| (*path).to_string()).collect(),
    }
}

type Verdict = Result<WhyFreed, WhyKept>;

fn verdict(lease: &Lease, facts: &Facts) -> Verdict {
    let reclaim = reclaim([lease], facts);
    match (reclaim.freed.as_slice(), reclaim.kept.as_slice()) {
        ([(freed, why)], []) => {
            assert_eq!(*freed, lease);
            Ok(*why)
        }
        ([], [(kept, why)]) => {
            assert_eq!(*kept, lease);
            Err(*why)
        }
        _ => panic!("one lease, one verdict: {reclaim:?}"),
    }
}

/// A story, what is different from [`lease`] and [`facts`], and the verdict.
type Case<'a> = (&'a str, &'a dyn Fn(&mut Lease, &mut Facts), Verdict);

fn assert_cases(cases: &[Case<'_>]) {
    for (story, change, expected) in cases {
        let (mut lease, mut facts) = (lease(), facts());
        change(&mut lease, &mut facts);
        assert_eq!(verdict(&lease, &facts), *expected, "{story}");
    }
}

#[test]
fn what_is_not_known_and_what_is_alive() {
    let alive: BTreeSet<IpAddr> = [lease().address].into();
    assert_cases(&[
        ("nothing is known", &|_, _| {}, Err(WhyKept::NamespaceUnknown)),
        (
            "G00008, G00009: the node restarted",
            &|_, facts| facts.boot = Some("b3".parse().unwrap()),
            Ok(WhyFreed::EarlierBoot),
        ),
        (
            "a moment of an earlier boot is not compared with one of this",
            &|lease, facts| {
                lease.since.moment = Moment(5000);
                facts.boot = Some("b3".parse().unwrap());
            },
            Ok(WhyFreed::EarlierBoot),
        ),
        (
            "which boot the lease is of was not written",
            &|lease, _| lease.since.boot = None,
            Err(WhyKept::NamespaceUnknown),
        ),
        (
            "which boot the node is in cannot be read",
            &|_, facts| facts.boot = None,
            Err(WhyKept::NamespaceUnknown),
        ),
        (
            "alive in spite of another boot's id",
            &|_, facts| {
                facts.boot = Some("b3".parse().unwrap());
                facts.alive.clone_from(&alive);
            },
            Err(WhyKept::Alive),
        ),
        (
            "alive in spite of the list",
            &|_, facts| {
                facts.valid = Some(listed("n", &[]));
                facts.alive.clone_from(&alive);
            },
            Err(WhyKept::Alive),
        ),
        (
            "alive in spite of a dead namespace",
            &|_, facts| {
                facts.namespaces = Some(living(&[], &[]));
                facts.alive.clone_from(&alive);
            },
            Err(WhyKept::Alive),
        ),
        (
            "another address is alive",
            &|_, facts| {
                facts.valid = Some(listed("n", &[]));
                facts.alive = ["10.6.0.2".parse().unwrap()].into();
            },
            Ok(WhyFreed::NotListed),
        ),
    ]);
}

#[test]
fn the_runtimes_list_decides_for_its_network() {
    assert_cases(&[
        (
            "the list names it",
            &|_, facts| facts.valid = Some(listed("n", &[("c1", "eth0")])),
            Err(WhyKept::Listed),
        ),
        (
            "the list names it although the boot is another: the runtime vouches for it",
            &|_, facts| {
                facts.boot = Some("b3".parse().unwrap());
                facts.valid = Some(listed("n", &[("c1", "eth0")]));
            },
            Err(WhyKept::Listed),
        ),
        (
            "G00003: the list does not name it, its age does not matter",
            &|lease, facts| {
                lease.since.moment = Moment(989);
                facts.valid = Some(listed("n", &[("c2", "eth0")]));
            },
            Ok(WhyFreed::NotListed),
        ),
        (
            "G00007: the list names another container",
            &|_, facts| facts.valid = Some(listed("n", &[("c11", "eth0")])),
            Ok(WhyFreed::NotListed),
        ),
        (
            "the list names another interface of the container",
            &|_, facts| facts.valid = Some(listed("n", &[("c1", "net1")])),
            Ok(WhyFreed::NotListed),
        ),
        (
            "the list is empty",
            &|_, facts| facts.valid = Some(listed("n", &[])),
            Ok(WhyFreed::NotListed),
        ),
        (
            "not listed, though the namespace lives: the runtime has the last word",
            &|_, facts| {
                facts.valid = Some(listed("n", &[]));
                facts.namespaces = Some(living(&[7], &[]));
            },
            Ok(WhyFreed::NotListed),
        ),
        (
            "the list is of another network, which also keeps dead namespaces for their own",
            &|_, facts| {
                facts.valid = Some(listed("m", &[]));
                facts.namespaces = Some(living(&[], &[]));
            },
            Err(WhyKept::OtherNetwork),
        ),
        (
            "handed out at the moment of the snapshot",
            &|lease, facts| {
                lease.since.moment = Moment(990);
                facts.valid = Some(listed("n", &[]));
            },
            Err(WhyKept::Younger),
        ),
        (
            "handed out after the snapshot, the namespace came after it too",
            &|lease, facts| {
                lease.since.moment = Moment(995);
                facts.grace_seconds = 0;
                facts.namespaces = Some(living(&[], &[]));
            },
            Err(WhyKept::Younger),
        ),
    ]);
}

#[test]
fn a_dead_namespace_frees_after_the_grace_period() {
    assert_cases(&[
        (
            "the namespace lives",
            &|_, facts| facts.namespaces = Some(living(&[7], &["/run/netns/a"])),
            Err(WhyKept::NamespaceLives),
        ),
        (
            "its number lives on as that of another namespace",
            &|_, facts| facts.namespaces = Some(living(&[7], &["/run/netns/b"])),
            Ok(WhyFreed::NamespaceGone),
        ),
        (
            "G00003: the namespace is gone, nobody said DEL",
            &|_, facts| facts.namespaces = Some(living(&[8], &[])),
            Ok(WhyFreed::NamespaceGone),
        ),
        (
            "the path lives on with another namespace behind it",
            &|_, facts| facts.namespaces = Some(living(&[8], &["/run/netns/a"])),
            Ok(WhyFreed::NamespaceGone),
        ),
        (
            "only the path is known and lives",
            &|lease, facts| {
                lease.netns = Some(NetnsRef { path: "/run/netns/a".into(), inode: None });
                facts.namespaces = Some(living(&[7], &["/run/netns/a"]));
            },
            Err(WhyKept::NamespaceLives),
        ),
        (
            "only the path is known and gone",
            &|lease, facts| {
                lease.netns = Some(NetnsRef { path: "/run/netns/a".into(), inode: None });
                facts.namespaces = Some(living(&[7], &["/run/netns/b"]));
            },
            Ok(WhyFreed::NamespaceGone),
        ),
        (
            "the lease remembers no namespace",
            &|lease, facts| {
                lease.netns = None;
                facts.namespaces = Some(living(&[], &[]));
            },
            Err(WhyKept::NamespaceUnknown),
        ),
        (
            "one second before the end of the grace period",
            &|lease, facts| {
                lease.since.moment = Moment(701);
                facts.namespaces = Some(living(&[], &[]));
            },
            Err(WhyKept::InGrace { seconds: 1 }),
        ),
        (
            "at the end of the grace period",
            &|lease, facts| {
                lease.since.moment = Moment(700);
                facts.namespaces = Some(living(&[], &[]));
            },
            Ok(WhyFreed::NamespaceGone),
        ),
        (
            "G00004: no grace period at all",
            &|lease, facts| {
                lease.since.moment = Moment(989);
                facts.grace_seconds = 0;
                facts.namespaces = Some(living(&[], &[]));
            },
            Ok(WhyFreed::NamespaceGone),
        ),
        (
            "a grace period without end",
            &|_, facts| {
                facts.grace_seconds = u64::MAX;
                facts.namespaces = Some(living(&[], &[]));
            },
            Err(WhyKept::InGrace { seconds: u64::MAX - 990 }),
        ),
    ]);
}

#[test]
fn a_pod_of_the_same_name_elsewhere_changes_nothing() {
    // G00002, G00005: what counts is the attachment, never the pod's name.
    let pod = |namespace: &str| {
        let uid = None;
        Some(ipam_core::PodRef { namespace: namespace.into(), name: "web".into(), uid })
    };
    let (mut running, mut gone) = (lease(), lease());
    running.pod = pod("a");
    gone.pod = pod("b");
    gone.address = "10.6.0.2".parse().unwrap();
    gone.attachment = attachment("n", "c2", "eth0");
    let mut facts = facts();
    facts.valid = Some(listed("n", &[("c1", "eth0")]));
    let leases = [running, gone];
    let reclaim = reclaim(&leases, &facts);
    assert_eq!(reclaim.kept, [(&leases[0], WhyKept::Listed)]);
    assert_eq!(reclaim.freed, [(&leases[1], WhyFreed::NotListed)]);
}

#[test]
fn reasons_read_as_sentences() {
    for (reason, text) in [
        (WhyFreed::EarlierBoot.to_string(), "it is of an earlier boot"),
        (WhyFreed::NotListed.to_string(), "the runtime's list does not name it"),
        (WhyFreed::NamespaceGone.to_string(), "its network namespace is gone"),
        (WhyKept::Alive.to_string(), "its address is on an interface"),
        (WhyKept::Younger.to_string(), "it is younger than what is known of the node"),
        (WhyKept::Listed.to_string(), "the runtime's list names it"),
        (WhyKept::OtherNetwork.to_string(), "the runtime's list is about another network"),
        (WhyKept::NamespaceLives.to_string(), "its network namespace lives"),
        (WhyKept::NamespaceUnknown.to_string(), "nothing is known of its network namespace"),
        (
            WhyKept::InGrace { seconds: 9 }.to_string(),
            "its network namespace is gone, it stays for 9 s more",
        ),
    ] {
        assert_eq!(reason, text);
    }
}

const NETWORKS: [&str; 2] = ["n", "m"];
const CONTAINERS: [&str; 3] = ["c1", "c2", "c3"];
const IFNAMES: [&str; 2] = ["eth0", "net1"];
const BOOTS: [&str; 2] = ["b1", "b2"];
const PATHS: [&str; 3] = ["/run/netns/a", "/run/netns/b", "/run/netns/c"];

fn address(index: usize) -> IpAddr {
    Ipv4Addr::from_bits(0x0a06_0001 + u32::try_from(index).unwrap()).into()
}

prop_compose! {
    fn any_lease()(
        network in 0..2_usize,
        container in 0..3_usize,
        ifname in 0..2_usize,
        boot in prop::option::of(0..2_usize),
        moment in 0..30_u64,
        netns in prop::option::of((0..3_usize, prop::option::of(0..4_u64))),
    ) -> Lease {
        Lease {
            attachment: attachment(NETWORKS[network], CONTAINERS[container], IFNAMES[ifname]),
            netns: netns.map(|(path, inode)| NetnsRef { path: PATHS[path].into(), inode }),
            since: Stamp {
                boot: boot.map(|boot| BOOTS[boot].parse().unwrap()),
                moment: Moment(moment),
                unix_seconds: 0,
            },
            ..lease()
        }
    }
}

/// Each with an address of its own.
fn any_leases() -> impl Strategy<Value = Vec<Lease>> {
    prop::collection::vec(any_lease(), 0..12).prop_map(|mut leases| {
        for (index, lease) in leases.iter_mut().enumerate() {
            lease.address = address(index);
        }
        leases
    })
}

prop_compose! {
    fn any_facts()(
        boot in prop::option::of(0..2_usize),
        now in 0..40_u64,
        snapshot in 0..40_u64,
        grace_seconds in 0..30_u64,
        valid in prop::option::of((
            0..2_usize,
            prop::collection::btree_set((0..3_usize, 0..2_usize), 0..6),
        )),
        namespaces in prop::option::of((
            prop::collection::btree_set(0..4_u64, 0..4),
            prop::collection::btree_set(0..3_usize, 0..3),
        )),
        alive in prop::collection::btree_set(0..12_usize, 0..12),
    ) -> Facts {
        Facts {
            boot: boot.map(|boot| BOOTS[boot].parse().unwrap()),
            now: Moment(now),
            snapshot: Moment(snapshot),
            grace_seconds,
            valid: valid.map(|(network, keys)| {
                let keys: Vec<_> =
                    keys.iter().map(|(c, i)| (CONTAINERS[*c], IFNAMES[*i])).collect();
                listed(NETWORKS[network], &keys)
            }),
            namespaces: namespaces.map(|(inodes, paths)| LiveNamespaces {
                inodes,
                paths: paths.iter().map(|path| PATHS[*path].to_string()).collect(),
            }),
            alive: alive.into_iter().map(address).collect(),
        }
    }
}

fn is_of_earlier_boot(lease: &Lease, facts: &Facts) -> bool {
    matches!((&lease.since.boot, &facts.boot), (Some(then), Some(now)) if then != now)
}

fn is_listed(lease: &Lease, valid: &ValidAttachments) -> bool {
    let Attachment { network, container, ifname } = &lease.attachment;
    *network == valid.network && valid.attachments.contains(&(container.clone(), ifname.clone()))
}

/// By everything that a lease remembers of its namespace.
fn seems_to_live(lease: &Lease, live: &LiveNamespaces) -> bool {
    lease.netns.as_ref().is_some_and(|netns| {
        let has_number = netns.inode.is_none_or(|inode| live.inodes.contains(&inode));
        has_number && live.paths.contains(&netns.path)
    })
}

proptest! {
    #[test]
    fn every_lease_is_either_freed_or_kept(leases in any_leases(), facts in any_facts()) {
        let reclaim = reclaim(&leases, &facts);
        let freed = reclaim.freed.iter().map(|(lease, _)| lease.address);
        let mut told: Vec<IpAddr> =
            freed.chain(reclaim.kept.iter().map(|(lease, _)| lease.address)).collect();
        told.sort();
        let all: Vec<IpAddr> = leases.iter().map(|lease| lease.address).collect();
        prop_assert_eq!(told, all);
    }

    #[test]
    fn nothing_alive_and_nothing_listed_is_freed(leases in any_leases(), facts in any_facts()) {
        for (lease, why) in reclaim(&leases, &facts).freed {
            let address = lease.address;
            prop_assert!(!facts.alive.contains(&address), "{} is alive: {}", address, why);
            if let Some(valid) = &facts.valid {
                prop_assert!(!is_listed(lease, valid), "{} is listed: {}", lease.attachment, why);
            }
        }
    }

    #[test]
    fn what_is_not_known_frees_nothing_but_earlier_boots(
        leases in any_leases(),
        facts in any_facts(),
    ) {
        let facts = Facts { valid: None, namespaces: None, ..facts };
        for lease in &leases {
            let goes =
                is_of_earlier_boot(lease, &facts) && !facts.alive.contains(&lease.address);
            prop_assert_eq!(verdict(lease, &facts).is_ok(), goes);
        }
    }

    #[test]
    fn in_this_boot_a_reason_to_free_needs_all_its_facts(
        leases in any_leases(),
        facts in any_facts(),
    ) {
        for (lease, why) in reclaim(&leases, &facts).freed {
            match why {
                WhyFreed::EarlierBoot => prop_assert!(is_of_earlier_boot(lease, &facts)),
                WhyFreed::NotListed => {
                    let valid = facts.valid.as_ref();
                    prop_assert!(valid.is_some_and(|v| v.network == lease.attachment.network));
                    prop_assert!(lease.since.moment < facts.snapshot);
                }
                WhyFreed::NamespaceGone => {
                    let live = facts.namespaces.as_ref();
                    prop_assert!(live.is_some_and(|live| !seems_to_live(lease, live)));
                    prop_assert!(lease.netns.is_some() && facts.valid.is_none());
                    prop_assert!(lease.since.moment < facts.snapshot);
                    let age = facts.now.seconds_since(lease.since.moment);
                    prop_assert!(age >= facts.grace_seconds);
                }
                _ => prop_assert!(false, "a new reason without a law: {}", why),
            }
        }
    }

    #[test]
    fn more_facts_of_life_never_free_more(leases in any_leases(), facts in any_facts()) {
        let freed = |facts: &Facts| -> BTreeSet<IpAddr> {
            reclaim(&leases, facts).freed.iter().map(|(lease, _)| lease.address).collect()
        };
        let before = freed(&facts);
        let everything = Facts {
            alive: (0..12).map(address).collect(),
            ..facts.clone()
        };
        prop_assert!(freed(&everything).is_empty());
        let older = Facts { snapshot: Moment(facts.snapshot.0 / 2), ..facts.clone() };
        prop_assert!(freed(&older).is_subset(&before));
        let patient = Facts { grace_seconds: facts.grace_seconds + 5, ..facts };
        prop_assert!(freed(&patient).is_subset(&before));
    }
}
