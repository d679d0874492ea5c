//! The database's file, as the database library writes it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use redb::StorageBackend;
use rustix::io::Errno;

use crate::mortal;
use crate::spare;

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
    /// Blocks as far as there are any, and length for the rest: what is written into that needs
    /// more.
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
        mortal::call()?;
        let now = self.len()?;
        if len > now {
            match spare::reserve(&self.file, now, len - now) {
                // Not every file system can; there a full disk is noticed later.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(_) if self.growth == Growth::Length => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        mortal::call()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        mortal::call()?;
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
    fn growth_takes_blocks() {
        for growth in [Growth::Blocks, Growth::Length] {
            let file = tempfile::tempfile().unwrap();
            let disk = Disk::new(file.try_clone().unwrap(), growth);
            disk.set_len(1 << 20).unwrap();
            let found = file.metadata().unwrap();
            assert_eq!((found.len(), found.blocks() * 512 >= 1 << 20), (1 << 20, true));
            disk.set_len(4096).unwrap();
            assert_eq!(disk.len().unwrap(), 4096);
        }
    }

    /// No disk has so many blocks, though a file may be so long: as on a full one.
    #[test]
    fn growth_without_blocks_is_refused_and_leaves_the_length_or_is_of_length_only() {
        let file = tempfile::tempfile().unwrap();
        let long = 1 << 43;
        let strict = Disk::new(file.try_clone().unwrap(), Growth::Blocks);
        let error = strict.set_len(long).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert_eq!(strict.len().unwrap(), 0);
        let release = Disk::new(file.try_clone().unwrap(), Growth::Length);
        release.set_len(long).unwrap();
        assert_eq!(release.len().unwrap(), long);
    }
}
