//! A store is one user's alone: through no link, from nobody else, readable by nobody else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::{Attachment, Pool, PoolSpec};
use ipam_store::{Declared, Error, Store, Wirings};
use rustix::process::{Uid, geteuid};

/// The user `nobody` of most systems.
const NOBODY: u32 = 65_534;

fn store(directory: &Path) -> Store {
    Store::new(directory, Duration::from_secs(60))
}

fn wirings(directory: &Path) -> Wirings {
    Wirings::new(directory, Duration::from_secs(60))
}

/// A directory with a store and wirings.
fn lived_in() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("ipam");
    store(&directory).apply(&one_pool()).unwrap();
    let decide = |_: &[ipam_store::Wiring]| Ok::<_, std::convert::Infallible>("{}".to_owned());
    wirings(&directory).wire(&attachment(), decide).unwrap();
    (parent, directory)
}

fn attachment() -> Attachment {
    Attachment {
        network: "n".parse().unwrap(),
        container: "c".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What each way in answers.
fn refusals(directory: &Path) -> Vec<String> {
    let store = store(directory);
    let text = |error: Error| error.to_string();
    vec![
        store.contents().map_err(text).unwrap_err(),
        store.release(&attachment()).map_err(text).unwrap_err(),
        store.apply(&Declared::default()).unwrap_err().to_string(),
        store.declared().map_err(text).unwrap_err(),
        wirings(directory).all().map_err(text).unwrap_err(),
        wirings(directory).unwire(&[attachment()]).map_err(text).unwrap_err(),
    ]
}

fn are_refused(directory: &Path, expected: &str) {
    for refusal in refusals(directory) {
        assert!(refusal.contains(expected), "{refusal:?} has no {expected:?}");
    }
}

const FILES: [&str; 5] = ["ipam.redb", "lock", "declared.yaml", "wirings.redb", "wirings.lock"];

#[test]
fn all_of_it_is_made_for_its_owner_alone() {
    let (_parent, directory) = lived_in();
    assert_eq!(mode(&directory), 0o700);
    for file in FILES {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
}

#[test]
fn what_others_may_read_is_closed_to_them_and_works() {
    let (_parent, directory) = lived_in();
    set_mode(&directory, 0o755);
    for file in FILES {
        set_mode(&directory.join(file), 0o644);
    }
    store(&directory).release(&attachment()).unwrap();
    store(&directory).declared().unwrap();
    wirings(&directory).unwire(&[attachment()]).unwrap();
    assert_eq!(mode(&directory), 0o700);
    for file in FILES {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
}

#[test]
fn what_others_may_write_is_refused_with_path_mode_and_remedy() {
    for bits in [0o770, 0o777, 0o1777] {
        let (_parent, directory) = lived_in();
        set_mode(&directory, bits);
        let shown = directory.display();
        are_refused(
            &directory,
            &format!(
                "{shown} may be written by others (mode {bits:04o}): look at it, then `chmod 700 {shown}`"
            ),
        );
        assert_eq!(mode(&directory), bits, "nothing is changed");
        set_mode(&directory, 0o700);
        assert_eq!(store(&directory).contents().unwrap().pools.len(), 1);
    }
    let (_parent, directory) = lived_in();
    set_mode(&directory.join("ipam.redb"), 0o666);
    let error = store(&directory).contents().unwrap_err().to_string();
    assert!(error.contains("ipam.redb may be written by others (mode 0666)"), "{error}");
    set_mode(&directory.join("lock"), 0o620);
    let error = store(&directory).contents().unwrap_err().to_string();
    assert!(error.contains("lock may be written by others (mode 0620)"), "{error}");
}

#[test]
fn no_link_is_followed() {
    let (parent, directory) = lived_in();
    let link = parent.path().join("link");
    symlink(&directory, &link).unwrap();
    are_refused(&link, "link is a link");

    for (file, is_wiring) in
        [("ipam.redb", false), ("lock", false), ("declared.yaml", false), ("wirings.redb", true)]
    {
        let (parent, directory) = lived_in();
        let (inside, outside) = (directory.join(file), parent.path().join(file));
        fs::rename(&inside, &outside).unwrap();
        symlink(&outside, &inside).unwrap();
        let before = fs::read(&outside).unwrap();
        let error = match file {
            "declared.yaml" => store(&directory).declared().unwrap_err(),
            _ if is_wiring => wirings(&directory).all().unwrap_err(),
            _ => store(&directory).contents().unwrap_err(),
        };
        assert!(error.to_string().contains(&format!("{file} is a link")), "{error}");
        assert_eq!(fs::read(&outside).unwrap(), before);
    }

    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    are_refused(&file, "file is no directory");
}

/// Credentials are a thread's own to the kernel.
#[test]
fn another_user_is_told_whose_it_is() {
    let (_parent, directory) = lived_in();
    if !geteuid().is_root() {
        // Every system has this one.
        return are_refused(Path::new("/root"), "/root belongs to root: run as root (sudo)");
    }
    set_mode(directory.parent().unwrap(), 0o755);
    let path = directory.clone();
    std::thread::spawn(move || {
        let nobody = Uid::from_raw(NOBODY);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        are_refused(&path, &format!("{} belongs to root: run as root (sudo)", path.display()));
        let made = path.parent().unwrap().join("other");
        let error = store(&made).apply(&one_pool()).unwrap_err().to_string();
        assert!(error.ends_with("run as root (sudo)"), "{error}");
        assert!(!made.exists());
    })
    .join()
    .unwrap();

    chown(&directory, Some(NOBODY), None).unwrap();
    are_refused(
        &directory,
        "belongs to uid 65534, who could change what it says: look at it, then",
    );
    chown(&directory, Some(0), None).unwrap();
    chown(directory.join("ipam.redb"), Some(NOBODY), None).unwrap();
    let error = store(&directory).contents().unwrap_err().to_string();
    assert!(error.contains("ipam.redb belongs to uid 65534"), "{error}");
}

fn one_pool() -> Declared {
    let spec = PoolSpec {
        subnet: "10.0.0.0/24".into(),
        ips: vec!["10.0.0.1".into()],
        ..PoolSpec::default()
    };
    Declared::pools([Pool::new("p", &spec).unwrap()])
}
