//! A directory that nobody but this user may change.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

/// An open directory of this user.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

impl Directory {
    /// Opens it. A link to one is none (`ELOOP` or `ENOTDIR`), nor is one that others may write to
    /// or that another user has (`EPERM`).
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Mode::empty())?;
        let found = fstat(&directory)?;
        let others = Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP | Mode::WOTH);
        if others || found.st_uid != geteuid().as_raw() {
            return Err(Errno::PERM);
        }
        Ok(Self(directory))
    }

    /// Opens it, made with mode 0700 if it is missing. What is above it has to be there.
    pub(crate) fn make(path: &Path) -> Result<Self, Errno> {
        match Self::open(path) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        match mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open(path),
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file of this user in it, made with mode 0600 if it is missing. A link, also a
    /// second name of a file, is refused (`ELOOP`, `EMLINK`), and so is another user's file
    /// (`EPERM`) or what is no file (`EINVAL`).
    pub(crate) fn file(&self, name: &OsStr, flags: OFlags) -> Result<File, Errno> {
        self.regular(name, flags | OFlags::CREATE)
    }

    /// The same for reading, and only if it is there.
    pub(crate) fn existing(&self, name: &OsStr) -> Result<File, Errno> {
        self.regular(name, OFlags::RDONLY)
    }

    fn regular(&self, name: &OsStr, flags: OFlags) -> Result<File, Errno> {
        // Without O_NONBLOCK the opening of a FIFO would wait for its reader.
        let always = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(&self.0, name, flags | always, Mode::RUSR | Mode::WUSR)?;
        let found = fstat(&file)?;
        if !FileType::from_raw_mode(found.st_mode).is_file() {
            return Err(Errno::INVAL);
        }
        if found.st_uid != geteuid().as_raw() {
            return Err(Errno::PERM);
        }
        if found.st_nlink > 1 {
            return Err(Errno::MLINK);
        }
        Ok(File::from(file))
    }

    pub(crate) fn as_fd(&self) -> &OwnedFd {
        &self.0
    }
}
