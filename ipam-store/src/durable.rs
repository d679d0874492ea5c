//! Directories and whole files that survive loss of power.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::private;

/// Creates a directory with those above it, and syncs each into the one that holds it. One that is
/// there has to be this user's alone.
pub(crate) fn create_directory(directory: &Path) -> Result<(), Error> {
    private::guard(directory)?;
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io_error("create", directory))?;
    missing.iter().filter_map(|path| path.parent()).try_for_each(|parent| {
        // The parent of a relative path's first part is empty and means the current directory.
        let here = Path::new(".");
        sync_directory(if parent.as_os_str().is_empty() { here } else { parent })
    })
}

pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error("sync", directory))
}

/// Writes a file under another name and renames it: whoever finds it finds it whole.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let mut options = OpenOptions::new();
    let mut file = private::open(options.write(true).create(true).truncate(true), &draft)?;
    let written = file.write_all(contents).and_then(|()| file.sync_all());
    written.map_err(io_error("write", &draft))?;
    rename(&draft, path)
}

/// Renames a file that is synced already, within its directory.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(io_error("rename", from))?;
    to.parent().map_or(Ok(()), sync_directory)
}

/// Whether anything stands at `path`, a broken link included. Only "no such file" means no.
pub(crate) fn is_there(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("look for", path)(error)),
    }
}

pub(crate) fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::Io { operation, path: path.clone(), source }
}
