//! The database's file, as the database library writes it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use redb::StorageBackend;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// A file that grows by blocks that are there, so that an overwrite, which is what a release needs,
/// finds room on a full disk.
#[derive(Debug)]
pub(crate) struct Disk {
    file: File,
    growth: Growth,
}

/// What a file grows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Blocks: if there are not enough of them it does not grow.
    Blocks,
    /// Length: it takes only the blocks that are written.
    Length,
}

impl Disk {
    pub(crate) fn new(file: File, growth: Growth) -> Self {
        Self { file, growth }
    }
}

impl Drop for Disk {
    /// A close releases the file's lock only if no copy of the descriptor is left, and another
    /// thread of a library's user may be starting a child, which has one until it calls exec.
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if len > now && self.growth == Growth::Blocks {
            match fallocate(&self.file, FallocateFlags::empty(), now, len - now) {
                // Not every file system can; there a full disk is noticed later.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_copy_of_the_descriptor_in_a_child_does_not_keep_the_files_lock() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let locked = file.reopen().unwrap();
        locked.try_lock().unwrap();
        let copy = locked.try_clone().unwrap();
        drop(Disk::new(locked, Growth::Length));
        file.as_file().try_lock().unwrap();
        drop(copy);
    }

    #[test]
    fn growth_takes_blocks_or_only_length() {
        for (growth, expected) in [(Growth::Blocks, true), (Growth::Length, false)] {
            let file = tempfile::tempfile().unwrap();
            let disk = Disk::new(file.try_clone().unwrap(), growth);
            disk.set_len(1 << 20).unwrap();
            let found = file.metadata().unwrap();
            assert_eq!((found.len(), found.blocks() * 512 >= 1 << 20), (1 << 20, expected));
            disk.set_len(4096).unwrap();
            assert_eq!(disk.len().unwrap(), 4096);
        }
    }
}
