//! The network configurations, with the NICs that they name.

use std::collections::{BTreeMap, BTreeSet};

use crate::doctor::examined::{Configuration, Examined, Nic};
use crate::doctor::finding::Finding;

pub(super) fn configurations(found: &Examined, findings: &mut Vec<Finding>) {
    for (file, reason) in &found.broken_files {
        let remedy = "correct or remove it: some runtimes stop at a file that they cannot read";
        let found = format!("{}: {reason}", file.display());
        findings.push(Finding::warning("network configuration", found, remedy));
    }
    if found.configurations.is_empty() {
        let remedy = "write one (docs/runtimes.md), or name its directory with --net-dir";
        let text = "none uses these plugins";
        findings.push(Finding::warning("network configuration", text, remedy));
    }
    let mut files: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
    for it in &found.configurations {
        files.entry(&it.name).or_default().insert(&it.file);
    }
    for (name, files) in files {
        let check = format!("network {name}");
        let listed: Vec<_> = files.iter().map(|it| it.display().to_string()).collect();
        findings.push(if files.len() == 1 {
            Finding::ok(check, listed.join(", "))
        } else {
            let remedy = "give each a name of its own: addresses are held by this name";
            Finding::problem(check, format!("in {}", listed.join(" and ")), remedy)
        });
    }
    findings.extend(found.configurations.iter().map(keys));
    let ipvlan = || found.configurations.iter().filter(|it| it.plugin == "cni-ipvlan");
    let mut modes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for it in ipvlan() {
        findings.push(master(it, &found.nics));
        if let Some(nic) = nic_of(it, &found.nics) {
            modes.entry(&nic.name).or_default().insert(&it.mode);
        }
    }
    for (nic, modes) in modes {
        if modes.len() > 1 {
            let listed: Vec<_> = modes.into_iter().collect();
            let remedy = "give all configurations of a NIC one mode: the kernel has one per NIC";
            let check = format!("mode on {nic}");
            findings.push(Finding::problem(check, listed.join(" and "), remedy));
        }
    }
}

fn keys(configuration: &Configuration) -> Finding {
    let check = format!("keys of {} ({})", configuration.name, configuration.plugin);
    if configuration.unknown_keys.is_empty() {
        return Finding::ok(check, "all are known");
    }
    let found = format!("{}: without effect", configuration.unknown_keys.join(", "));
    Finding::warning(check, found, "correct or remove them: docs/config.md has every field")
}

fn nic_of<'a>(configuration: &Configuration, nics: &'a [Nic]) -> Option<&'a Nic> {
    let is_named = |nic: &&Nic, name: &str| nic.name == name || nic.mac.eq_ignore_ascii_case(name);
    let mut named = configuration.masters.iter();
    named.find_map(|name| nics.iter().find(|nic| is_named(nic, name)))
}

fn master(configuration: &Configuration, nics: &[Nic]) -> Finding {
    let check = format!("master of {}", configuration.name);
    if configuration.masters.is_empty() {
        return Finding::ok(check, "of the chain or the default route");
    }
    let named = configuration.masters.join(", ");
    let Some(nic) = nic_of(configuration, nics) else {
        let known: Vec<_> = nics.iter().map(|nic| nic.name.as_str()).collect();
        let remedy = format!("set `master` to one of {}", known.join(", "));
        return Finding::problem(check, format!("no link {named}"), remedy);
    };
    let Nic { name, up, mtu, port_of, .. } = nic;
    if let Some(port_of) = port_of {
        let remedy = format!("name {port_of}, or a NIC of its own");
        return Finding::problem(check, format!("{name} is a port of {port_of}"), remedy);
    }
    if !up {
        return Finding::problem(
            check,
            format!("{name} is down"),
            format!("`ip link set {name} up`"),
        );
    }
    if configuration.mtu > *mtu {
        let found = format!("{name} has MTU {mtu}, the configuration {}", configuration.mtu);
        return Finding::problem(
            check,
            found,
            format!("set `mtu` to at most {mtu}, or leave it out"),
        );
    }
    Finding::ok(check, format!("{name}, up, MTU {mtu}"))
}
