//! Namespaces: what opens, what does not, and where code runs.

use std::{fs, os::fd::AsFd, path::Path, process::Command};

use cni_net::{Error, Netns};
use rustix::io::Errno;

mod namespace;
use namespace::{TestNetns, errno};

#[test]
fn two_paths_of_one_namespace_have_one_id() {
    let (one, other) = (TestNetns::new(), TestNetns::new());
    assert_eq!(one.open().id(), one.open().id());
    assert_ne!(one.open().id(), other.open().id());
    let own = Netns::open(Path::new("/proc/self/ns/net")).unwrap();
    assert_eq!(own.id(), Netns::current().unwrap().id());
    assert_ne!(own.id(), one.open().id());
    assert_eq!(one.open().run(|| Netns::current().unwrap().id()).unwrap(), one.open().id());
}

#[test]
fn a_missing_path_is_enoent() {
    let result = Netns::open(Path::new("/run/netns/cninet-missing"));
    assert_eq!(errno(&result), Errno::NOENT);
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with("open network namespace /run/netns/cninet-missing: "), "{text}");
    assert!(text.contains("No such file or directory (errno 2); the namespace is gone"), "{text}");
}

/// What `ip netns delete` leaves when another mount namespace still holds the mount.
#[test]
fn a_plain_file_a_folder_and_a_pipe_are_no_namespaces() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plain");
    fs::write(&file, "").unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [file.as_path(), folder.path(), pipe.as_path(), Path::new("/proc/self/stat")] {
        let error = Netns::open(path).unwrap_err();
        assert!(matches!(error, Error::NotNetns { .. }), "{error:?}");
        let text = error.to_string();
        let start = format!("{} is not a network namespace: it is an ordinary", path.display());
        assert!(text.starts_with(&start), "{text}");
        assert_eq!(error.errno(), None);
    }
}

#[test]
fn a_namespace_of_another_kind_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let bound = folder.path().join("bound");
    fs::write(&bound, "").unwrap();
    mount(&["--bind", "/proc/self/ns/uts"], &bound);
    let results =
        [Path::new("/proc/self/ns/uts"), Path::new("/proc/self/ns/mnt"), &bound].map(Netns::open);
    umount(&bound);
    for result in results {
        let text = result.unwrap_err().to_string();
        assert!(text.contains("it is a namespace of another kind"), "{text}");
    }
}

fn mount(arguments: &[&str], target: &Path) {
    let status = Command::new("mount").args(arguments).arg(target).status().unwrap();
    assert!(status.success(), "this test bind-mounts a namespace: run it as root");
}

fn umount(target: &Path) {
    assert!(Command::new("umount").arg(target).status().unwrap().success());
}

#[test]
fn run_enters_and_leaves_the_caller_where_it_was() {
    let test = TestNetns::with_parent();
    let before = Netns::current().unwrap().id();
    let names = test.open().run(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap();
    assert!(names.unwrap().contains("up0:"));
    assert_eq!(Netns::current().unwrap().id(), before);
}

#[test]
fn run_hands_a_panic_on() {
    let netns = TestNetns::new().open();
    let before = Netns::current().unwrap().id();
    let caught = std::panic::catch_unwind(|| netns.run(|| panic!("inside")));
    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"inside"));
    assert_eq!(Netns::current().unwrap().id(), before);
}

#[test]
fn an_open_namespace_outlives_its_name() {
    let test = TestNetns::with_parent();
    let netns = test.open();
    drop(test);
    let link = netns.netlink().unwrap().link("up0").unwrap();
    assert!(link.is_some());
    assert!(rustix::fs::fstat(netns.as_fd()).is_ok());
}
