//! Rooms that cannot be used: then processes wait for each other as if there were none.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use super::scene::{Scene, addition, attachment, demand, store, until};
use crate::room::Room;
use crate::store::Request;

/// Says to a process of this test where the store is.
const SHARE: &str = "IPAM_ROOMS_SHARE";
const FULL: &str = "together::rooms::a_full_room_is_as_none";

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Two threads, of which one has to wait.
fn works_alone(scene: &Scene) {
    let lock = scene.lock();
    let waiting = thread::spawn({
        let store = store(scene.path());
        move || store.allocate(&Request { demand: demand("waits"), netns: None }).map(drop)
    });
    until("it waits", || scene.waiters() == 1);
    drop(lock);
    scene.add("own").unwrap();
    waiting.join().unwrap().unwrap();
    assert_eq!(scene.held().len(), 2);
    for name in ["waits", "own"] {
        assert_eq!(scene.store().release(&attachment(name)).unwrap().len(), 1);
    }
}

#[test]
fn a_room_is_of_its_user_alone() {
    let scene = Scene::new(20);
    drop(scene.room());
    let (rooms, room) = (scene.rooms(), scene.room_path());
    for path in [&rooms, &room] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let cannot_be_used = |what: &str| {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(scene.path().join("ipam/lock")).unwrap();
        let lock = crate::flock::Identity { device: found.dev(), inode: found.ino() };
        assert!(Room::enter(&rooms, lock).is_none(), "{what}");
        assert!(Room::make(&rooms, lock).is_none(), "{what}");
        works_alone(&scene);
    };
    for path in [&rooms, &room] {
        mode(path, 0o750);
        cannot_be_used("others may look into it");
        mode(path, 0o701);
        cannot_be_used("others may pass it");
        mode(path, 0o700);
        if rustix::process::geteuid().is_root() {
            chown(path, Some(4242), None).unwrap();
            cannot_be_used("it is another user's");
            chown(path, Some(0), None).unwrap();
        }
        let aside = scene.path().join("aside");
        fs::rename(path, &aside).unwrap();
        symlink(&aside, path).unwrap();
        cannot_be_used("it is a link");
        fs::remove_file(path).unwrap();
        fs::write(path, "").unwrap();
        cannot_be_used("it is a file");
        fs::remove_file(path).unwrap();
        fs::rename(&aside, path).unwrap();
    }
    let slip = scene.leave(addition("c"));
    scene.add("own").unwrap();
    assert!(matches!(slip.said(), crate::slip::Said::Committed(_)));
}

#[test]
fn an_empty_room_is_taken_away_and_made_again() {
    let scene = Scene::new(20);
    drop(scene.leave(addition("c")));
    scene.add("a").unwrap();
    assert!(!scene.room_path().exists());
    let slip = scene.leave(addition("c"));
    scene.add("b").unwrap();
    assert!(matches!(slip.said(), crate::slip::Said::Committed(_)));
}

#[test]
fn a_full_room_is_as_none() {
    if let Ok(share) = std::env::var(SHARE) {
        let scene = Scene::new(20);
        let rooms = scene.rooms();
        fs::create_dir(&rooms).unwrap();
        mode(&rooms, 0o700);
        // As many bytes as the room's directory and one slip need not have, then as many files.
        for limit in ["size=4k", "nr_inodes=2"] {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("mode=0700,{limit}"), "tmpfs"]).arg(&rooms);
            assert!(mount.status().unwrap().success());
            let _ = fs::write(rooms.join("full"), [0; 8192]);
            works_alone(&scene);
            assert!(Command::new("umount").arg(&rooms).status().unwrap().success());
        }
        fs::write(share, "done").unwrap();
        return;
    }
    let done = tempfile::NamedTempFile::new().unwrap();
    // A mount namespace of its own, so that nothing of it stays.
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    command.args([FULL, "--exact", "--nocapture"]).env(SHARE, done.path());
    let output = command.output().expect("unshare of util-linux");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(done.path()).unwrap(), "done");
}
