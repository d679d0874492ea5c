//! The tests that touch the kernel, and which kernel each needs.
//!
//! Unit, property and process tests of other packages are not here: they run anywhere.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::executable::Executable;

/// Packages whose every file in `tests/` must be in [`TABLE`].
const PACKAGES: &[&str] = &["cni-net", "e2e"];

/// Tests that a part of their own runs, since they need more than their executable.
const OWN_PART: &[(&str, &str)] = &[("ipam-store", "two_builds")];

/// A kernel that tests can ask for; all need root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The running one, whatever it has.
    Host,
    /// The running one, if it lacks ipvlan; nowhere otherwise.
    HostWithoutIpvlan,
    /// One with ipvlan: the running one if it has it, else the virtual machine's.
    Ipvlan,
}

/// Package, file in its `tests/`, kernel.
const TABLE: &[(&str, &str, Kernel)] = &[
    ("cni-net", "addr", Kernel::Host),
    ("cni-net", "census", Kernel::Host),
    ("cni-net", "change", Kernel::Host),
    ("cni-net", "link", Kernel::Host),
    ("cni-net", "neighbour", Kernel::Host),
    ("cni-net", "netns", Kernel::Host),
    ("cni-net", "nftables", Kernel::Host),
    ("cni-net", "route", Kernel::Host),
    ("cni-net", "rule", Kernel::Host),
    ("cni-net", "segment", Kernel::Host),
    ("cni-net", "undo", Kernel::Host),
    ("cni-net", "veth", Kernel::Host),
    ("cni-net", "ipvlan_missing", Kernel::HostWithoutIpvlan),
    ("cni-net", "ipvlan", Kernel::Ipvlan),
    ("e2e", "coordinator", Kernel::Host),
    ("e2e", "coordinator_time", Kernel::Host),
    ("e2e", "delegate", Kernel::Host),
    ("e2e", "lab", Kernel::Host),
    ("e2e", "disk", Kernel::Host),
    ("e2e", "healing", Kernel::Host),
    ("e2e", "lost", Kernel::Host),
    ("e2e", "metadata", Kernel::Host),
    ("e2e", "parallel", Kernel::Host),
    ("e2e", "reboot", Kernel::Host),
    ("e2e", "rebuild", Kernel::Host),
    ("e2e", "recorded", Kernel::Host),
    ("e2e", "refusals", Kernel::Host),
    ("e2e", "stopped", Kernel::Host),
    ("e2e", "storm", Kernel::Host),
    ("e2e", "sync", Kernel::Host),
    ("e2e", "ipvlan_missing", Kernel::HostWithoutIpvlan),
    ("e2e", "chain", Kernel::Ipvlan),
    ("e2e", "conformance", Kernel::Ipvlan),
    ("e2e", "ecs", Kernel::Ipvlan),
    ("e2e", "ipvlan", Kernel::Ipvlan),
    ("e2e", "ipvlan_busy", Kernel::Ipvlan),
    ("e2e", "ipvlan_detect", Kernel::Ipvlan),
    ("e2e", "ipvlan_faults", Kernel::Ipvlan),
    ("e2e", "ipvlan_ipv6", Kernel::Ipvlan),
    ("e2e", "ipvlan_letter", Kernel::Ipvlan),
    ("e2e", "ipvlan_master", Kernel::Ipvlan),
    ("e2e", "ipvlan_time", Kernel::Ipvlan),
    ("e2e", "quickstart", Kernel::Ipvlan),
    ("e2e", "runtime_containerd", Kernel::Ipvlan),
    ("e2e", "runtime_podman", Kernel::Ipvlan),
    ("e2e", "runtime_rounds", Kernel::Ipvlan),
    ("e2e", "service", Kernel::Ipvlan),
];

