//! Who held an address before, and how that ended.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipam_core::{
    Asker, Attachment, Demand, Facts, LiveNamespaces, Moment, NetnsRef, PodRef, Policy, Pool,
    PoolSpec, Stamp, WhyFreed,
};
use ipam_store::{Declared, Ended, FormerHolder, Request, Store};

const SECONDS: u64 = 1_790_000_000;

/// A store of one address, and its clock in seconds.
struct Scene {
    store: Store,
    seconds: Arc<AtomicU64>,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new(cooldown_seconds: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let seconds = Arc::new(AtomicU64::new(0));
        let store = Store::new(directory.path().join("ipam"), Duration::from_secs(60))
            .with_policy(Policy { cooldown_seconds, ..Policy::default() });
        let store = clocked(store, "b1", &seconds);
        let spec = PoolSpec {
            subnet: "10.0.0.0/24".into(),
            ips: vec!["10.0.0.1".into()],
            default: Some(true),
            ..PoolSpec::default()
        };
        store.apply(&Declared::pools([Pool::new("p", &spec).unwrap()])).unwrap();
        Self { store, seconds, _directory: directory }
    }

    fn add(&self, container: &str, uid: Option<&str>) {
        let asker = Asker::new("n".parse().unwrap(), "net".parse().unwrap());
        let pod = PodRef {
            namespace: "default".into(),
            name: "web-0".into(),
            uid: uid.map(str::to_owned),
        };
        let demand = Demand { pod: Some(pod), ..Demand::new(attachment(container), asker) };
        let netns = Some(NetnsRef { path: format!("/gone/{container}"), inode: Some(1) });
        let grants = self.store.allocate(&Request { demand, netns }).unwrap();
        assert_eq!(grants[0].lease.address, address());
    }

    fn wait(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    fn del(&self, container: &str) {
        assert_eq!(self.store.release(&attachment(container)).unwrap().len(), 1);
    }

    fn history(&self) -> Vec<FormerHolder> {
        self.store.history(address()).unwrap()
    }

    /// Container, since, until and why, the latest first.
    fn told(&self) -> Vec<(String, u64, u64, Ended)> {
        let told = |one: FormerHolder| {
            let (since, until) = (one.since_unix_seconds, one.until_unix_seconds);
            let container = one.attachment.container.to_string();
            (container, since - SECONDS, until - SECONDS, one.ended)
        };
        self.history().into_iter().map(told).collect()
    }
}

fn clocked(store: Store, boot: &'static str, seconds: &Arc<AtomicU64>) -> Store {
    let seconds = Arc::clone(seconds);
    store.with_clock(move || {
        let now = seconds.load(Ordering::Relaxed);
        let boot = Some(boot.parse().unwrap());
        Stamp { boot, moment: Moment(1000 + now), unix_seconds: SECONDS + now }
    })
}

fn address() -> IpAddr {
    IpAddr::from([10, 0, 0, 1])
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn entry(container: &str, since: u64, until: u64, ended: Ended) -> (String, u64, u64, Ended) {
    (container.to_owned(), since, until, ended)
}

#[test]
fn the_last_four_holders_are_known_with_or_without_a_cooldown() {
    for cooldown_seconds in [0, 60] {
        let scene = Scene::new(cooldown_seconds);
        assert_eq!(scene.history(), []);
        for container in 0..6 {
            scene.add(&format!("c{container}"), None);
            scene.wait(7);
            scene.del(&format!("c{container}"));
            scene.wait(3);
        }
        let expected = [5, 4, 3, 2].map(|container| {
            entry(&format!("c{container}"), container * 10, container * 10 + 7, Ended::Released)
        });
        assert_eq!(scene.told(), expected);
        let last = scene.history().remove(0);
        assert_eq!((last.address, last.pool.as_str()), (address(), "p"));
        assert_eq!(last.pod.unwrap().to_string(), "default/web-0");
        assert_eq!(scene.store.history(IpAddr::from([10, 0, 0, 2])).unwrap(), []);
        assert_eq!(scene.store.verify(false).unwrap().faults, Vec::<String>::new());
    }
}

#[test]
fn each_way_to_end_is_told_from_the_others() {
    let mut scene = Scene::new(60);
    scene.add("c0", Some("uid"));
    scene.wait(1);
    scene.add("c1", Some("uid"));
    assert_eq!(scene.told(), [entry("c0", 0, 1, Ended::TakenOver)]);
    assert_eq!(scene.store.release_by_hand(&attachment("c1")).unwrap().len(), 1);
    assert_eq!(scene.store.release_by_hand(&attachment("c1")).unwrap(), []);

    scene.add("c2", None);
    scene.wait(100);
    let facts = Facts {
        boot: Some("b1".parse().unwrap()),
        now: Moment(1101),
        snapshot: Moment(1101),
        grace_seconds: 60,
        valid: None,
        namespaces: Some(LiveNamespaces::default()),
        alive: BTreeSet::new(),
    };
    assert_eq!(scene.store.reclaim(&facts).unwrap().len(), 1);
    assert_eq!(
        scene.told(),
        [
            entry("c2", 1, 101, Ended::Freed(WhyFreed::NamespaceGone)),
            entry("c1", 1, 1, Ended::ReleasedByHand),
            entry("c0", 0, 1, Ended::TakenOver),
        ]
    );

    scene.add("c3", None);
    scene.store = clocked(scene.store.clone(), "b2", &scene.seconds);
    scene.add("c4", None);
    let imported = ipam_core::Lease {
        attachment: attachment("c5"),
        ..scene.store.contents().unwrap().leases.remove(0)
    };
    for _ in 0..2 {
        assert_eq!(scene.store.adopt(std::slice::from_ref(&imported), |_| true).unwrap(), []);
    }
    let reasons: Vec<String> = scene.history().iter().map(|one| one.ended.to_string()).collect();
    assert_eq!(
        reasons,
        [
            "replaced by an imported lease",
            &format!("freed: {}", WhyFreed::EarlierBoot),
            &format!("freed: {}", WhyFreed::NamespaceGone),
            "released by hand",
        ]
    );
}

#[test]
fn a_new_database_knows_nothing_of_before() {
    let scene = Scene::new(60);
    scene.add("c0", None);
    scene.del("c0");
    assert_eq!(scene.history().len(), 1);
    let contents = scene.store.contents().unwrap();
    scene.store.replace(&contents).unwrap();
    assert_eq!(scene.history(), []);
}
