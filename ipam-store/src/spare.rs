//! Disk space kept in advance for releases.
//!
//! A release makes the database smaller in the end, and needs room all the same: pages are never
//! overwritten in place. So a file of that size lies beside the database. When the disk is full a
//! release takes it away and has its blocks; no address is handed out before it is back.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// In bytes: more than ten releases from a database of the usual size need.
const SPARE: u64 = 512 << 10;

/// Makes sure that the spare file is there with all its blocks.
pub(crate) fn keep(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        // A block is 512 bytes here (stat(2)).
        Ok(found) if found.len() == SPARE && found.blocks() * 512 >= SPARE => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, SPARE) {
        Ok(()) => file.set_len(SPARE),
        // Without preallocation an empty file says that there is nothing to keep.
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => {
            drop(file);
            // Half a spare file only takes space from the others.
            give_up(path)?;
            Err(errno.into())
        }
    }
}

/// Frees the spare space.
pub(crate) fn give_up(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spare_file_has_its_blocks_and_is_made_again_when_it_shrank() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spare");
        keep(&path).unwrap();
        let whole = fs::metadata(&path).unwrap();
        assert_eq!((whole.len(), whole.blocks() * 512 >= SPARE), (SPARE, true));
        OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
        keep(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), SPARE);
        give_up(&path).unwrap();
        give_up(&path).unwrap();
        assert!(!path.exists());
    }
}
