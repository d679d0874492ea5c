//! Disk space kept in advance for releases.
//!
//! A release makes the database smaller in the end, and may need room all the same: pages are never
//! overwritten in place. So the file has blocks behind its end, which are nobody else's when the
//! disk is full, and into which it can grow. No address is handed out before they are there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

/// In bytes: more than ten releases from a database of the usual size need.
pub(crate) const SPARE: u64 = 512 << 10;

/// Makes sure that the file has all its blocks, and that many behind its end.
pub(crate) fn keep(path: &Path) -> io::Result<()> {
    let found = std::fs::metadata(path)?;
    let wanted = found.len() + SPARE;
    // A block is 512 bytes here (stat(2)).
    if found.blocks() * 512 >= wanted {
        return Ok(());
    }
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    match reserve(&OpenOptions::new().write(true).custom_flags(flags).open(path)?, 0, wanted) {
        // Without preallocation there is nothing to keep.
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes blocks for a part of a file, wherever its end is. The length stays, since a full disk lets
/// a file grow by a part of what was asked for, to a length that no database has.
pub(crate) fn reserve(file: &File, offset: u64, length: u64) -> Result<(), Errno> {
    fallocate(file, FallocateFlags::KEEP_SIZE, offset, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_behind_the_end_are_there_and_made_again_when_they_were_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let has_spare = || {
            let found = file.as_file().metadata().unwrap();
            (found.len(), found.blocks() * 512 >= found.len() + SPARE)
        };
        file.as_file().set_len(1 << 20).unwrap();
        assert_eq!(has_spare(), (1 << 20, false));
        keep(file.path()).unwrap();
        assert_eq!(has_spare(), (1 << 20, true));
        // What grows into them has them.
        file.as_file().set_len((1 << 20) + SPARE).unwrap();
        assert_eq!(file.as_file().metadata().unwrap().blocks() * 512, (1 << 20) + SPARE);
        file.as_file().set_len(4096).unwrap();
        keep(file.path()).unwrap();
        assert_eq!(has_spare(), (4096, true));
    }
}
