//! The file against the book in memory: the same questions, the same answers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipam_core::{
    Asker, Attachment, Book, Demand, Facts, Lease, LiveNamespaces, Moment, NetnsRef, Pin, PodRef,
    Policy, Pool, PoolSpec, Reserved, ReservedSpec, Rest, Stamp, StickyNames, Strategy,
    WhenOnlyCooling, decide, reclaim,
};
use ipam_store::{AllocateError, Declared, Request, Store};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Which container, which pod, and the end of an address to ask for.
    Add {
        container: u8,
        pod: u8,
        address: Option<u8>,
    },
    Del {
        container: u8,
    },
    Wait {
        seconds: u8,
    },
    /// The namespaces of these containers live.
    Reclaim {
        live: BTreeSet<u8>,
    },
    Quarantine {
        address: u8,
    },
    /// The pool has addresses up to this one.
    Resize {
        last: u8,
    },
    Reserve {
        address: u8,
    },
    /// The address is kept for the pod of this name, in the place of the one that was.
    Pin {
        address: u8,
        name: u8,
    },
}

fn step() -> impl Strategy_<Value = Step> {
    prop_oneof![
        6 => (0..10_u8, 0..5_u8, prop::option::weighted(0.2, 1..14_u8))
            .prop_map(|(container, pod, address)| Step::Add { container, pod, address }),
        5 => (0..10_u8).prop_map(|container| Step::Del { container }),
        2 => (0..40_u8).prop_map(|seconds| Step::Wait { seconds }),
        1 => prop::collection::btree_set(0..10_u8, 0..10).prop_map(|live| Step::Reclaim { live }),
        1 => (1..14_u8).prop_map(|address| Step::Quarantine { address }),
        1 => (4..14_u8).prop_map(|last| Step::Resize { last }),
        1 => (1..14_u8).prop_map(|address| Step::Reserve { address }),
        2 => (1..14_u8, 0..3_u8).prop_map(|(address, name)| Step::Pin { address, name }),
    ]
}

use proptest::strategy::Strategy as Strategy_;

fn policy() -> impl Strategy_<Value = Policy> {
    let strategy = prop_oneof![
        Just(Strategy::Lowest),
        Just(Strategy::RoundRobin),
        Just(Strategy::OldestReleased),
        Just(Strategy::Random { seed: 7 }),
    ];
    let sticky =
        prop_oneof![Just(StickyNames::None), Just(StickyNames::Ordinal), Just(StickyNames::All)];
    (strategy, prop_oneof![Just(0_u64), Just(30)], any::<bool>(), sticky).prop_map(
        |(strategy, cooldown_seconds, takes, sticky)| Policy {
            strategy,
            cooldown_seconds,
            when_only_cooling: if takes {
                WhenOnlyCooling::TakeOldest
            } else {
                WhenOnlyCooling::Refuse
            },
            sticky,
            sticky_seconds: 50,
        },
    )
}

fn pool(last: u8) -> Pool {
    let spec = PoolSpec {
        subnet: "10.0.0.0/24".into(),
        ips: vec![format!("10.0.0.1-10.0.0.{last}")],
        default: Some(true),
        ..PoolSpec::default()
    };
    Pool::new("p", &spec).unwrap()
}

fn attachment(container: u8) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: format!("c{container}").parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn demand(container: u8, pod: u8, address: Option<u8>) -> Demand {
    let asker = Asker::new("n".parse().unwrap(), "net".parse().unwrap());
    let pod = PodRef {
        namespace: "default".into(),
        name: format!("web-{}", pod / 2),
        uid: Some(format!("uid-{pod}")),
    };
    let requested = address.map(at).into_iter().collect();
    Demand { pod: Some(pod), requested, ..Demand::new(attachment(container), asker) }
}

/// What a pod asks for of which nobody knows anything.
fn ordinary() -> Demand {
    Demand::new(attachment(200), Asker::new("n".parse().unwrap(), "net".parse().unwrap()))
}

fn reserved(name: &str, address: u8) -> Reserved {
    let spec = ReservedSpec { ip_version: None, ips: vec![at(address).to_string()] };
    Reserved::new(name, &spec).unwrap()
}

