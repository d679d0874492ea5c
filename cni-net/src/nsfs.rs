//! What keeps network namespaces alive: processes, bind mounts, open files.
//!
//! Their files are those of the kernel's nsfs (`fs/nsfs.c`): device and inode number say which
//! namespace it is, the text `net:[INODE]` of a link or of a mount's root says it too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind::PermissionDenied},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RawDir, StatxFlags, makedev},
    io::Errno,
};

use crate::{
    CensusGap, Error, Netns, NetnsId, OpenFiles,
    door::Door,
    error::{Context, Operation, Result},
    gap::Watch,
    mountinfo::{net_inode, nsfs_mount},
};

/// Every network namespace that was seen in one walk through `/proc`.
#[derive(Debug)]
pub(crate) struct Sightings {
    pub(crate) namespaces: BTreeMap<NetnsId, Sighting>,
    /// Whose processes disappeared before their mounts were read.
    pub(crate) lost_views: BTreeSet<(View, Task)>,
    views: BTreeMap<View, Vec<Task>>,
}

/// The namespace of the census's caller.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) id: NetnsId,
    /// Of a file in the namespace's `/proc/net`, which is there for every process to be seen.
    proc_inode: u64,
    open_files: OpenFiles,
}

/// What keeps one namespace.
#[derive(Debug, Default)]
pub(crate) struct Sighting {
    pub(crate) processes: BTreeSet<u32>,
    /// Ways to it, the surest first.
    pub(crate) doors: Vec<Door>,
}

/// Which mounts a task sees: those of its mount namespace that are below its root. The root is the
/// text of its link: nothing is looked up, as a file system that does not answer may be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct View {
    mount_namespace: u64,
    root: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pid: u32,
    tid: u32,
}

impl Task {
    pub(crate) fn file(self, name: &str) -> PathBuf {
        let Self { pid, tid } = self;
        format!("/proc/{pid}/task/{tid}/{name}").into()
    }
}

impl Own {
    pub(crate) fn find(open_files: OpenFiles) -> Result<Self> {
        let id = Netns::current()?.id();
        let path = Path::new("/proc/thread-self").join(PROC_NET_FILE);
        let metadata =
            fs::metadata(&path).map_err(|error| context(&path, |context| context.io(&error)))?;
        Ok(Self { id, proc_inode: metadata.ino(), open_files })
    }

    /// Whether the task is here, for one that does not show its namespace's own file. Each
    /// namespace has its own tree of files for `/proc/net` (`proc_net_ns_init` in
    /// `fs/proc/proc_net.c`), and those are not guarded.
    fn has(&self, task: Task) -> bool {
        fs::metadata(task.file(PROC_NET_FILE)).is_ok_and(|file| file.ino() == self.proc_inode)
    }
}

const PROC_NET_FILE: &str = "net/dev";

impl Sightings {
    /// Walks through all processes, then all mounts. A view that the same task has lost before
    /// is a gap.
    pub(crate) fn take(own: &Own, lost_before: &BTreeSet<(View, Task)>, watch: &mut Watch) -> Self {
        let (namespaces, views) = (BTreeMap::new(), BTreeMap::new());
        let mut all = Self { namespaces, lost_views: BTreeSet::new(), views };
        let Some(pids) = seen(Path::new("/proc"), numbers(Path::new("/proc")), watch) else {
            return all;
        };
        // Every PID namespace has a process 1.
        if !pids.contains(&1) {
            watch.gap(CensusGap::ProcessesHidden);
        }
        for pid in pids {
            if watch.left(|| format!("process {pid}")).is_none() {
                return all;
            }
            all.process(pid, own, watch);
        }
        for (view, tasks) in std::mem::take(&mut all.views) {
            if watch.left(|| format!("the mounts of process {}", tasks[0].pid)).is_none() {
                return all;
            }
            let tasks = Rc::from(tasks);
            if all.mounts(&tasks, own, watch) {
                continue;
            }
            for task in tasks.iter() {
                let lost = (view.clone(), *task);
                if lost_before.contains(&lost) {
                    let path = task.file("mountinfo");
                    watch.gap(context(&path, |context| context.errno(Errno::SRCH)));
                } else {
                    all.lost_views.insert(lost);
                }
            }
        }
        all
    }

    fn sighting(&mut self, id: NetnsId) -> &mut Sighting {
        self.namespaces.entry(id).or_default()
    }

    fn process(&mut self, pid: u32, own: &Own, watch: &mut Watch) {
        let folder = PathBuf::from(format!("/proc/{pid}/task"));
        // Not the process's own files: where its first thread has ended, only the others tell.
        let threads = seen(&folder, numbers(&folder), watch).unwrap_or_default();
        let mut looked_around = false;
        for tid in threads {
            let task = Task { pid, tid };
            let path = task.file("ns/net");
            let file = fs::metadata(&path);
            let closed =
                matches!(&file, Err(error) if error.kind() == PermissionDenied) && own.has(task);
            let id = if closed {
                own.id
            } else {
                let Some(file) = seen(&path, file, watch) else { continue };
                NetnsId { dev: file.dev(), ino: file.ino() }
            };
            let sighting = self.sighting(id);
            if tid == pid {
                sighting.processes.insert(pid);
            }
            if id != own.id {
                sighting.doors.push(Door::Proc(path));
            }
            if !looked_around {
                looked_around = self.view(task, closed, watch);
                match own.open_files {
                    OpenFiles::Skip => {}
                    OpenFiles::Readable if closed => {}
                    OpenFiles::All | OpenFiles::Readable => self.files(task, own, watch),
                }
            }
        }
    }

