//! The plugins that the end-to-end tests and the demo start.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::executable;
use crate::install::{self, PROGRAMS, Target};

/// The environment variable that tells them the folder with the plugins.
pub(crate) const FOLDER_VARIABLE: &str = "NODE_IPAM_BIN";

/// Their requests to the kernel fail where a test wants it, for the tests that sweep over all; and
/// the coordinator leaves out what a test names, to see what that is there for.
const FEATURES: [&str; 3] = [
    "cni-ipvlan/fault-injection",
    "cni-coordinator/fault-injection",
    "cni-coordinator/omit-ingredients",
];

/// Of the package e2e.
const DEMO: &str = "demo";

/// What is built with them, and the name that a test finds it by, beside what is installed.
const FAULTY: [(&str, &str); 2] =
    [("cni-ipvlan", "cni-ipvlan-faulty"), ("cni-coordinator", "cni-coordinator-faulty")];

/// Builds the plugins quickly, as a developer does, and the demo; answers that one's file, which is
/// in the folder with the plugins.
///
/// # Errors
/// If something does not compile; the compiler has said what on stderr.
pub(crate) fn build_with_demo() -> Result<PathBuf> {
    let mut arguments = selection();
    arguments.extend(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
    arguments.extend(["-p", "e2e", "--bin", DEMO]);
    let built = executable::build_binaries(&arguments)?;
    let demo = built.into_iter().find(|it| it.target == DEMO);
    Ok(demo.context("cargo built no demo")?.file)
}

/// Builds those that fail where a test wants it into `folder`, as a node gets the others: in an
/// emulated machine a static program starts in a third of the time of a dynamic one, and tests start
/// thousands.
///
/// # Errors
/// If something does not compile, or cannot be copied.
pub(crate) fn install_faulty(folder: &Path) -> Result<String> {
    let features = FEATURES.join(",");
    // All packages are selected, so that what they depend on has the same features as in the other
    // build and is there already.
    let mut arguments = selection();
    arguments.extend(["--features", &features]);
    arguments.extend(FAULTY.iter().flat_map(|(binary, _)| ["--bin", binary]));
    for program in install::build(&Target::choose()?, &arguments, FAULTY.len())? {
        let named = FAULTY.iter().find(|(binary, _)| program.ends_with(binary));
        let (_, name) = named.with_context(|| format!("{} is unknown", program.display()))?;
        install::place(&program, folder, name.as_ref(), 0o755)?;
    }
    Ok(FAULTY.map(|(_, name)| name).join(", "))
}

fn selection() -> Vec<&'static str> {
    PROGRAMS.iter().flat_map(|package| ["-p", package]).collect()
}