fn at(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn netns(container: u8) -> NetnsRef {
    NetnsRef { path: format!("/run/netns/c{container}"), inode: Some(container.into()) }
}

/// The store and the book, side by side.
struct Pair {
    store: Store,
    seconds: Arc<AtomicU64>,
    policy: Policy,
    book: Book,
    declared: Declared,
    _dir: tempfile::TempDir,
}

impl Pair {
    fn new(policy: Policy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seconds = Arc::new(AtomicU64::new(1000));
        let clock = Arc::clone(&seconds);
        let store = Store::new(dir.path(), Duration::from_secs(60))
            .with_policy(policy.clone())
            .with_clock(move || stamp(clock.load(Ordering::Relaxed)));
        let declared = Declared::pools([pool(9)]);
        store.apply(&declared).unwrap();
        let book = Book::new(&declared.pools);
        Self { store, seconds, policy, book, declared, _dir: dir }
    }

    fn now(&self) -> Stamp {
        stamp(self.seconds.load(Ordering::Relaxed))
    }

    fn pools(&self) -> Vec<Pool> {
        let contents = self.store.contents().unwrap();
        contents.effective_pools()
    }

    fn step(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Add { container, pod, address } => self.add(container, pod, address),
            Step::Del { container } => {
                let expected = self.book.release(&attachment(container), &self.policy, now.moment);
                assert_eq!(self.store.release(&attachment(container)).unwrap(), expected);
            }
            Step::Wait { seconds } => {
                self.seconds.fetch_add(seconds.into(), Ordering::Relaxed);
            }
            Step::Reclaim { live } => {
                let facts = Facts {
                    boot: now.boot.clone(),
                    now: now.moment,
                    snapshot: now.moment,
                    grace_seconds: 10,
                    valid: None,
                    namespaces: Some(LiveNamespaces {
                        inodes: live.iter().map(|inode| (*inode).into()).collect(),
                        paths: live.iter().map(|container| netns(*container).path).collect(),
                    }),
                    alive: BTreeSet::new(),
                };
                let foreseen = self.store.refusal(&[ordinary()], Some(&facts)).unwrap();
                let leases: Vec<Lease> = self.book.leases().cloned().collect();
                let freed = reclaim(&leases, &facts).freed;
                for (lease, _) in &freed {
                    self.book.end(lease.address, &self.policy, now.moment);
                }
                let expected: Vec<_> =
                    freed.into_iter().map(|(lease, why)| (lease.clone(), why)).collect();
                assert_eq!(self.store.reclaim(&facts).unwrap(), expected);
                assert_eq!(foreseen, self.store.refusal(&[ordinary()], None).unwrap());
            }
            Step::Quarantine { address } => {
                let rest = Rest::quarantine("a stranger".into(), now.moment, now.moment.after(20));
                let pool = self.declared.pools[0].name().clone();
                if self.store.rest(at(address), &pool, &rest).unwrap() {
                    self.book.rest_for(at(address), &pool, rest);
                } else {
                    assert!(self.book.leases().any(|lease| lease.address == at(address)));
                }
            }
            Step::Resize { last } => {
                self.declared.pools = vec![pool(last)];
                if self.store.apply(&Declared::pools([pool(last)])).is_err() {
                    assert!(self.book.leases().any(|lease| lease.address > at(last)));
                    self.declared.pools = self.store.contents().unwrap().pools;
                }
                let pools = self.pools();
                self.book.put_pools(&pools);
            }
            Step::Reserve { address } => self.reserve(reserved("r", address)),
            Step::Pin { address, name } => {
                let pin = Pin {
                    namespace: "default".into(),
                    name: format!("web-{name}"),
                    network: None,
                    ifname: None,
                };
                self.reserve(reserved("pin", address).with_labels(pin.labels()).unwrap());
            }
        }
    }

    /// The store foresees what a decision would say.
    fn foresees(&self) {
        let demands = [ordinary()];
        let found = self.store.refusal(&demands, None).unwrap();
        let now = self.now().moment;
        let expected = decide(&demands, &self.pools(), &self.policy, now, &self.book).err();
        assert_eq!(found.map(ipam_core::NotDecided::Refused), expected);
    }

    fn reserve(&mut self, reserved: Reserved) {
        let declared = Declared { pools: Vec::new(), reserved: vec![reserved] };
        self.store.apply(&declared).unwrap();
        let pools = self.pools();
        self.book.put_pools(&pools);
    }

    fn add(&mut self, container: u8, pod: u8, address: Option<u8>) {
        let (now, pools) = (self.now(), self.pools());
        let demands = [demand(container, pod, address)];
        let expected = decide(&demands, &pools, &self.policy, now.moment, &self.book);
        let [demand] = demands.clone();
        let found = self.store.allocate(&Request { demand, netns: Some(netns(container)) });
        match (found, expected) {
            (Ok(grants), Ok(decision)) => {
                let netns = netns(container);
                let expected = self.book.write(&demands, &decision, Some(&netns), &now);
                let found: Vec<Lease> = grants.into_iter().map(|grant| grant.lease).collect();
                assert_eq!(found, expected);
            }
            (Err(AllocateError::Refused(found)), Err(ipam_core::NotDecided::Refused(expected))) => {
                assert_eq!(found.to_string(), expected.to_string());
            }
            (found, expected) => panic!("the store: {found:?}\nthe book: {expected:?}"),
        }
    }
}

fn stamp(seconds: u64) -> Stamp {
    Stamp { boot: Some("b1".parse().unwrap()), moment: Moment(seconds), unix_seconds: seconds }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_what_the_book_answers(
        policy in policy(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut pair = Pair::new(policy);
        for step in steps {
            pair.step(step);
            pair.foresees();
        }
        let contents = pair.store.contents().unwrap();
        let expected: Vec<Lease> = pair.book.leases().cloned().collect();
        prop_assert_eq!(&contents.leases, &expected);
        prop_assert_eq!(contents.counters(), pair.store.counters().unwrap());
        prop_assert_eq!(pair.store.verify(false).unwrap().faults, Vec::<String>::new());
        // What an export would hold makes the same store again.
        pair.store.replace(&contents).unwrap();
        let again = pair.store.contents().unwrap();
        prop_assert_eq!((again.leases, again.rests), (contents.leases, contents.rests));
        prop_assert_eq!(pair.store.verify(false).unwrap().faults, Vec::<String>::new());
    }
}
