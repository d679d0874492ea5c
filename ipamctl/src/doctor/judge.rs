//! What that means, and what to do about it: computed from what was found, and nothing else.

use ipam_core::Family;

use super::examined::{Examined, Networkd, Place, Presence, Program};
use super::finding::Finding;

mod configurations;
mod database;

use configurations::configurations;
use database::{database, pools, pools_of};

/// What netlink's strict checking of dumps needs (Linux 4.20), major and minor.
const OLDEST_KERNEL: (u32, u32) = (4, 20);
/// The oldest that the tests run on.
const TESTED_KERNEL: (u32, u32) = (6, 1);
/// 2024: a clock before is not set.
const PLAUSIBLE_UNIX_SECONDS: u64 = 1_704_067_200;

/// Every finding, in the order in which one would mend them.
pub(super) fn judge(found: &Examined) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(kernel(found.kernel.as_deref()));
    modules(found, &mut findings);
    sysctls(found, &mut findings);
    managers(found, &mut findings);
    clock(found, &mut findings);
    plugins(found, &mut findings);
    findings.extend(found.places.iter().map(place));
    configurations(found, &mut findings);
    database(found, &mut findings);
    pools(found, &mut findings);
    findings
}

fn coordinated(found: &Examined) -> bool {
    found.configurations.iter().any(|it| it.coordinated)
}

