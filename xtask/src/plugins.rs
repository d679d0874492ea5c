//! The plugin binaries that the end-to-end tests and the demo start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::executable;
use crate::kernel_tests::PLUGINS;

/// The environment variable that tells them the folder with the plugins.
pub(crate) const FOLDER_VARIABLE: &str = "NODE_IPAM_BIN";

/// A build of plugins that only tests start: features, and each binary with a name of its own, for
/// the folder's others are those that are installed.
type Variant = (&'static [&'static str], &'static [(&'static str, &'static str)]);

const VARIANTS: [Variant; 2] = [
    // Their requests to the kernel fail where a test wants it, for the tests that sweep over all.
    (
        &["cni-ipvlan/fault-injection", "cni-coordinator/fault-injection"],
        &[("cni-ipvlan", "cni-ipvlan-faulty"), ("cni-coordinator", "cni-coordinator-faulty")],
    ),
    // It leaves out what a test names, to see what that is there for.
    (&["cni-coordinator/omit-ingredients"], &[("cni-coordinator", "cni-coordinator-partial")]),
];

/// Builds the plugins; answers the folder that holds them.
pub(crate) fn build() -> Result<PathBuf> {
    // All packages are selected each time, so that what they depend on has the same features and is
    // built once.
    let selection: Vec<&str> = PLUGINS.iter().flat_map(|package| ["-p", package]).collect();
    // First, for cargo gives both builds of a plugin the same name, and the last stays.
    for (features, binaries) in VARIANTS {
        let features = features.join(",");
        let mut arguments = selection.clone();
        arguments.extend(["--features", &features]);
        arguments.extend(binaries.iter().flat_map(|(binary, _)| ["--bin", binary]));
        let built = executable::build_binaries(&arguments)?;
        for (binary, name) in binaries {
            let variant = built.iter().find(|it| it.target == *binary);
            let variant = &variant.with_context(|| format!("cargo built no {name}"))?.file;
            // By rename: one that runs cannot be written to.
            let copy = variant.with_file_name(format!("{name}.{}", std::process::id()));
            fs::copy(variant, &copy)?;
            fs::rename(&copy, variant.with_file_name(name))?;
        }
    }
    let built = executable::build_binaries(&selection)?;
    let folder = built.first().and_then(|plugin| plugin.file.parent());
    folder.map(Path::to_owned).context("cargo built no plugin")
}
