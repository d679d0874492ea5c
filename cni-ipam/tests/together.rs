//! Many processes at once: those that wait are served by the one that has the lock.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ipam_core::{Pool, PoolSpec};
use ipam_store::{Declared, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(120);
const PROCESSES: usize = 16;

struct Scene {
    directory: TempDir,
    ipam: Value,
    /// Where the database is.
    data: PathBuf,
}

impl Scene {
    fn with_pools() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spec = PoolSpec {
            subnet: "10.1.0.0/24".into(),
            ips: vec!["10.1.0.2-10.1.0.200".into()],
            default: Some(true),
            ..PoolSpec::default()
        };
        let store = Store::new(directory.path(), DEADLINE);
        store.apply(&Declared::pools([Pool::new("p", &spec).unwrap()])).unwrap();
        let (data, ipam) =
            (directory.path().to_owned(), json!({"type": "cni-ipam", "nodeName": "n1"}));
        Self { directory, ipam, data }
    }

    fn with_ranges() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ipam = json!({"type": "cni-ipam", "ranges": [[{"subnet": "10.1.0.0/24"}]]});
        let data = directory.path().join("net");
        let scene = Self { directory, ipam, data };
        // It makes the database.
        assert!(scene.start("ADD", "first", None).wait().unwrap().success());
        scene
    }

    /// One process, under strace if there is a file for its syncs.
    fn start(&self, verb: &str, container: &str, syncs: Option<&Path>) -> Child {
        let program = env!("CARGO_BIN_EXE_cni-ipam");
        let mut command = match syncs {
            None => Command::new(program),
            Some(file) => {
                let mut command = Command::new("strace");
                command.args(["-f", "-qq", "-e", "trace=fdatasync,fsync", "-o"]).arg(file);
                command.arg(program);
                command
            }
        };
        let mut ipam = self.ipam.clone();
        ipam["dataDir"] = json!(self.directory.path());
        ipam["lockTimeoutMs"] = json!(120_000);
        let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam});
        let file = self.directory.path().join(format!("{verb}-{container}.json"));
        fs::write(&file, config.to_string()).unwrap();
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_NETNS", "/never/opened")
            .env("CNI_PATH", "/usr/lib/cni")
            .stdin(File::open(file).unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cni-ipam and strace can be started")
    }

    fn lock(&self) -> File {
        let lock = File::open(self.data.join("lock")).unwrap();
        lock.lock().unwrap();
        lock
    }

    /// Until so many wait for the lock and have said what they want.
    fn until_waiting(&self, count: usize) {
        let found = fs::metadata(self.data.join("lock")).unwrap();
        let rooms = ipam_store::default_room().expect("/run or /dev/shm is in memory");
        let [mnt, pid] =
            ["mnt", "pid"].map(|kind| fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino());
        let room = rooms.join(format!("{}-{}-{mnt}-{pid}", found.dev(), found.ino()));
        let place = format!(":{} ", found.ino());
        let begun = Instant::now();
        loop {
            let slips = fs::read_dir(&room).map_or(0, Iterator::count);
            let locks = fs::read_to_string("/proc/locks").unwrap();
            let is_waiter = |line: &&str| line.contains("-> FLOCK") && line.contains(&place);
            if slips == count && locks.lines().filter(is_waiter).count() == count {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{slips} slips: {locks}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Calls that all wait before one goes on; answers the addresses and how many syncs there were.
    fn together(&self, verb: &str) -> (BTreeSet<String>, usize) {
        let lock = self.lock();
        let syncs = tempfile::tempdir().unwrap();
        let processes: Vec<(Child, PathBuf)> = (0..PROCESSES)
            .map(|number| {
                let file = syncs.path().join(number.to_string());
                (self.start(verb, &format!("c{number}"), Some(&file)), file)
            })
            .collect();
        self.until_waiting(PROCESSES);
        drop(lock);
        let (mut addresses, mut count) = (BTreeSet::new(), 0);
        for (process, file) in processes {
            let output = process.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{said}");
            if let Ok(answer) = serde_json::from_str::<Value>(&said) {
                addresses.insert(answer["ips"][0]["address"].as_str().unwrap().to_owned());
            }
            count += fs::read_to_string(file).unwrap().lines().count();
        }
        (addresses, count)
    }
}

#[test]
fn sixteen_who_wait_share_their_syncs() {
    for scene in [Scene::with_pools(), Scene::with_ranges()] {
        let store = Store::new(&scene.data, DEADLINE);
        let before = store.contents().unwrap().leases.len();
        for _ in 0..3 {
            let (addresses, syncs) = scene.together("ADD");
            assert_eq!(addresses.len(), PROCESSES, "{addresses:?}");
            assert_eq!(store.contents().unwrap().leases.len(), before + PROCESSES);
            println!("{PROCESSES} ADDs: {syncs} syncs");
            assert!(syncs < PROCESSES, "alone they need two each: {syncs}");
            let (_, syncs) = scene.together("DEL");
            assert_eq!(store.contents().unwrap().leases.len(), before);
            println!("{PROCESSES} DELs: {syncs} syncs");
            assert!(syncs < PROCESSES, "alone they need two each: {syncs}");
        }
        assert!(store.verify(false).unwrap().faults.is_empty());
    }
}