fn kernel(release: Option<&str>) -> Finding {
    let check = "kernel";
    let Some(release) = release else {
        return Finding::warning(check, "its release cannot be read", "mount /proc");
    };
    let mut numbers = release.split(['.', '-', '+']).map(|it| it.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST_KERNEL {
        let (major, minor) = OLDEST_KERNEL;
        return Finding::problem(check, release, format!("install {major}.{minor} or later"));
    }
    if version < TESTED_KERNEL {
        let (major, minor) = TESTED_KERNEL;
        let remedy = format!("nothing before {major}.{minor} is tested: prefer a later one");
        return Finding::warning(check, release, remedy);
    }
    Finding::ok(check, release)
}

fn modules(found: &Examined, findings: &mut Vec<Finding>) {
    let needs_coordinator = coordinated(found);
    for (module, presence) in &found.modules {
        let check = format!("kernel has {module}");
        let load = format!("`modprobe {module}`");
        findings.push(match presence {
            Presence::There => Finding::ok(check, "built in or loaded"),
            Presence::Loadable => Finding::ok(check, "a module, loaded when it is needed"),
            Presence::Unknown => {
                let remedy = format!("see whether {load} says something");
                Finding::warning(check, "neither modules nor a configuration tell", remedy)
            }
            Presence::Missing => {
                let found = "no such module";
                let remedy = format!(
                    "{load}; Ubuntu has it in package linux-modules-extra-$(uname -r); else a \
                     kernel that has it"
                );
                if *module == "ipvlan" || needs_coordinator {
                    Finding::problem(check, found, remedy)
                } else {
                    // Only the coordinator needs the others.
                    Finding::ok(check, "no, and no configuration needs it")
                }
            }
        });
    }
}

fn sysctls(found: &Examined, findings: &mut Vec<Finding>) {
    let value = |key| found.sysctls.get(key).and_then(Option::as_deref);
    let has_v6 = pools_of(found).any(|pool| pool.family() == Family::V6);
    for (key, is_needed) in
        [("net/ipv4/ip_forward", true), ("net/ipv6/conf/all/forwarding", has_v6)]
    {
        let check = key.replace('/', ".");
        let Some(value) = value(key) else { continue };
        findings.push(if value == "0" && is_needed && coordinated(found) {
            let remedy = format!("`sysctl -w {check}=1`, and in /etc/sysctl.d for the next boot");
            Finding::problem(check, "0: nothing reaches a pod by its node", remedy)
        } else {
            Finding::ok(check, value)
        });
    }
    for key in ["net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter"] {
        let check = key.replace('/', ".");
        let Some(value) = value(key) else { continue };
        findings.push(if value == "1" && coordinated(found) {
            let remedy = format!(
                "`sysctl -w {check}=2` (or 0): strict filtering drops what comes in by another NIC \
                 than its answer leaves by"
            );
            Finding::warning(check, "1, strict", remedy)
        } else {
            Finding::ok(check, value)
        });
    }
}

fn managers(found: &Examined, findings: &mut Vec<Finding>) {
    if let Some(Networkd { manages_routes, manages_rules }) = found.networkd {
        for (setting, manages) in [
            ("ManageForeignRoutes", manages_routes),
            ("ManageForeignRoutingPolicyRules", manages_rules),
        ] {
            let check = format!("systemd-networkd {setting}");
            findings.push(if !manages {
                Finding::ok(check, "no")
            } else if coordinated(found) {
                let remedy = format!(
                    "put `[Network]` and `{setting}=no` into /etc/systemd/networkd.conf.d/\
                     node-ipam.conf and restart it, then `ipamctl repair`"
                );
                let found = "yes: a restart of it takes the coordinator's away";
                Finding::problem(check, found, remedy)
            } else {
                Finding::ok(check, "yes, and no configuration makes any on the node")
            });
        }
    }
    for file in &found.random_mac_files {
        let remedy = "remove MACAddressPolicy=random: the cloud knows a NIC by its MAC";
        let found = format!("{} says random", file.display());
        findings.push(Finding::problem("MACAddressPolicy", found, remedy));
    }
    if let Some(spares_veths) = found.network_manager_spares_veths {
        let check = "NetworkManager";
        findings.push(if spares_veths || !coordinated(found) {
            Finding::ok(check, "runs, and leaves the pods' links alone")
        } else {
            let remedy = "put `[keyfile]` and `unmanaged-devices=interface-name:veth*` into \
                          /etc/NetworkManager/conf.d/node-ipam.conf and reload it";
            Finding::warning(check, "runs, and may take the coordinator's veths over", remedy)
        });
    }
}

fn clock(found: &Examined, findings: &mut Vec<Finding>) {
    findings.push(if found.has_boot_id {
        Finding::ok("boot id", "can be read")
    } else {
        let remedy = "mount /proc: without it the leases of an earlier boot are not told apart";
        Finding::problem("boot id", "cannot be read", remedy)
    });
    if found.unix_seconds < PLAUSIBLE_UNIX_SECONDS {
        let remedy = "set the clock; only what people read depends on it";
        findings.push(Finding::warning("wall clock", "before 2024", remedy));
    } else {
        findings.push(Finding::ok("wall clock", "after 2024"));
    }
    findings.extend(found.has_room.map(|has_room| {
        if has_room {
            return Finding::ok("/run or /dev/shm in memory", "yes");
        }
        let remedy = "mount a tmpfs on /run: processes that wait are served one by one without";
        Finding::warning("/run or /dev/shm in memory", "no", remedy)
    }));
}

fn plugins(found: &Examined, findings: &mut Vec<Finding>) {
    let is_used = |name: &str| match name {
        "cni-coordinator" => coordinated(found),
        // cni-ipvlan has it inside.
        "cni-ipam" => found.configurations.iter().any(|it| it.plugin != "cni-ipvlan"),
        name => found.configurations.iter().any(|it| it.plugin == name),
    };
    for (name, program) in &found.plugins {
        let check = format!("plugin {name}");
        let install = "`cargo xtask install`, or copy the programs of one build together";
        findings.push(match program {
            None if is_used(name) => Finding::problem(check, "not in CNI_PATH", install),
            None => Finding::ok(check, "not in CNI_PATH, and no configuration has it"),
            Some(Program { path, answer: Err(reason) }) => {
                Finding::problem(check, format!("{}: {reason}", path.display()), install)
            }
            Some(Program { path, answer: Ok(version) }) if version != found.own_version => {
                let version = if version.is_empty() { "of no version" } else { version };
                let own = found.own_version;
                let found = format!("{} {version}, ipamctl {own}", path.display());
                Finding::warning(check, found, install)
            }
            Some(Program { path, answer: Ok(version) }) => {
                Finding::ok(check, format!("{} {version}", path.display()))
            }
        });
    }
}

fn place(place: &Place) -> Finding {
    let Place { path, mode, uid, is_link, is_directory } = place;
    let path = path.display();
    let check = format!("{path}");
    let wanted = if *is_directory { "0700" } else { "0600" };
    if *is_link {
        let remedy = "put the directory or file itself there: links are not followed";
        return Finding::problem(check, "a link", remedy);
    }
    let found = format!("mode {mode:04o}, owner {uid}");
    if *uid != 0 {
        return Finding::problem(check, found, format!("`chown root:root {path}`"));
    }
    let remedy = format!("`chmod {wanted} {path}`");
    match mode {
        others if others & 0o022 != 0 => Finding::problem(check, found, remedy),
        others if others & 0o077 != 0 && *is_directory => Finding::warning(check, found, remedy),
        _ => Finding::ok(check, found),
    }
}

#[cfg(test)]
mod tests;
