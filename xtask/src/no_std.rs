//! Proof that ipam-core, with all it depends on, needs no standard library.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::toolchain;
use crate::workspace;

const PACKAGE: &str = "ipam-core";

/// A target without std, if its core library is installed.
const BARE_TARGET: &str = "x86_64-unknown-none";

/// A crate that defines the panic handler itself. std defines one too, so rustc refuses to compile
/// it (E0152, duplicate lang item `panic_impl`) once anything that it loads has loaded std.
/// As an rlib it needs neither linker nor allocator, hence no unsafe code.
const PROOF: &str = r"#![no_std]

pub use ipam_core as subject;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
";

/// Compiles ipam-core where std would not compile; answers how.
///
/// # Errors
/// If it, or something that it depends on, needs std; the compiler has said what on stderr.
pub(crate) fn prove() -> Result<String> {
    if toolchain::has_target(BARE_TARGET)? {
        workspace::run(workspace::cargo().args(["build", "-p", PACKAGE, "--target", BARE_TARGET]))?;
        return Ok(format!("built for {BARE_TARGET}"));
    }
    // In the cache and not in the source tree: it is not of the workspace, so it has a lock file
    // of its own, which follows the workspace's.
    let folder = workspace::cache()?.join("no-std-proof");
    write(&folder, &workspace::root().join(PACKAGE))?;
    fs::copy(workspace::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    workspace::run(
        workspace::cargo()
            .args(["build", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(folder.join("target")),
    )?;
    Ok("a crate with its own panic handler compiles with it".to_owned())
}

fn write(folder: &Path, subject: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let subject = subject.to_str().context("the workspace's path is not UTF-8")?;
    let manifest = format!(
        "[package]\nname = \"no-std-proof\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [lib]\npath = \"lib.rs\"\n\n\
         [dependencies]\n{PACKAGE} = {{ path = {subject:?} }}\n\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("lib.rs"), PROOF)?;
    Ok(())
}
