//! A store with a room, in which a test holds the lock or leaves slips.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ipam_core::{Asker, Attachment, Demand, Lease, Moment, Policy, Pool, PoolSpec, Stamp};
use tempfile::TempDir;

use crate::ask::{Ask, What};
use crate::declared::Declared;
use crate::error::{AllocateError, Error};
use crate::flock::{Flock, Identity, Tried};
use crate::room::Room;
use crate::slip::Slip;
use crate::store::{Request, Store};

/// For whatever another process does meanwhile on this machine.
const DEADLINE: Duration = Duration::from_secs(120);

pub(super) struct Scene {
    directory: TempDir,
}

pub(super) fn attachment(container: &str) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

pub(super) fn demand(container: &str) -> Demand {
    let asker = Asker::new("n".parse().unwrap(), "net".parse().unwrap());
    Demand::new(attachment(container), asker)
}

pub(super) fn addition(container: &str) -> What {
    What::Allocate { demands: vec![demand(container)], netns: None, pools: None }
}

pub(super) fn release(container: &str) -> What {
    What::Release(attachment(container))
}

/// The store of a directory, as all processes of a test open it.
pub(super) fn store(directory: &Path) -> Store {
    let policy = Policy { cooldown_seconds: 0, ..Policy::default() };
    let now = Stamp {
        boot: Some("b".parse().unwrap()),
        moment: Moment(100),
        unix_seconds: 1_700_000_000,
    };
    Store::new(directory.join("ipam"), DEADLINE)
        .with_room(directory.join("rooms"))
        .with_policy(policy)
        .with_clock(move || now.clone())
}

impl Scene {
    /// With addresses from 10.0.0.1 to this one.
    pub(super) fn new(last: u8) -> Self {
        let scene = Self { directory: tempfile::tempdir().unwrap() };
        let spec = PoolSpec {
            subnet: "10.0.0.0/24".into(),
            ips: vec![format!("10.0.0.1-10.0.0.{last}")],
            default: Some(true),
            ..PoolSpec::default()
        };
        let pool = Pool::new("p", &spec).unwrap();
        scene.store().apply(&Declared::pools([pool])).unwrap();
        scene
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn rooms(&self) -> PathBuf {
        self.path().join("rooms")
    }

    pub(super) fn store(&self) -> Store {
        store(self.path())
    }

    pub(super) fn add(&self, container: &str) -> Result<IpAddr, AllocateError> {
        let grants = self.store().allocate(&Request { demand: demand(container), netns: None })?;
        Ok(grants[0].lease.address)
    }

    pub(super) fn del(&self, container: &str) -> Result<Vec<Lease>, Error> {
        self.store().release(&attachment(container))
    }

    /// Who holds what.
    pub(super) fn held(&self) -> Vec<(String, IpAddr)> {
        let leases = self.store().contents().unwrap().leases.into_iter();
        leases.map(|lease| (lease.attachment.container.to_string(), lease.address)).collect()
    }

    pub(super) fn revision(&self) -> u64 {
        self.store().contents().unwrap().revision
    }

    pub(super) fn is_whole(&self) -> bool {
        self.store().verify(false).unwrap().faults.is_empty()
    }

    /// The lock, as a process has it that does nothing with it.
    pub(super) fn lock(&self) -> Flock {
        match Flock::attempt(&self.path().join("ipam/lock")).unwrap() {
            Tried::Held(flock) => flock,
            Tried::Waiting(_) => panic!("somebody has the lock"),
        }
    }

    fn identity(&self) -> Identity {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(self.path().join("ipam/lock")).unwrap();
        Identity { device: found.dev(), inode: found.ino() }
    }

    pub(super) fn room(&self) -> Room {
        Room::make(&self.rooms(), self.identity()).unwrap()
    }

    /// The room's directory.
    pub(super) fn room_path(&self) -> PathBuf {
        let Identity { device, inode } = self.identity();
        let [mnt, pid] = ["mnt", "pid"].map(|kind| {
            let found = std::fs::metadata(format!("/proc/self/ns/{kind}")).unwrap();
            std::os::unix::fs::MetadataExt::ino(&found)
        });
        self.rooms().join(format!("{device}-{inode}-{mnt}-{pid}"))
    }

    /// The names in the room, if there is one.
    pub(super) fn names(&self) -> Vec<String> {
        let Some(room) = Room::enter(&self.rooms(), self.identity()) else { return Vec::new() };
        room.names().unwrap()
    }

    /// A slip of a process that lives and waits.
    pub(super) fn leave(&self, what: What) -> Slip {
        let policy = self.store().policy().clone();
        Slip::leave(self.room(), &Ask { policy, what }).unwrap()
    }

    /// How many processes wait for the lock.
    pub(super) fn waiters(&self) -> usize {
        let place = format!(":{} ", self.identity().inode);
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let is_waiter = |line: &&str| line.contains("-> FLOCK") && line.contains(&place);
        locks.lines().filter(is_waiter).count()
    }
}

/// Waits until something is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
