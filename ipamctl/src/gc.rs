//! `ipamctl gc`: frees what nobody will release any more, as the plugins do when a pool is full.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use ipam_core::{Facts, Lease, NetworkName, Policy, WhyFreed, reclaim};
use ipam_store::{Error, Store};
use serde_json::{Value, json};

use crate::answer::{Kind, write_object};
use crate::exit::Exit;
use crate::ips::{age, lease_object, or_none};
use crate::liveness::{Liveness, Node};
use crate::policy::Rules;
use crate::table::{Format, write_rows};

#[derive(Debug, clap::Args)]
pub(crate) struct Gc {
    /// Say what would be freed, and change nothing. Exit code 3 if there is something.
    #[arg(long)]
    dry_run: bool,

    /// How old a lease must be before its dead namespace frees it, as `ipam.graceSeconds`.
    #[arg(long, value_name = "SECONDS", default_value_t = cni_ipam::DEFAULT_GRACE_SECONDS)]
    grace_seconds: u64,

    /// The form of the answer: `wide` has what stays too; a table of what is freed when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,

    #[command(flatten)]
    rules: Rules,

    #[command(flatten)]
    node: Node,
}

/// A lease that was judged, and why it is freed or stays.
type Judged = (Lease, String);

const HEADER: [&str; 7] = ["IP", "POOL", "POD", "CONTAINER", "AGE", "DONE", "WHY"];

pub(crate) fn run(store: &Store, options: &Gc, out: &mut dyn Write) -> Result<ExitCode> {
    // Looked at before the leases are read: what is younger than the look stays.
    let liveness = Liveness::look(options.node, options.grace_seconds);
    let liveness = liveness.context("nothing was freed")?;
    let facts = liveness.facts();
    let leases = match store.contents() {
        Ok(contents) => contents.leases,
        Err(error @ Error::Missing { .. }) => return Err(error.into()),
        Err(error) => return Err(error).context("nothing was freed"),
    };
    let verdict = reclaim(&leases, facts);
    let kept: Vec<Judged> =
        verdict.kept.iter().map(|(lease, why)| ((*lease).clone(), why.to_string())).collect();
    let freed: Vec<Judged> = if options.dry_run {
        verdict.freed.iter().map(|(lease, why)| ((*lease).clone(), why.to_string())).collect()
    } else {
        let freed = free(store, facts, &verdict.freed, &options.rules)?;
        freed.into_iter().map(|(lease, why)| (lease, why.to_string())).collect()
    };
    tell(&freed, &kept, options, out)?;
    Ok(if options.dry_run && !freed.is_empty() { Exit::Found } else { Exit::Done }.into())
}

/// Frees the dead: how long an address rests then is the rule of the network that it was held in.
fn free(
    store: &Store,
    facts: &Facts,
    dead: &[(&Lease, WhyFreed)],
    rules: &Rules,
) -> Result<Vec<(Lease, WhyFreed)>> {
    // Read before anything is locked, and once for each network.
    let mut policies: BTreeMap<&NetworkName, Policy> = BTreeMap::new();
    for (lease, _) in dead {
        let network = &lease.attachment.network;
        if !policies.contains_key(network) {
            policies.insert(network, rules.of(network)?);
        }
    }
    let usual = Policy::default();
    let policy_of = |lease: &Lease| policies.get(&lease.attachment.network).unwrap_or(&usual);
    let mut freed = store.reclaim_with(facts, policy_of).context("nothing was freed")?;
    freed.sort_by_key(|(lease, _)| lease.address);
    Ok(freed)
}

fn tell(freed: &[Judged], kept: &[Judged], options: &Gc, out: &mut dyn Write) -> Result<()> {
    if let Some(format @ (Format::Json | Format::Yaml)) = options.output {
        let objects = |judged: &[Judged]| judged.iter().map(object).collect::<Vec<_>>();
        let fields = json!({
            "dryRun": options.dry_run,
            "graceSeconds": options.grace_seconds,
            "freed": objects(freed),
            "kept": objects(kept),
        });
        return write_object(Kind::Collection, fields, format, out);
    }
    let done = if options.dry_run { "would free" } else { "freed" };
    let now = ipam_store::now().unix_seconds;
    let mut rows: Vec<Vec<String>> = freed.iter().map(|judged| row(judged, done, now)).collect();
    if options.output == Some(Format::Wide) {
        rows.extend(kept.iter().map(|judged| row(judged, "kept", now)));
    }
    if !rows.is_empty() {
        write_rows(&HEADER, &rows, out)?;
    }
    let done = if options.dry_run { "would be freed" } else { "freed" };
    let stay = if options.dry_run { "would stay" } else { "stay" };
    writeln!(out, "{} addresses {done}, {} {stay}", freed.len(), kept.len())?;
    Ok(())
}

fn row((lease, why): &Judged, done: &str, now_unix_seconds: u64) -> Vec<String> {
    vec![
        lease.address.to_string(),
        lease.pool.to_string(),
        or_none(lease.pod.as_ref().map(ToString::to_string)),
        lease.attachment.container.as_str().chars().take(12).collect(),
        age(lease.since.unix_seconds, now_unix_seconds),
        done.to_owned(),
        why.clone(),
    ]
}

fn object((lease, why): &Judged) -> Value {
    let mut object = lease_object(lease);
    object["why"] = why.as_str().into();
    object
}
