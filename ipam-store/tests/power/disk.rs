//! A disk in memory that starts from an image and leaves the image as it was.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::tape::{position, range};

const PAGE_BYTES: usize = 4096;

/// The bytes of a file as changes over a shared base: cheap to make and to throw away.
#[derive(Clone)]
pub(crate) struct Contents {
    base: Arc<Vec<u8>>,
    /// How much of the base still shows: what was cut off and grown again is zero.
    base_len: usize,
    pages: BTreeMap<usize, Box<[u8]>>,
    len: usize,
}

impl Contents {
    /// The contents and the length of `base`.
    pub(crate) fn over(base: Arc<Vec<u8>>) -> Self {
        let len = base.len();
        Self { base, base_len: len, pages: BTreeMap::new(), len }
    }

    /// Writes without a look at the length: what is beyond it shows once the file is longer.
    pub(crate) fn write(&mut self, offset: usize, mut bytes: &[u8]) {
        let mut at = offset;
        while !bytes.is_empty() {
            let within = at % PAGE_BYTES;
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_BYTES - within));
            self.page(at / PAGE_BYTES)[within..within + now.len()].copy_from_slice(now);
            at += now.len();
            bytes = later;
        }
    }

    /// Makes every byte from `offset` on zero.
    pub(crate) fn clear_from(&mut self, offset: usize) {
        let first_whole = offset.div_ceil(PAGE_BYTES);
        self.pages.split_off(&first_whole);
        if let Some(page) = self.pages.get_mut(&(offset / PAGE_BYTES))
            && !offset.is_multiple_of(PAGE_BYTES)
        {
            page[offset % PAGE_BYTES..].fill(0);
        }
        self.base_len = self.base_len.min(offset);
    }

    /// Gives the file a length, as `ftruncate` does.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.clear_from(len.min(self.len));
        self.len = len;
    }

    /// Gives the file a length and lets what was beyond the old one show: for an image of a length
    /// that the file had at another moment than its bytes.
    pub(crate) fn reveal(&mut self, len: usize) {
        self.clear_from(len);
        self.len = len;
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let at = offset + done;
            let within = at % PAGE_BYTES;
            let count = (out.len() - done).min(PAGE_BYTES - within);
            let piece = &mut out[done..done + count];
            match self.pages.get(&(at / PAGE_BYTES)) {
                Some(page) => piece.copy_from_slice(&page[within..within + count]),
                None => self.read_base(at, piece),
            }
            done += count;
        }
    }

    fn read_base(&self, offset: usize, out: &mut [u8]) {
        let shown = self.base_len.saturating_sub(offset).min(out.len());
        let (from_base, beyond) = out.split_at_mut(shown);
        if shown > 0 {
            from_base.copy_from_slice(&self.base[offset..offset + shown]);
        }
        beyond.fill(0);
    }

    fn page(&mut self, index: usize) -> &mut [u8] {
        if !self.pages.contains_key(&index) {
            let mut page = vec![0; PAGE_BYTES];
            self.read_base(index * PAGE_BYTES, &mut page);
            self.pages.insert(index, page.into());
        }
        self.pages.get_mut(&index).expect("inserted above where it was missing")
    }
}

/// A disk to open a database on. A clone is another handle to the same disk: what was written
/// through the one is read through the other.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Mutex<Contents>>);

impl Disk {
    pub(crate) fn new(contents: Contents) -> Self {
        Self(Arc::new(Mutex::new(contents)))
    }

    /// A disk that holds a file of these bytes.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self::new(Contents::over(Arc::new(bytes)))
    }

    /// The file as it is now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let contents = self.contents();
        let mut bytes = vec![0; contents.len];
        contents.read(0, &mut bytes);
        bytes
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A check that panicked may still have its image looked at.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Disk {{ len: {} }}", self.contents().len)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents().len as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents();
        contents.read(range(offset, out.len(), contents.len)?.start, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.contents().set_len(position(len)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut contents = self.contents();
        let start = range(offset, data.len(), contents.len)?.start;
        contents.write(start, data);
        Ok(())
    }
}
