//! What a node has on its disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::node::Node;

/// The folders of a node that outlive a boot: `/var/lib` and `/etc/cni/net.d`.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// An empty one, which is removed with the node's lab.
    ///
    /// # Errors
    ///
    /// The folders cannot be made.
    pub fn of(node: &Node) -> Result<Self> {
        let disk = Self { folder: node.data_dir().join("disk") };
        fs::create_dir_all(disk.var_lib())?;
        fs::create_dir_all(disk.net_d())?;
        Ok(disk)
    }

    /// What is at `/var/lib`.
    pub fn var_lib(&self) -> PathBuf {
        self.folder.join("lib")
    }

    /// What is at `/etc/cni/net.d`.
    pub fn net_d(&self) -> PathBuf {
        self.folder.join("net.d")
    }

    /// All of it.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}
