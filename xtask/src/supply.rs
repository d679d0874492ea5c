//! Where the code of others comes from and under which licence: `deny.toml`, without its advisories.
//!
//! `cargo deny check` does the same and more, but it takes minutes to build, and its advisories come
//! from a repository that the test machines do not reach. The terms are those of one file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::workspace;

const TERMS: &str = "deny.toml";

/// The workspaces, each with a lock file of its own.
const MANIFESTS: [&str; 3] =
    ["Cargo.toml", "fuzz/Cargo.toml", "ipam-store/previous-redb/Cargo.toml"];

/// The one registry, as cargo writes it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What `deny.toml` says, as far as it is checked here.
#[derive(Debug, Deserialize)]
struct Terms {
    licenses: Licenses,
    advisories: Advisories,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Advisories {
    ignore: Vec<Ignored>,
}

#[derive(Debug, Deserialize)]
struct Ignored {
    id: String,
    /// Begins with the name of the package that it is about.
    reason: String,
}

/// `cargo metadata`, format version 1.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Clone, Deserialize)]
struct Package {
    name: String,
    version: String,
    /// An SPDX expression, or what packages wrote before there was one.
    license: Option<String>,
    /// `None` for one of this repository.
    source: Option<String>,
}

/// Checks every package of every lock file.
///
/// # Errors
/// If one is from elsewhere or under another licence, or an ignored advisory has lost its reason.
pub(crate) fn check() -> Result<String> {
    let text = fs::read_to_string(workspace::root().join(TERMS)).context(TERMS)?;
    let terms: Terms = toml::from_str(&text).context(TERMS)?;
    let mut packages = BTreeMap::new();
    for manifest in MANIFESTS.iter().filter(|file| workspace::root().join(file).exists()) {
        for package in metadata(manifest)?.packages {
            packages.insert((package.name.clone(), package.version.clone()), package);
        }
    }
    let packages: Vec<Package> = packages.into_values().collect();
    let faults = faults(&terms, &packages);
    if faults.is_empty() {
        return Ok(format!("{} packages keep {TERMS}", packages.len()));
    }
    let mut text = format!("{TERMS} is not kept:");
    for fault in faults {
        let _ = write!(text, "\n  {fault}");
    }
    bail!(text)
}

fn metadata(manifest: &str) -> Result<Metadata> {
    let mut cargo = workspace::cargo();
    cargo.args(["metadata", "--locked", "--format-version", "1", "--manifest-path"]);
    cargo.arg(Path::new(manifest));
    let output = cargo.output().context("cargo metadata")?;
    if !output.status.success() {
        bail!("`{}`: {}", workspace::command_line(&cargo), String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("what cargo metadata said")
}

fn faults(terms: &Terms, packages: &[Package]) -> Vec<String> {
    let mut faults: Vec<String> = Vec::new();
    for package in packages {
        let Package { name, version, license, source } = package;
        if source.as_deref().is_some_and(|source| source != REGISTRY) {
            faults.push(format!("{name} {version} is from {}", source.as_deref().unwrap_or("")));
        }
        let Some(license) = license else {
            faults.push(format!("{name} {version} names no licence"));
            continue;
        };
        match Expression::parse_mode(license, ParseMode::LAX) {
            Err(error) => faults.push(format!("{name} {version}: {license:?}: {}", error.reason)),
            Ok(expression) => {
                let is_allowed = |requirement: &spdx::LicenseReq| {
                    terms.licenses.allow.iter().any(|allowed| *allowed == requirement.to_string())
                };
                if !expression.evaluate(is_allowed) {
                    faults.push(format!("{name} {version} is under {license}"));
                }
            }
        }
    }
    for Ignored { id, reason } in &terms.advisories.ignore {
        let subject = reason.split(' ').next().unwrap_or_default();
        if !packages.iter().any(|package| package.name == subject) {
            faults.push(format!("{id} is ignored, but no package is called {subject:?}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        toml::from_str(
            r#"[licenses]
               allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
               [advisories]
               ignore = [{ id = "RUSTSEC-1", reason = "old is unmaintained" }]"#,
        )
        .unwrap()
    }

    fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Package {
        let (license, source) = (license.map(str::to_owned), source.map(str::to_owned));
        Package { name: name.into(), version: "1.0.0".into(), license, source }
    }

    #[test]
    fn what_keeps_the_terms_is_no_fault() {
        let packages = [
            package("old", Some("MIT/Apache-2.0"), Some(REGISTRY)),
            package("either", Some("GPL-3.0-only OR MIT"), Some(REGISTRY)),
            package("excepted", Some("Apache-2.0 WITH LLVM-exception"), Some(REGISTRY)),
            package("ours", Some("Apache-2.0"), None),
        ];
        assert_eq!(faults(&terms(), &packages), Vec::<String>::new());
    }

    #[test]
    fn every_breach_is_named() {
        let packages = [
            package("copyleft", Some("GPL-3.0-only"), Some(REGISTRY)),
            package("both", Some("MIT AND GPL-3.0-only"), Some(REGISTRY)),
            package("silent", None, Some(REGISTRY)),
            package("strange", Some("as you like"), Some(REGISTRY)),
            package("git", Some("MIT"), Some("git+https://example.org/x")),
        ];
        let faults = faults(&terms(), &packages);
        for name in ["copyleft", "both", "silent", "strange", "git"] {
            assert!(faults.iter().any(|fault| fault.starts_with(name)), "{name}: {faults:?}");
        }
        assert!(faults.iter().any(|fault| fault.starts_with("RUSTSEC-1")), "{faults:?}");
        assert_eq!(faults.len(), 6);
    }
}
