//! A small file system of a test's own: filled, made read-only, gone with the test.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::outcome::{Outcome, feed};

/// A file system that is mounted in a mount namespace of its own, which a process keeps that ends
/// with this one, even if this one is killed. Nobody else sees the mount.
#[derive(Debug)]
pub struct Volume {
    keeper: Child,
    folder: TempDir,
}

impl Volume {
    /// In memory, of `bytes` bytes.
    ///
    /// # Errors
    ///
    /// This is not root, or `unshare`, `nsenter` or `mount` is missing or refuses.
    pub fn tmpfs(bytes: u64) -> Result<Self> {
        let volume = Self::keep()?;
        volume.mount(&["-t", "tmpfs", "-o", &format!("size={bytes},mode=700"), "volume"])?;
        Ok(volume)
    }

    /// ext4 in an image of `bytes` bytes on a loop device.
    ///
    /// # Errors
    ///
    /// As [`Self::tmpfs`], or there is no loop device or no `mkfs.ext4`.
    pub fn ext4(bytes: u64) -> Result<Self> {
        let volume = Self::keep()?;
        let image = volume.folder.path().join("image");
        File::create(&image)?.set_len(bytes)?;
        let image = image.to_string_lossy().into_owned();
        // Without blocks that only root may use: the plugins are root.
        feed(Command::new("mkfs.ext4").args(["-q", "-m", "0", &image]), "")
            .and_then(Outcome::success)
            .context("mkfs.ext4")?;
        volume.mount(&["-o", "loop", &image])?;
        Ok(volume)
    }

    fn keep() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("mnt"))?;
        // As a slave: what others unmount, such as a named network namespace, is not kept here.
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "slave", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        // `cat` answers once it runs, and then it is in its namespace.
        keeper.stdin.as_mut().context("a pipe")?.write_all(b".")?;
        let said = keeper.stdout.as_mut().context("a pipe")?.read_exact(&mut [0]);
        let volume = Self { keeper, folder };
        said.context("unshare --mount (this needs root)")?;
        Ok(volume)
    }

    /// Its root, through the keeper: a path for everybody.
    pub fn path(&self) -> PathBuf {
        let mount = self.inside();
        let mount = mount.strip_prefix("/").unwrap_or(&mount);
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(mount)
    }

    fn inside(&self) -> PathBuf {
        self.folder.path().join("mnt")
    }

    /// Mounts it again with an option such as `ro`.
    ///
    /// # Errors
    ///
    /// `mount` refuses.
    pub fn remount(&self, option: &str) -> Result<()> {
        self.mount(&["-o", &format!("remount,{option}")])
    }

    fn mount(&self, arguments: &[&str]) -> Result<()> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.keeper.id());
        let mut command = Command::new("nsenter");
        command.args([&namespace, "mount"]).args(arguments).arg(self.inside());
        feed(&mut command, "").and_then(Outcome::success).context("mount (this needs root)")?;
        Ok(())
    }

    /// Takes all that is free, to the last byte, into one file. Answers how much there was.
    ///
    /// # Errors
    ///
    /// Any but that there is no space left.
    pub fn fill(&self) -> Result<u64> {
        let path = self.filler();
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(grab(&mut file)?)
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Writes until not one byte more fits.
fn grab(file: &mut File) -> io::Result<u64> {
    let mut taken = 0;
    loop {
        let more = append(file)?;
        if more == 0 {
            return Ok(taken);
        }
        taken += more;
        // What is promised and not allocated yet shows on the disk only now, in whichever way.
        if let Err(error) = file.sync_all()
            && error.kind() != io::ErrorKind::StorageFull
        {
            return Err(error);
        }
    }
}

/// Writes in ever smaller pieces until none fits.
fn append(file: &mut File) -> io::Result<u64> {
    let block = [0x2a; 8192];
    let (mut taken, mut length) = (0, block.len());
    while length > 0 {
        match file.write(&block[..length]) {
            Ok(written) => taken += written as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => length /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