/// Test executables by where they run.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// Any machine, without privileges.
    pub(crate) anywhere: Vec<Executable>,
    pub(crate) host: Vec<Executable>,
    pub(crate) host_without_ipvlan: Vec<Executable>,
    pub(crate) ipvlan: Vec<Executable>,
    /// Kernel tests that the table does not list; nobody knows where to run them.
    not_listed: Vec<String>,
    /// What the table lists and cargo has not built.
    not_built: Vec<String>,
}

impl Sorted {
    /// # Errors
    /// If a test and the table do not agree: no test may be left out in silence.
    pub(crate) fn complete(&self) -> Result<String> {
        if self.not_listed.is_empty() && self.not_built.is_empty() {
            return Ok("lists every kernel test".to_owned());
        }
        bail!(
            "xtask/src/kernel_tests.rs does not list [{}], and lists [{}] which do not exist",
            self.not_listed.join(", "),
            self.not_built.join(", ")
        )
    }
}

/// Sorts what cargo has built by the table.
pub(crate) fn sort(executables: Vec<Executable>) -> Sorted {
    sort_by(TABLE, executables)
}

fn sort_by(table: &[(&str, &str, Kernel)], executables: Vec<Executable>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut not_built: BTreeSet<_> =
        table.iter().map(|(package, target, _)| format!("{package}/{target}")).collect();
    for executable in executables {
        let (package, target) = (executable.package.as_str(), executable.target.as_str());
        if OWN_PART.contains(&(package, target)) {
            continue;
        }
        let entry = table
            .iter()
            .find(|entry| executable.kind == "test" && (entry.0, entry.1) == (package, target));
        if let Some((_, _, kernel)) = entry {
            not_built.remove(&executable.name());
            match kernel {
                Kernel::Host => sorted.host.push(executable),
                Kernel::HostWithoutIpvlan => sorted.host_without_ipvlan.push(executable),
                Kernel::Ipvlan => sorted.ipvlan.push(executable),
            }
        } else if executable.kind == "test" && PACKAGES.contains(&package) {
            sorted.not_listed.push(executable.name());
        } else {
            sorted.anywhere.push(executable);
        }
    }
    sorted.not_built = not_built.into_iter().collect();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAKE: &[(&str, &str, Kernel)] =
        &[("e2e", "lab", Kernel::Ipvlan), ("cni-net", "netns", Kernel::Host)];

    fn executable(package: &str, target: &str, kind: &str) -> Executable {
        let (package, target, kind) = (package.into(), target.into(), kind.into());
        Executable { package, target, kind, file: "/x".into(), folder: "/".into() }
    }

    fn complete() -> Vec<Executable> {
        vec![
            executable("e2e", "lab", "test"),
            executable("cni-net", "netns", "test"),
            // The library of the same name is no kernel test.
            executable("cni-net", "netns", "lib"),
            executable("ipam-core", "model", "test"),
        ]
    }

    #[test]
    fn each_goes_where_the_table_says_and_the_rest_anywhere() {
        let sorted = sort_by(FAKE, complete());
        assert!(sorted.complete().is_ok());
        let names = |list: &[Executable]| list.iter().map(Executable::name).collect::<Vec<_>>();
        assert_eq!(names(&sorted.ipvlan), ["e2e/lab"]);
        assert_eq!(names(&sorted.host), ["cni-net/netns"]);
        assert_eq!(names(&sorted.anywhere), ["cni-net (lib)", "ipam-core/model"]);
    }

    #[test]
    fn a_kernel_test_that_the_table_lacks_is_an_error() {
        let mut executables = complete();
        executables.push(executable("e2e", "forgotten", "test"));
        let problem = sort_by(FAKE, executables).complete().unwrap_err();
        assert!(problem.to_string().contains("[e2e/forgotten]"), "{problem}");
    }

    #[test]
    fn a_listed_test_that_is_gone_is_an_error() {
        let executables = complete().split_off(1);
        let problem = sort_by(FAKE, executables).complete().unwrap_err();
        assert!(problem.to_string().contains("[e2e/lab]"), "{problem}");
    }
}