    /// Which mounts this task sees; `false` when it has ended.
    fn view(&mut self, task: Task, closed: bool, watch: &mut Watch) -> bool {
        let (mnt, root) = (task.file("ns/mnt"), task.file("root"));
        // Nobody knows whose mounts a closed one sees; it shows them all the same.
        let alone = View { mount_namespace: 0, root: root.clone() };
        // It may close at any time: a security module looks at what it does at that moment.
        let refused = |error: &io::Error| error.kind() == PermissionDenied;
        let view = match (closed, fs::metadata(&mnt), fs::read_link(&root)) {
            (true, ..) => alone,
            (_, Err(error), _) | (_, _, Err(error)) if refused(&error) => alone,
            (_, file, linked) => {
                let Some(file) = seen(&mnt, file, watch) else { return false };
                let Some(root) = seen(&root, linked, watch) else { return false };
                View { mount_namespace: file.ino(), root }
            }
        };
        self.views.entry(view).or_default().push(task);
        true
    }

    fn files(&mut self, task: Task, own: &Own, watch: &mut Watch) {
        let folder = task.file("fd");
        let Some(files) = seen(&folder, nsfs_files(&folder, own.id.dev), watch) else { return };
        for OpenFile { number, inode, is_net } in files {
            let id = NetnsId { dev: own.id.dev, ino: inode };
            let path = folder.join(number);
            if id == own.id || (!is_net && !self.is_netns(id, &path, watch)) {
                continue;
            }
            self.sighting(id).doors.push(Door::Proc(path));
        }
    }

    /// Whether this nsfs file is a network namespace and not of another kind.
    fn is_netns(&self, id: NetnsId, path: &Path, watch: &mut Watch) -> bool {
        if self.namespaces.contains_key(&id) {
            return true;
        }
        match Netns::open(path) {
            Ok(netns) => netns.id() == id,
            Err(Error::NotNetns { .. }) => false,
            Err(error) => {
                if !error.errno().is_some_and(|errno| is_gone(&io_error(errno))) {
                    watch.gap(error);
                }
                false
            }
        }
    }

    /// The mounts that these tasks see; `false` when all of them have ended.
    fn mounts(&mut self, tasks: &Rc<[Task]>, own: &Own, watch: &mut Watch) -> bool {
        for task in tasks.iter() {
            let path = task.file("mountinfo");
            let text = match fs::read(&path) {
                // `mounts_open_common` in `fs/proc_namespace.c`: a task on its way out.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => continue,
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    watch.gap(context(&path, |context| context.io(&error)));
                    return true;
                }
                Ok(text) => text,
            };
            for (inode, path) in text.split(|&byte| byte == b'\n').filter_map(nsfs_mount) {
                let id = NetnsId { dev: own.id.dev, ino: inode };
                self.sighting(id).doors.push(Door::Mount { tasks: Rc::clone(tasks), path });
            }
            return true;
        }
        false
    }
}

/// A process, thread or file that has ended answers with these (`fs/proc/base.c`).
pub(crate) fn is_gone(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::SRCH]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

pub(crate) fn io_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// What is there; `None` for what is gone, and for what could not be looked at, which is noted.
fn seen<T>(path: &Path, result: io::Result<T>, watch: &mut Watch) -> Option<T> {
    result
        .map_err(|error| {
            if !is_gone(&error) {
                watch.gap(context(path, |context| context.io(&error)));
            }
        })
        .ok()
}

pub(crate) fn context(path: &Path, error: impl FnOnce(Context<'_>) -> Error) -> Error {
    error(Context::new(Operation::FindNetns, &path.display()))
}

/// The names in a folder that are numbers.
fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

struct OpenFile {
    number: String,
    inode: u64,
    is_net: bool,
}

/// The open files that are namespaces. `is_net` when the link says that it is one of network; a
/// file that was opened by a bind mount has that path instead (`d_path` in `fs/d_path.c`), and
/// may be one of any kind.
fn nsfs_files(folder: &Path, nsfs_dev: u64) -> io::Result<Vec<OpenFile>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
    let mut names = Vec::with_capacity(4096);
    let mut files = Vec::new();
    let mut dir = RawDir::new(&fd, names.spare_capacity_mut());
    let mut target = [0; 64];
    while let Some(entry) = dir.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        let number = || name.to_string_lossy().into_owned();
        let length = match rustix::fs::readlinkat_raw(&fd, name, &mut target[..]) {
            Ok(length) => length,
            Err(errno) if is_gone(&errno.into()) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if let Some(inode) = net_inode(&target[..length]) {
            files.push(OpenFile { number: number(), inode, is_net: true });
        }
        if target[0] != b'/' {
            continue;
        }
        // What is known is enough: a file system that does not answer is not asked.
        match rustix::fs::statx(&fd, name, AtFlags::STATX_DONT_SYNC, StatxFlags::INO) {
            Ok(stat) if makedev(stat.stx_dev_major, stat.stx_dev_minor) == nsfs_dev => {
                files.push(OpenFile { number: number(), inode: stat.stx_ino, is_net: false });
            }
            Ok(_) => {}
            Err(errno) if is_gone(&errno.into()) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(files)
}
