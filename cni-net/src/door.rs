//! A way to a network namespace that was seen: a link in `/proc`, or a mount.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
};

use crate::{
    Netns, NetnsId,
    error::Result,
    nsfs::{Task, context, io_error, is_gone},
};

/// A way to open a namespace.
#[derive(Debug)]
pub(crate) enum Door {
    /// A link in `/proc`. It leads there without a walk through any file system.
    Proc(PathBuf),
    /// A mount, as seen by any of these tasks.
    Mount { tasks: Rc<[Task]>, path: PathBuf },
}

impl Door {
    /// The path, if it is a mount.
    pub(crate) fn mount(&self) -> Option<&Path> {
        matches!(self, Self::Mount { .. }).then(|| self.path())
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Proc(path) | Self::Mount { path, .. } => path,
        }
    }

    /// Opens the namespace; `None` when the way now leads to something else or nowhere.
    pub(crate) fn open(&self, id: NetnsId, left: Duration) -> Result<Option<Netns>> {
        let (tasks, path) = match self {
            Self::Proc(path) => return open_proc(path, id),
            Self::Mount { tasks, path } => (tasks, path),
        };
        for task in tasks.iter() {
            let root = task.file("root");
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = match rustix::fs::openat(CWD, &root, flags, Mode::empty()) {
                Ok(root) => root,
                Err(errno) if is_gone(&errno.into()) => continue,
                Err(errno) => return Err(context(&root, |context| context.errno(errno))),
            };
            return open_below(root, path, id, left);
        }
        Ok(None)
    }
}

fn open_proc(path: &Path, id: NetnsId) -> Result<Option<Netns>> {
    match Netns::open_unchecked(path) {
        Ok(netns) => Ok((netns.id() == id).then_some(netns)),
        Err(error) if error.errno().is_some_and(|errno| is_gone(&io_error(errno))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a mount of another mount namespace, whose owner may have put anything in the way since.
/// That cannot do more than hold up a thread, which then is left behind: the walk is only to name
/// the file (`O_PATH`), and it is opened only when it is that namespace.
fn open_below(root: OwnedFd, path: &Path, id: NetnsId, left: Duration) -> Result<Option<Netns>> {
    let (send, receive) = mpsc::sync_channel(1);
    let below = path.strip_prefix("/").unwrap_or(path).to_owned();
    let walk = move || {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&root, &below, flags, Mode::empty());
        let _ = send.send(file.and_then(|file| Ok((rustix::fs::fstat(&file)?, file))));
    };
    thread::Builder::new()
        .name("mount".into())
        .spawn(walk)
        .map_err(|error| context(path, |context| context.io(&error)))?;
    match receive.recv_timeout(left) {
        Ok(Ok((stat, file))) if id == (NetnsId { dev: stat.st_dev, ino: stat.st_ino }) => {
            open_proc(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())), id)
        }
        // The last: no time is left, which the watch says.
        Ok(Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) | Err(_) => Ok(None),
        Ok(Err(errno)) => Err(context(path, |context| context.errno(errno))),
    }
}
