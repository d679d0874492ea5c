//! What the targets share: folders of files that an input is made into.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Between the parts of an input that is several texts.
const BETWEEN: &[u8] = b"\n%%\n";

/// The parts of an input.
pub fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let whole = rest?;
        let end = whole.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        rest = end.map(|end| &whole[end + BETWEEN.len()..]);
        Some(end.map_or(whole, |end| &whole[..end]))
    })
}

/// The first line of a part, as far as it is a text, and what follows.
pub fn headed(part: &[u8]) -> (&str, &[u8]) {
    let (head, rest) = match part.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&part[..end], &part[end + 1..]),
        None => (part, &b""[..]),
    };
    (str::from_utf8(head).unwrap_or_default(), rest)
}

/// A folder in memory that lasts as long as this.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// An empty one, for this user alone.
    ///
    /// # Panics
    /// If none can be made: then nothing can be tested.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        Self(TempDir::with_prefix_in("node-ipam-fuzz-", place).expect("a folder"))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file in it, with the folders that lead there; `None` if it can have no such name.
    ///
    /// # Panics
    /// If nothing can be written there at all.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Option<PathBuf> {
        let is_name = |part: &str| {
            !matches!(part, "" | "." | "..") && part.len() < 255 && !part.contains('\0')
        };
        if name.len() > 1024 || !name.split('/').all(is_name) {
            return None;
        }
        let path = self.path().join(name);
        let parent = path.parent().expect("it is in the folder");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).ok()?;
        if path.is_dir() {
            return None;
        }
        fs::write(&path, bytes).expect("a file in our folder");
        Some(path)
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}
