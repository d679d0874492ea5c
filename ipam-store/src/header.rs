//! What the first bytes of a database file say of its length.
//!
//! The database library makes its layout from the length of a file that was not closed, as ours never
//! are, and panics where pages are missing. The layout that it wrote last is in the header: redb's
//! design document, "File format", the super-header.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::durable::io_error;
use crate::error::Error;
use crate::private;

const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// Magic, flags, padding, and five numbers.
pub(crate) const LENGTH: usize = 32;

/// Fails if the file is shorter than it was when its header was written.
///
/// Only for a file in memory: on a disk a header can be there before the length after a loss of
/// power, and the library mends that.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    let damaged = |what: String| Error::Damaged { path: path.into(), what };
    let file = private::open(OpenOptions::new().read(true), path)?;
    let found = file.metadata().map_err(io_error("look at", path))?.len();
    let mut header = [0; LENGTH];
    let read = file.read_exact_at(&mut header, 0);
    if read.is_err() || !header.starts_with(MAGIC) {
        return Err(damaged("it has no header of a database".into()));
    }
    match claimed(&header) {
        Some(claimed) if claimed <= found => Ok(()),
        _ => Err(damaged(format!("it was cut, to {found} bytes"))),
    }
}

/// The length in bytes of the file that has this header; `None` if none can be so long.
pub(crate) fn claimed(header: &[u8; LENGTH]) -> Option<u64> {
    let number = |place: usize| {
        let bytes = header.get(12 + 4 * place..)?.first_chunk()?;
        Some(u64::from(u32::from_le_bytes(*bytes)))
    };
    let (page, region_header, region) = (number(0)?, number(1)?, number(2)?);
    let (full_regions, trailing) = (number(3)?, number(4)?);
    let full = full_regions.checked_mul(region_header + region)?;
    let last = if trailing > 0 { region_header + trailing } else { 0 };
    full.checked_add(last)?.checked_add(1)?.checked_mul(page)
}
