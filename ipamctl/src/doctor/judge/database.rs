//! The database, and its pools with the configurations that are to use them.

use ipam_core::Pool;

use crate::doctor::examined::{Database, Examined, NoDatabase};
use crate::doctor::finding::Finding;

fn readable(found: &Examined) -> Option<&Database> {
    found.database.as_ref()?.as_ref().ok()
}

pub(super) fn pools_of(found: &Examined) -> impl Iterator<Item = &Pool> {
    readable(found).into_iter().flat_map(|database| &database.pools).map(|found| &found.pool)
}

pub(super) fn database(found: &Examined, findings: &mut Vec<Finding>) {
    let check = "database";
    let database = match &found.database {
        None => return,
        Some(Err(NoDatabase::NeverMade(text))) => {
            let remedy = "`ipamctl apply` or `ipamctl sync`";
            return findings.push(Finding::problem(check, text, remedy));
        }
        Some(Err(NoDatabase::Busy(text))) => {
            let remedy = "look at that process (docs/operations.md, \"Somebody holds the lock\")";
            return findings.push(Finding::warning(check, text, remedy));
        }
        Some(Err(NoDatabase::Unusable(text))) => {
            let remedy = "docs/operations.md has this message, and what to do";
            return findings.push(Finding::problem(check, text, remedy));
        }
        Some(Ok(database)) => database,
    };
    if let Some(first) = database.faults.first() {
        let text = format!("{} faults, the first: {first}", database.faults.len());
        let remedy = "`ipamctl verify --repair`, else `ipamctl rebuild`";
        return findings.push(Finding::problem(check, text, remedy));
    }
    let Database { pools, leases, revision, held_fences, .. } = database;
    let text = format!("{} pools, {leases} leases, revision {revision}", pools.len());
    findings.push(Finding::ok(check, text));
    match &found.dead_leases {
        None => {}
        Some(Ok(0)) => findings.push(Finding::ok("leases of dead namespaces", "none")),
        Some(Ok(count)) => {
            let remedy = "nothing at once: they are freed when a pool is full, and by a GC";
            let check = "leases of dead namespaces";
            findings.push(Finding::warning(check, count.to_string(), remedy));
        }
        Some(Err(reason)) => {
            let remedy = "run it as root in the node's own namespaces";
            findings.push(Finding::warning("leases of dead namespaces", reason, remedy));
        }
    }
    findings.push(if *held_fences == 0 {
        Finding::ok("held addresses that the cloud took back", "none")
    } else {
        let remedy =
            "`ipamctl get reserved` names them: give them back to the NIC, or end the pods";
        let check = "held addresses that the cloud took back";
        Finding::problem(check, held_fences.to_string(), remedy)
    });
}

pub(super) fn pools(found: &Examined, findings: &mut Vec<Finding>) {
    let Some(database) = readable(found) else { return };
    let is_here = |pool: &Pool| {
        let here = |node: &str| pool.nodes().iter().any(|it| it.as_str() == node);
        pool.nodes().is_empty() || found.node.as_deref().is_some_and(here)
    };
    for it in database.pools.iter().filter(|it| is_here(&it.pool)) {
        let check = format!("pool {}", it.pool.name());
        let free = it.size.saturating_sub(u128::from(it.taken));
        let text = format!("{free} of {} addresses free", it.size);
        let wanted = it.pool.networks();
        let used = found.configurations.iter().filter_map(|it| it.network.as_ref());
        let is_used = wanted.is_empty()
            || used.into_iter().any(|it| wanted.iter().any(|wanted| wanted.matches(it)));
        findings.push(if it.pool.is_disabled() {
            Finding::ok(check, "disabled")
        } else if !is_used && !found.configurations.is_empty() {
            let names: Vec<_> = wanted.iter().map(ToString::to_string).collect();
            let text = format!("no configuration is of network {}", names.join(" or "));
            let remedy = "set `ipam.network` of a configuration, or the pool's multusName";
            Finding::warning(check, text, remedy)
        } else if free == 0 {
            let remedy = "add addresses, or wait for some to be released (`ipamctl get ips`)";
            Finding::warning(check, text, remedy)
        } else {
            Finding::ok(check, text)
        });
    }
    for it in &found.configurations {
        let Some(network) = &it.network else { continue };
        let serves = |pool: &&Pool| {
            let networks = pool.networks();
            is_here(pool)
                && !pool.is_disabled()
                && (networks.is_empty() || networks.iter().any(|wanted| wanted.matches(network)))
        };
        let serving = pools_of(found).filter(serves).count();
        let check = format!("pools for network {network}");
        findings.push(if serving == 0 {
            let node = found.node.as_deref().unwrap_or("this node");
            let remedy = "`ipamctl get pools -o wide` shows whom they are for; apply one for both";
            Finding::problem(check, format!("none on {node}"), remedy)
        } else {
            Finding::ok(check, serving.to_string())
        });
    }
}
