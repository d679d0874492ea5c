//! A Debian kernel with ipvlan, in the cache: downloaded and unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{modules, packages, workspace};

/// The package that depends on the newest kernel image of the release.
///
/// Its sibling `linux-image-cloud-amd64` is smaller but has no 9p.
const META_PACKAGE: &str = "linux-image-amd64";

/// An unpacked kernel whose wanted modules are all there.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// As `uname -r` prints it in the guest.
    pub(crate) version: String,
    /// The image that QEMU boots.
    pub(crate) image: PathBuf,
    /// `lib/modules/VERSION`, for modprobe in the guest.
    pub(crate) module_tree: PathBuf,
    /// Module files to load at boot, dependencies first.
    pub(crate) modules: Vec<PathBuf>,
}

/// The newest usable kernel of the cache; without one, fetches it and says so on stderr.
///
/// # Errors
/// If the archive cannot be reached, or its kernel lacks a module that the guest needs.
pub(crate) fn ensure() -> Result<Kernel> {
    let shelf = workspace::cache()?.join("kernel");
    fs::create_dir_all(&shelf).with_context(|| format!("cannot create {}", shelf.display()))?;
    let mut present = folders_of(&shelf)?;
    present.sort_by_key(|folder| version_key(&folder.to_string_lossy()));
    for folder in present.iter().rev() {
        match open(folder) {
            Ok(kernel) => return Ok(kernel),
            Err(problem) => {
                eprintln!(
                    "xtask: {} is broken and will be made anew: {problem:#}",
                    folder.display()
                );
                fs::remove_dir_all(folder)
                    .with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        }
    }
    fetch(&shelf)
}

/// Downloads and unpacks beside the final place, then renames: a name on the shelf is complete.
fn fetch(shelf: &Path) -> Result<Kernel> {
    let package = newest_package()?;
    let unfinished = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(shelf)?;
    eprintln!("xtask: downloading {package} (about 70 MB) into {}", shelf.display());
    workspace::run(
        packages::apt_get()
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download", &package])
            .current_dir(unfinished.path()),
    )?;
    let archive = deb_in(unfinished.path())?;
    let tree = unfinished.path().join("tree");
    eprintln!("xtask: unpacking {package}");
    workspace::run(Command::new("dpkg").arg("-x").arg(&archive).arg(&tree).stdin(Stdio::null()))?;
    let version = version_in(&tree)?;
    // The package leaves modules.dep to its installation script.
    workspace::run(Command::new("depmod").arg("-b").arg(&tree).arg(&version))?;
    open(&tree).with_context(|| format!("{package} cannot be used"))?;

    let folder = shelf.join(&package);
    if let Err(problem) = fs::rename(&tree, &folder)
        && !folder.exists()
    {
        // Another xtask that was quicker has put the same kernel there; any other reason counts.
        return Err(problem).with_context(|| format!("cannot create {}", folder.display()));
    }
    open(&folder)
}

/// Reads an unpacked kernel package.
fn open(folder: &Path) -> Result<Kernel> {
    let version = version_in(folder)?;
    let image = folder.join("boot").join(format!("vmlinuz-{version}"));
    let module_tree = folder.join("lib/modules").join(&version);
    let modules = modules::load_order(folder, &version)?;
    for file in modules.iter().chain([&image]) {
        let length = fs::metadata(file).with_context(|| format!("no {}", file.display()))?.len();
        if length == 0 {
            bail!("{} is empty", file.display());
        }
    }
    Ok(Kernel { version, image, module_tree, modules })
}

/// The kernel image package that apt's lists call the newest, fetching them if they are empty.
fn newest_package() -> Result<String> {
    if let Some(package) = depended_on()? {
        return Ok(package);
    }
    if rustix::process::geteuid().is_root() {
        packages::update()?;
    }
    depended_on()?.with_context(|| format!("apt knows no {META_PACKAGE}: run apt-get update"))
}

fn depended_on() -> Result<Option<String>> {
    let output = Command::new("apt-cache")
        .args(["depends", META_PACKAGE])
        .stdin(Stdio::null())
        .output()
        .context("cannot start apt-cache: the kernel comes from a Debian archive")?;
    Ok(image_package_in(&String::from_utf8_lossy(&output.stdout)))
}

/// The newest kernel image among the lines of `apt-cache depends`.
fn image_package_in(depends: &str) -> Option<String> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|package| package.starts_with("linux-image-") && package.ends_with("-amd64"))
        .max_by_key(|package| version_key(package))
        .map(str::to_owned)
}

/// The numbers of a name in order, so that 6.1.0-9 sorts before 6.1.0-10.
fn version_key(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn version_in(folder: &Path) -> Result<String> {
    let versions = folders_of(&folder.join("lib/modules"))?;
    match versions.as_slice() {
        [only] => Ok(only.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        _ => bail!("expected one version in {}/lib/modules", folder.display()),
    }
}

fn deb_in(folder: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            return Ok(path);
        }
    }
    bail!("apt-get download succeeded but left no .deb in {}", folder.display())
}

/// The folders in `parent`, without hidden ones (unfinished downloads).
fn folders_of(parent: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in
        fs::read_dir(parent).with_context(|| format!("cannot list {}", parent.display()))?
    {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_image_is_chosen_by_number() {
        let depends = "linux-image-amd64\n  Depends: linux-image-6.1.0-9-amd64\n  \
                       Depends: linux-image-6.1.0-56-amd64\n  Suggests: linux-image-7.0-amd64\n";
        assert_eq!(image_package_in(depends).as_deref(), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(image_package_in("linux-image-amd64\n"), None);
    }

    #[test]
    fn a_tree_with_an_empty_image_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lib/modules/6.1.0")).unwrap();
        assert!(open(folder.path()).is_err());
    }

    #[test]
    fn unfinished_downloads_are_not_on_the_shelf() {
        let shelf = tempfile::tempdir().unwrap();
        fs::create_dir(shelf.path().join(".unfinished-1")).unwrap();
        fs::create_dir(shelf.path().join("linux-image-6.1.0-56-amd64")).unwrap();
        let present = folders_of(shelf.path()).unwrap();
        assert_eq!(present, [shelf.path().join("linux-image-6.1.0-56-amd64")]);
    }
}
