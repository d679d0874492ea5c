//! A network namespace, held open.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    panic::resume_unwind,
    path::Path,
    thread,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};
use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    Netlink,
    error::{Context, Error, Operation, Result},
};

/// An open network namespace. It keeps the namespace alive; the path it came from may go.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    id: NetnsId,
    path: String,
}

/// Which namespace this is: equal exactly when two files are the same namespace
/// (namespaces(7), device and inode number of the file under `/proc/PID/ns`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsId {
    /// Device number of nsfs.
    pub dev: u64,
    /// Inode number, as in `net:[4026531840]`.
    pub ino: u64,
}

/// What opening a path answers that leads to no file: no namespace was ever attached by it, or it
/// is gone.
const LEADS_NOWHERE: [Errno; 5] =
    [Errno::NOENT, Errno::NXIO, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP];

impl Netns {
    /// Opens the namespace at `path`: a bind mount such as `/run/netns/NAME`, or
    /// `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the errno of open(2), `ENOENT` when there is no such file;
    /// [`Error::NotNetns`] for a file that is something else, also a namespace of another kind.
    /// In both cases the namespace and all its links are gone or were never there.
    pub fn open(path: &Path) -> Result<Self> {
        let netns = Self::open_unchecked(path)?;
        let not_netns = |reason| Error::NotNetns { path: netns.path.clone(), reason };
        let context = Context::new(Operation::OpenNetns, &netns.path);
        let filesystem = rustix::fs::fstatfs(&netns.fd).map_err(|errno| context.errno(errno))?;
        if u64::try_from(filesystem.f_type) != Ok(NSFS_MAGIC) {
            return Err(not_netns(
                "it is an ordinary file (after an unmount or a reboot that is what is left)",
            ));
        }
        // nsfs holds namespaces of every kind. The ioctl that tells them apart (NS_GET_NSTYPE)
        // takes unsafe code; that the kernel looks for a namespace id by this file tells it too.
        match Netlink::open()?.nsid(&netns, context) {
            Ok(_) => Ok(netns),
            Err(error) if error.errno() == Some(Errno::INVAL.raw_os_error()) => {
                Err(not_netns("it is a namespace of another kind"))
            }
            Err(error) => Err(error),
        }
    }

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// The errno of open(2), when `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        Self::open_unchecked(Path::new("/proc/thread-self/ns/net"))
    }

    /// For a path that is known to lead to a network namespace.
    pub(crate) fn open_unchecked(path: &Path) -> Result<Self> {
        let shown = path.to_string_lossy().into_owned();
        let context = Context::new(Operation::OpenNetns, &shown);
        // NONBLOCK: a named pipe at that path must not hold the caller up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| context.errno(errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| context.errno(errno))?;
        let id = NetnsId { dev: stat.st_dev, ino: stat.st_ino };
        Ok(Self { fd, id, path: shown })
    }

    /// The namespace at `path`, or `None` if it is gone, whatever stands at its path now: for who
    /// takes away what was made in it.
    ///
    /// # Errors
    /// As [`Netns::open`], where the path leads to something that cannot be opened.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        match Self::open(path) {
            Ok(netns) => Ok(Some(netns)),
            Err(Error::NotNetns { .. }) => Ok(None),
            Err(error) if LEADS_NOWHERE.iter().any(|errno| error.is(*errno)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which namespace this is, to compare with another.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Runs `f` inside the namespace, on a thread of its own that enters it and ends, so that no
    /// other code can find itself in the wrong namespace, whatever `f` does. For what follows the
    /// calling thread's namespace: `/proc/sys/net`, new sockets.
    ///
    /// # Errors
    /// The errno of clone(2) or setns(2), `EPERM` without `CAP_SYS_ADMIN`; `f` has not run.
    ///
    /// # Panics
    /// When `f` does, with its panic.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        let context = Context::new(Operation::EnterNetns, &self.path);
        let inside = || {
            move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(f())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, inside)
                .map_err(|error| context.io(&error))?;
            thread
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
                .map_err(|errno: Errno| context.errno(errno))
        })
    }

    /// Opens a socket inside the namespace, to be used from outside.
    ///
    /// # Errors
    /// As [`Netns::run`] and [`Netlink::open`].
    pub fn netlink(&self) -> Result<Netlink> {
        self.run(Netlink::open)?
    }
}

impl Netlink {
    /// The number by which the socket's namespace knows another (`link-netnsid` of ip-link(8)), as
    /// in [`Link::parent_netns`](crate::Link::parent_netns); `None` if it has none for it.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn netns_number(&mut self, other: &Netns) -> Result<Option<i32>> {
        let context = Context::new(Operation::OpenNetns, &other.path);
        match self.nsid(other, context)? {
            RouteNetlinkMessage::NewNsId(message) => {
                let mut numbers = message.attributes.iter().filter_map(|it| match it {
                    NsidAttribute::Id(number) if *number >= 0 => Some(*number),
                    _ => None,
                });
                Ok(numbers.next())
            }
            _ => Err(context.protocol("not a namespace's number")),
        }
    }

    fn nsid(&mut self, netns: &Netns, context: Context<'_>) -> Result<RouteNetlinkMessage> {
        let mut message = NsidMessage::default();
        let fd = u32::try_from(netns.fd.as_raw_fd())
            .map_err(|_| context.protocol("negative file descriptor"))?;
        message.attributes.push(NsidAttribute::Fd(fd));
        self.one(RouteNetlinkMessage::GetNsId(message), context)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `include/uapi/linux/magic.h`.
const NSFS_MAGIC: u64 = 0x6e73_6673;
