//! Ours and upstream's plugins, put to every rule of CNI on one node. As root, on a kernel with
//! ipvlan.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use e2e::conformance::{Stand, Subject, markdown};
use e2e::{Lab, plugin_dir, seed};

/// The document, from the root of the repository.
const DOCUMENT: &str = "docs/conformance.md";

/// How it is written anew, in a clone's root.
const WRITE: &str = "cargo build -p cni-ipam -p cni-ipvlan -p e2e && cargo xtask vm -- \
    target/debug/conformance --plugin-dir target/debug --against /usr/lib/cni --markdown > \
    /tmp/conformance.md; mv /tmp/conformance.md docs/conformance.md";

#[test]
fn ours_keep_every_rule_and_the_document_says_what_each_does() -> Result<()> {
    let subjects = [
        Subject::new(plugin_dir()?, "cni-ipvlan", "cni-ipam"),
        Subject::new("/usr/lib/cni", "ipvlan", "host-local"),
    ];
    let lab = Lab::start(&seed::one_node())?;
    let examined = Stand::new(&lab)?.examine(&subjects, &[])?;
    let faults = examined[0].faults();
    assert!(faults.is_empty(), "ours break rules:\n{}", faults.join("\n"));

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(DOCUMENT);
    let written = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let now = markdown(&examined);
    let differences = differences(&written, &now);
    assert!(
        written == now,
        "{DOCUMENT} is not what the plugins do; write it anew:\n{WRITE}\n{}",
        differences.join("\n")
    );
    Ok(())
}

/// The lines that only one of them has.
fn differences(written: &str, now: &str) -> Vec<String> {
    let lacks = |text: &str, line: &str| !text.lines().any(|other| other == line);
    let less = written.lines().filter(|line| lacks(now, line)).map(|line| format!("- {line}"));
    let more = now.lines().filter(|line| lacks(written, line)).map(|line| format!("+ {line}"));
    less.chain(more).collect()
}
