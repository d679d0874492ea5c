//! A database file that is only looked at: what the database library writes stays in memory.
//!
//! Opening a database writes to it, to note that it is open. Whoever only looks must not: the file
//! system may be read-only or full, and each write would have to be synced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// Bytes that are kept together.
const BLOCK: u64 = 4096;

/// A file and the blocks that were written over it.
#[derive(Debug)]
pub(crate) struct Overlay {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    blocks: BTreeMap<u64, Vec<u8>>,
    length: u64,
    /// How much of the file still counts: it may have been cut and grown again.
    file_length: u64,
}

impl Overlay {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let state = State { blocks: BTreeMap::new(), length, file_length: length };
        Ok(Self { file, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block(&self, state: &State, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = state.blocks.get(&number) {
            return Ok(block.clone());
        }
        let start = number * BLOCK;
        let length = state.file_length.saturating_sub(start).min(BLOCK);
        let mut block = vec![0; usize_of(BLOCK)];
        self.file.read_exact_at(&mut block[..usize_of(length)], start)?;
        Ok(block)
    }
}

impl Drop for Overlay {
    /// For the reason that [`crate::disk::Disk`] has.
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        if offset + out.len() as u64 > state.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, place) in pieces(offset, out.len()) {
            let block = self.block(&state, number)?;
            out[place.clone()].copy_from_slice(&block[within..within + place.len()]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.length = len;
        state.file_length = state.file_length.min(len);
        state.blocks.retain(|number, _| number * BLOCK < len);
        if let Some(last) = state.blocks.get_mut(&(len / BLOCK)) {
            last[usize_of(len % BLOCK)..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        for (number, within, place) in pieces(offset, data.len()) {
            let mut block = self.block(&state, number)?;
            block[within..within + place.len()].copy_from_slice(&data[place]);
            state.blocks.insert(number, block);
        }
        state.length = state.length.max(offset + data.len() as u64);
        Ok(())
    }
}

/// The blocks that some bytes touch: number of the block, where in it, and which of the bytes.
fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = usize_of(at % BLOCK);
        let piece = (length - done).min(usize_of(BLOCK) - within);
        let place = done..done + piece;
        done += piece;
        (piece > 0).then_some((at / BLOCK, within, place))
    })
}

/// Of a number that is at most [`BLOCK`].
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a block fits into memory")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_file_stays_as_it_is() {
        let mut file = tempfile::tempfile().unwrap();
        let before: Vec<u8> = (0..10_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
        file.write_all(&before).unwrap();
        let overlay = Overlay::new(file.try_clone().unwrap()).unwrap();
        let read = |offset, length| {
            let mut bytes = vec![9; length];
            overlay.read(offset, &mut bytes).map(|()| bytes)
        };
        assert_eq!(read(4000, 300).unwrap(), before[4000..4300]);
        overlay.write(4090, &[1; 20]).unwrap();
        assert_eq!(
            read(4089, 22).unwrap(),
            [&[before[4089]], &[1; 20][..], &[before[4110]]].concat()
        );
        assert!(read(9_990, 11).is_err());
        overlay.set_len(4100).unwrap();
        overlay.set_len(9000).unwrap();
        assert_eq!(read(4099, 3).unwrap(), [1, 0, 0], "what was cut off comes back as zeros");
        let mut found = vec![0; 10_000];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(found, before);
    }
}
