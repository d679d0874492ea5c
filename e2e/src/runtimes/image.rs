//! A container image made of busybox, from no registry.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::outcome::{Outcome, feed};

/// The image's name.
pub const IMAGE: &str = "localhost/busybox:1";

/// Statically linked, of Debian's busybox-static.
const BUSYBOX: &str = "/usr/bin/busybox";

/// The names under which it is in the image.
const APPLETS: [&str; 7] = ["cat", "ip", "nc", "ping", "sh", "sleep", "true"];

/// An archive as `docker save` writes it, which podman loads and containerd imports: one layer,
/// with a command that does nothing, as of a pod's pause container.
#[derive(Debug)]
pub struct Image {
    folder: TempDir,
}

impl Image {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// busybox, `tar` or `sha256sum` is missing.
    pub fn make() -> Result<Self> {
        let image = Self { folder: tempfile::tempdir()? };
        let (root, bin) = (image.file("root"), image.file("root/bin"));
        fs::create_dir_all(&bin)?;
        fs::copy(BUSYBOX, bin.join("busybox")).context(BUSYBOX)?;
        for applet in APPLETS {
            symlink("busybox", bin.join(applet))?;
        }
        tar(&root, &image.file("layer.tar"), &["."])?;
        let digest = sha256(&image.file("layer.tar"))?;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Cmd": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
            "history": [{ "created_by": "busybox" }],
        });
        fs::write(image.file("config.json"), config.to_string())?;
        let manifest = json!([
            { "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] },
        ]);
        fs::write(image.file("manifest.json"), manifest.to_string())?;
        let parts = ["config.json", "layer.tar", "manifest.json"];
        tar(image.folder.path(), &image.archive(), &parts)?;
        Ok(image)
    }

    /// The archive's file.
    pub fn archive(&self) -> PathBuf {
        self.file("image.tar")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn tar(folder: &Path, archive: &Path, members: &[&str]) -> Result<()> {
    let mut command = Command::new("tar");
    command.arg("-C").arg(folder).arg("-cf").arg(archive).args(["--owner=0", "--group=0"]);
    feed(command.args(members), "").and_then(Outcome::success).context("tar").map(drop)
}

fn sha256(file: &Path) -> Result<String> {
    let said = feed(Command::new("sha256sum").arg(file), "")?.success().context("sha256sum")?;
    Ok(said.split_whitespace().next().context("sha256sum says a digest")?.to_owned())
}
