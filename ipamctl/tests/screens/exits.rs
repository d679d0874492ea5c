//! The exit codes that are documented are those that are given.

use crate::fixture::{Fixture, stderr};
use crate::metadata::Metadata;

fn code(fixture: &Fixture, arguments: &[&str]) -> i32 {
    let output = fixture.run(arguments);
    output.status.code().unwrap_or_else(|| panic!("{arguments:?}: {}", stderr(&output)))
}

fn of_sync(fixture: &Fixture, metadata: &Metadata) -> i32 {
    let arguments = metadata.sync();
    code(fixture, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_documented_code_is_given() {
    let fixture = Fixture::new();
    assert_eq!(code(&fixture, &["verify"]), 0);
    assert_eq!(code(&fixture, &["--help"]), 0);
    assert_eq!(code(&fixture, &["show", "pool", "no"]), 1);
    assert_eq!(code(&fixture, &["show"]), 2);
    assert_eq!(code(&fixture, &["get", "pools", "--no-such"]), 2);
    assert_eq!(code(&fixture, &["gc", "--dry-run", "--node-in-container"]), 3);
    assert_eq!(code(&fixture, &["gc", "--node-in-container"]), 0);
    let empty = fixture.path("root").display().to_string();
    assert_eq!(code(&fixture, &["doctor", "--root", &empty]), 3);

    // Two addresses, one of which a pod holds when the cloud takes it away.
    let both = Metadata::of(r#","10.7.0.9","10.7.0.10""#);
    assert_eq!(of_sync(&fixture, &both), 0);
    let pools = fixture.store().contents().unwrap().pools;
    let made = pools.iter().find(|pool| pool.claims(crate::fixture::ip("10.7.0.9"))).unwrap();
    let lease = crate::fixture::lease("10.7.0.9", made.name().as_str(), Some("web-7"), None);
    assert_eq!(fixture.store().adopt(&[lease], |_| false).unwrap(), []);
    assert_eq!(of_sync(&fixture, &Metadata::of(r#","10.7.0.10""#)), 4);

    // A pool of a person has one of them.
    let other = Fixture::new();
    let yaml = "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\n\
        metadata: {name: mine}\nspec: {subnet: 10.7.0.0/24, ips: [10.7.0.9]}\n";
    let file = other.write("mine.yaml", yaml);
    other.shown(&["apply", "-f", &file, "--no-node-scan"]);
    assert_eq!(of_sync(&other, &both), 3);
}

#[test]
fn help_manual_and_documentation_say_the_codes() {
    let fixture = Fixture::new();
    let help = fixture.shown(&["--help"]);
    let page = fixture.shown(&["man"]);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let documented = std::fs::read_to_string(root.join("../docs/operations.md")).unwrap();
    for code in ["0", "1", "2", "3", "4"] {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {code}  "))), "{help}");
        assert!(documented.contains(&format!("\n| {code} | ")), "{code}");
    }
    assert!(page.contains("Exit codes"), "{page}");
}
