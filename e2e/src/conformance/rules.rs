//! The rules, by what they are about.

mod add;
mod check;
mod concurrency;
mod del;
mod delegation;
mod environment;
mod gc;
mod input;
mod output;
mod result;
mod status;
mod version;

use super::rule::Section;

/// Every rule, in the order of the table.
pub const SECTIONS: &[Section] = &[
    environment::SECTION,
    input::SECTION,
    output::SECTION,
    add::SECTION,
    delegation::SECTION,
    del::SECTION,
    check::SECTION,
    gc::SECTION,
    status::SECTION,
    concurrency::SECTION,
    version::SECTION,
    result::SECTION,
];

// Where the depth is, for the rules that several tests of this repository are about.
const CONVERSION: &str = "cni-proto/tests/conversion.rs";
const ENVIRONMENT: &str = "cni-proto/tests/protocol/environment.rs";
const FAULTS: &str = "e2e/tests/ipvlan_faults.rs";
const HEALING: &str = "e2e/tests/healing.rs";
const HOST_LOCAL: &str = "cni-ipam/tests/host_local/main.rs";
const INPUT: &str = "cni-proto/tests/protocol/input.rs";
const IPVLAN: &str = "e2e/tests/ipvlan.rs";
const IPVLAN_IPV6: &str = "e2e/tests/ipvlan_ipv6.rs";
const LETTER: &str = "e2e/tests/ipvlan_letter.rs";
const PANIC: &str = "cni-proto/tests/panic.rs";
const PARALLEL: &str = "e2e/tests/parallel.rs";
const PROTOCOL_VERSION: &str = "cni-proto/tests/protocol/version.rs";
const REFUSALS: &str = "e2e/tests/refusals.rs";
const SPEC: &str = "cni-proto/tests/protocol/spec.rs";
const STORM: &str = "e2e/tests/storm.rs";
const VERSIONS_OF_ERRORS: &str = PROTOCOL_VERSION;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn ids_and_probes_are_unique_and_the_tests_that_are_named_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (mut ids, mut probes) = (BTreeSet::new(), BTreeSet::new());
        for rule in SECTIONS.iter().flat_map(|section| section.rules) {
            assert!(ids.insert(rule.id), "{} is there twice", rule.id);
            if let Some(name) = rule.probe_name() {
                assert!(probes.insert(name), "{name} is there twice");
            } else {
                assert!(!rule.also.is_empty(), "{} is covered by nothing", rule.id);
            }
            for file in rule.also {
                assert!(root.join(file).exists(), "{}: {file} does not exist", rule.id);
            }
            assert!(!rule.says.contains(['|', '\n']), "{}: it goes into a table", rule.id);
        }
        for section in SECTIONS {
            for (number, rule) in section.rules.iter().enumerate() {
                assert!(rule.id.ends_with(&format!("-{}", number + 1)), "{}", rule.id);
            }
        }
    }
}
