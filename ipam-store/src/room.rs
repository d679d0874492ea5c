//! The room: a directory in memory where waiting processes leave their slips.
//!
//! It is `<parent>/<device>-<inode>-<mnt>-<pid>` by the lock's file and by the inodes of the mount
//! and the PID namespace, so that those share a room who wait for one lock and see the same paths: a
//! decision looks whether the namespace of a pod's earlier sandbox is still there. It belongs to one user, who alone may enter it; whatever is wrong with it, the
//! processes wait as if there were none. It is made by who waits and taken away by a holder of the
//! lock who finds it empty. See [`crate::slip`] for what is in it.

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, stat, statfs, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::flock::Identity;

/// An open room.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    parent: Rc<OwnedFd>,
    directory: Rc<OwnedFd>,
    name: Rc<str>,
}

const PRIVATE: Mode = Mode::RWXU;

impl Room {
    /// The room of this lock, if there is one.
    pub(crate) fn enter(parent: &Path, lock: Identity) -> Option<Self> {
        Self::open(parent, lock).ok()
    }

    /// The room of this lock, made if need be.
    pub(crate) fn make(parent: &Path, lock: Identity) -> Option<Self> {
        match Self::open(parent, lock) {
            Err(Errno::NOENT) => {}
            other => return other.ok(),
        }
        for made in [mkdirat(CWD, parent, PRIVATE), make_in(parent, lock)] {
            match made {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(_) => return None,
            }
        }
        Self::open(parent, lock).ok()
    }

    fn open(parent: &Path, lock: Identity) -> Result<Self, Errno> {
        let name = name_of(lock)?;
        let parent = own_directory(CWD, parent)?;
        let directory = own_directory(&parent, name.as_str())?;
        Ok(Self { parent: parent.into(), directory: directory.into(), name: name.into() })
    }

    pub(crate) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// The names of all files in it.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&*self.directory)? {
            let entry = entry?;
            let name: &CStr = entry.file_name();
            // Ours are plain; what is not is not ours.
            if let Ok(name) = name.to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Takes an empty room away. One who enters at this moment waits as if there were none.
    pub(crate) fn remove(self) {
        let _ = unlinkat(&*self.parent, &*self.name, AtFlags::REMOVEDIR);
    }
}

/// Where rooms are unless [`Store::with_room`](crate::Store::with_room) says otherwise: in `/run`,
/// or else in `/dev/shm`, whichever is in memory (tmpfs). `None` if neither is; a room on a disk
/// would cost what it saves.
pub fn default_room() -> Option<PathBuf> {
    let is_in_memory =
        |path: &&str| statfs(*path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(TMPFS));
    let place = ["/run", "/dev/shm"].into_iter().find(is_in_memory)?;
    Some(Path::new(place).join("node-ipam"))
}

/// `TMPFS_MAGIC` of `<linux/magic.h>`.
const TMPFS: u64 = 0x0102_1994;

fn name_of(lock: Identity) -> Result<String, Errno> {
    let [mnt, pid] = [stat("/proc/self/ns/mnt")?.st_ino, stat("/proc/self/ns/pid")?.st_ino];
    Ok(format!("{}-{}-{mnt}-{pid}", lock.device, lock.inode))
}

fn make_in(parent: &Path, lock: Identity) -> Result<(), Errno> {
    mkdirat(own_directory(CWD, parent)?, name_of(lock)?, PRIVATE)
}

/// A directory of this user that nobody else may look into. A link to one is none.
fn own_directory(at: impl AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(at, path, flags, Mode::empty())?;
    let found = fstat(&directory)?;
    let is_directory = FileType::from_raw_mode(found.st_mode).is_dir();
    let is_private = !Mode::from_raw_mode(found.st_mode).intersects(Mode::RWXG | Mode::RWXO);
    if !is_directory || !is_private || found.st_uid != geteuid().as_raw() {
        return Err(Errno::PERM);
    }
    Ok(directory)
}
