//! Directories and files that are one user's alone.
//!
//! What is read here decides who gets an address, and a link or a directory that others may write to
//! would let them choose what is read. Nothing is opened through a link, and what belongs to another
//! user, or may be written by one, is refused. What others may only read, as an older program left
//! it, is closed to them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, lstat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::durable::io_error;
use crate::error::Error;

const DIRECTORY: Mode = Mode::RWXU;
const FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Fails unless a directory is this user's alone, or not there. One that others may read is closed
/// to them.
pub(crate) fn guard(directory: &Path) -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, directory, flags, Mode::empty()) {
        Ok(opened) => close_to_others(&File::from(opened), directory, DIRECTORY),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => {
            // Whose it is can be seen from outside.
            if let Ok(found) = lstat(directory) {
                judge(&found, directory, DIRECTORY)?;
            }
            Err(io_error("open", directory)(errno.into()))
        }
    }
}

/// Opens a file that is this user's alone, and no link; a new one is.
pub(crate) fn open(options: &OpenOptions, path: &Path) -> Result<File, Error> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = options.clone().mode(FILE.bits()).custom_flags(flags).open(path);
    match file {
        Ok(file) => close_to_others(&file, path, FILE).map(|()| file),
        Err(error) => {
            if Errno::from_io_error(&error) == Some(Errno::LOOP) {
                return Err(link(path));
            }
            Err(io_error("open", path)(error))
        }
    }
}

fn close_to_others(file: &File, path: &Path, wanted: Mode) -> Result<(), Error> {
    let found = fstat(file).map_err(|errno| io_error("look at", path)(errno.into()))?;
    judge(&found, path, wanted)?;
    if !Mode::from_raw_mode(found.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
        return Ok(());
    }
    match file.set_permissions(PermissionsExt::from_mode(wanted.bits())) {
        // Then nobody changes it either.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        other => other.map_err(io_error("change the mode of", path)),
    }
}

fn judge(found: &Stat, path: &Path, wanted: Mode) -> Result<(), Error> {
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind.is_symlink() {
        return Err(link(path));
    }
    let (expected, name) = match wanted {
        DIRECTORY => (FileType::Directory, "directory"),
        _ => (FileType::RegularFile, "regular file"),
    };
    let unsafe_ = |what: String, remedy: String| Error::Unsafe { path: path.into(), what, remedy };
    let shown = path.display();
    if kind != expected {
        return Err(unsafe_(format!("is no {name}"), "choose another `dataDir`".into()));
    }
    let (owner, own) = (found.st_uid, geteuid());
    if owner != own.as_raw() {
        if !own.is_root() {
            return Err(Error::NotOwner { path: path.into(), owner });
        }
        let what = format!("belongs to uid {owner}, who could change what it says");
        return Err(unsafe_(what, format!("look at it, then `chown root:root {shown}`")));
    }
    let mode = Mode::from_raw_mode(found.st_mode);
    if mode.intersects(Mode::WGRP | Mode::WOTH) {
        let what = format!("may be written by others (mode {:04o})", mode.bits());
        let remedy = format!("look at it, then `chmod {:o} {shown}`", wanted.bits());
        return Err(unsafe_(what, remedy));
    }
    Ok(())
}

fn link(path: &Path) -> Error {
    let remedy = "name what it leads to, or put that in its place".to_owned();
    Error::Unsafe { path: path.into(), what: "is a link".into(), remedy }
}
