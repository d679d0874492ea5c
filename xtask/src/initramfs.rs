//! The first file system of the guest: busybox, modules, the start script and the request.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cpio::Archive;
use crate::kernel::Kernel;
use crate::request::Request;

/// Installed by the package busybox-static, so that it needs no library.
const BUSYBOX: &str = "/bin/busybox";

const INIT: &[u8] = include_bytes!("guest/init.sh");

/// What one start of the guest hands over to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handover<'a> {
    /// The xtask executable; the guest sees it at the same path.
    pub(crate) supervisor: &'a Path,
    /// What to run.
    pub(crate) request: &'a Request,
    /// A folder of the host that the guest may write to, if any.
    pub(crate) out: Option<&'a Path>,
}

/// Writes the initramfs for one start to `path`.
pub(crate) fn write(path: &Path, kernel: &Kernel, handover: Handover<'_>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for folder in ["bin", "dev", "proc", "sys", "lower", "upper", "root", "modules", "request"] {
        archive.folder(folder)?;
    }
    // The kernel opens the console for init before anything is mounted.
    archive.device("dev/console", 5, 1)?;
    archive.file("bin/busybox", 0o755, &read(Path::new(BUSYBOX))?)?;
    archive.file("init", 0o755, INIT)?;

    let mut order = String::new();
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), 0o644, &read(module)?)?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("modules.order", 0o644, order.as_bytes())?;

    archive.file("request/module-tree", 0o644, line(&kernel.module_tree)?.as_bytes())?;
    archive.file("request/supervisor", 0o644, line(handover.supervisor)?.as_bytes())?;
    archive.file("request/request.json", 0o644, &serde_json::to_vec(handover.request)?)?;
    if let Some(out) = handover.out {
        archive.file("request/out", 0o644, line(out)?.as_bytes())?;
    }
    archive.finish()?.flush()?;
    Ok(())
}

/// A path that a shell reads back as it is: `$(cat FILE)` drops newlines at its end.
fn line(path: &Path) -> Result<&str> {
    match path.to_str() {
        Some(text) if path.is_absolute() && !text.contains('\n') => Ok(text),
        _ => bail!("the guest needs an absolute UTF-8 path in one line, not {}", path.display()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_start_script_would_misread_is_refused() {
        assert_eq!(line(Path::new("/a b/c")).unwrap(), "/a b/c");
        assert!(line(Path::new("/a\n")).is_err());
        assert!(line(Path::new("a")).is_err());
    }
}
