//! What the node says about namespaces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cni_net::Netns;
use cni_proto::{AddRequest, Code, Error};
use ipam_core::NetnsRef;

/// The pod's namespace of an ADD or a CHECK, which is not `own`, the plugin's.
///
/// # Errors
///
/// Code 8: `CNI_NETNS` is no namespace, or the plugin's own.
pub fn netns_of(request: &AddRequest, own: &Netns) -> Result<Netns, Error> {
    let invalid = |msg: String| Error::new(Code::INVALID_NETNS, msg);
    let pod = Netns::open(&request.netns).map_err(|error| invalid(error.to_string()))?;
    if !request.netns_override && own.id() == pod.id() {
        let path = request.netns.display();
        return Err(invalid(format!("CNI_NETNS {path} is the plugin's own network namespace")));
    }
    Ok(pod)
}

/// The longest chain of symbolic links that is followed.
const MOST_LINKS: usize = 8;

/// A namespace as it is recognised later: by its inode and by its path, in which no symbolic link is
/// left. The links below `/proc` are none: they are the namespace itself.
pub(crate) fn reference(path: &Path) -> NetnsRef {
    NetnsRef {
        path: resolved(path, MOST_LINKS).unwrap_or_else(|| path.to_owned()).display().to_string(),
        inode: fs::metadata(path).ok().map(|metadata| metadata.ino()),
    }
}

fn resolved(path: &Path, most_links: usize) -> Option<PathBuf> {
    let folder = fs::canonicalize(path.parent()?).ok()?;
    let path = folder.join(path.file_name()?);
    match fs::read_link(&path) {
        Ok(target) if !path.starts_with("/proc") && most_links > 0 => {
            resolved(&folder.join(target), most_links - 1)
        }
        _ => Some(path),
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
        std::os::unix::fs::symlink("/proc/self/ns/net", folder.join("netns/own")).unwrap();
        assert_eq!(reference(&folder.join("link/own")), own);
        std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
        assert_eq!(reference(&folder.join("loop")).inode, None);
        assert_eq!(reference(Path::new("/nowhere/at/all")).path, "/nowhere/at/all");
        assert_eq!(reference(Path::new("/nowhere")).inode, None);
    }
}
