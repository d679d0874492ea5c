//! Files that others wrote: neither a pipe nor one without an end may stop who reads them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// All bytes of a regular file, or of the one that a link leads to, of at most `longest` bytes.
///
/// # Errors
/// What the kernel says, or in words that it is no regular file or longer; the file is not named.
pub fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    if file.take(longest + 1).read_to_end(&mut bytes)? as u64 > longest {
        return Err(io::Error::other(format!("it is longer than {longest} bytes")));
    }
    Ok(bytes)
}
