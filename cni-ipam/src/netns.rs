//! What the node says about namespaces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ipam_core::NetnsRef;

/// A namespace by its path, with the inode by which it is recognised when the path is gone.
pub(crate) fn reference(path: &Path) -> NetnsRef {
    NetnsRef {
        path: path.display().to_string(),
        inode: fs::metadata(path).ok().map(|metadata| metadata.ino()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_known_by_its_inode() {
        let own = reference(Path::new("/proc/self/ns/net"));
        let link = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(format!("net:[{}]", own.inode.unwrap()), link.to_string_lossy());
        assert_eq!(reference(Path::new("/nowhere")).inode, None);
    }
}
