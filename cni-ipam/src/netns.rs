//! What the node says about namespaces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ipam_core::NetnsRef;

/// A namespace as it is recognised later: by its inode and by its path, in which no symbolic link is
/// left but the last part, which for `/proc/PID/ns/net` is the namespace itself.
pub(crate) fn reference(path: &Path) -> NetnsRef {
    let resolved = path.parent().zip(path.file_name()).and_then(|(folder, name)| {
        let folder = fs::canonicalize(folder).ok()?;
        Some(folder.join(name))
    });
    NetnsRef {
        path: resolved.as_deref().unwrap_or(path).display().to_string(),
        inode: fs::metadata(path).ok().map(|metadata| metadata.ino()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_known_by_its_inode_and_its_resolved_path() {
        let own = reference(Path::new("/proc/self/ns/net"));
        let link = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(format!("net:[{}]", own.inode.unwrap()), link.to_string_lossy());
        assert_eq!(own.path, format!("/proc/{}/ns/net", std::process::id()));
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        fs::create_dir(folder.join("netns")).unwrap();
        std::os::unix::fs::symlink("netns", folder.join("link")).unwrap();
        let path = reference(&folder.join("link/pod")).path;
        assert_eq!(Path::new(&path), folder.join("netns/pod"));
        assert_eq!(reference(Path::new("/nowhere/at/all")).path, "/nowhere/at/all");
        assert_eq!(reference(Path::new("/nowhere")).inode, None);
    }
}
