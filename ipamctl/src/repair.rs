//! `ipamctl repair`: what the node needs to reach its pods, made again where somebody took it away.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use cni_coordinator::{
    DEFAULT_STATE_DIR, Mode, Site, VethPair, Wiring, apply_each, first_difference, host_steps,
    numbers,
};
use cni_net::Netlink;
use ipam_store::Wirings;

/// Rules, routes and neighbours of the node that lead to its pods. Daemons that manage the network,
/// as systemd-networkd and firewalld, delete what they did not make themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct Repair {
    /// Say what is missing and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// Take the node's rules away instead, once no pod needs them any more: before this plugin is
    /// uninstalled.
    #[arg(long)]
    remove: bool,

    /// Where the coordinator records what it made: `stateDir` of its configuration.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    state_dir: PathBuf,
}

pub(crate) fn run(options: &Repair, patience: Duration, out: &mut dyn Write) -> Result<()> {
    let mut outside = Netlink::open()?;
    let living = living(options, patience, &mut outside)?;
    if options.remove {
        return remove(options, &living, &mut outside, out);
    }
    let mut site = Site::open(None)?;
    let (mut missing, mut failed) = (0, 0);
    for step in host_steps(&living) {
        let step = std::slice::from_ref(&step);
        if first_difference(step, &mut site)?.is_none() {
            continue;
        }
        missing += 1;
        writeln!(out, "{}", step[0])?;
        if !options.dry_run {
            for text in apply_each(step, &mut site) {
                failed += 1;
                writeln!(out, "  {text}")?;
            }
        }
    }
    let interfaces = living.len();
    if failed > 0 {
        bail!("{failed} of {missing} missing parts of {interfaces} interfaces could not be made");
    }
    match (missing, options.dry_run) {
        (0, _) => writeln!(out, "ok: nothing is missing for {interfaces} interfaces")?,
        (_, true) => bail!("{missing} parts are missing for {interfaces} interfaces"),
        (_, false) => writeln!(out, "repaired: {missing} parts for {interfaces} interfaces")?,
    }
    Ok(())
}

/// What is recorded of pods that are still joined: whose link is there and is theirs. In overlay
/// mode the link is another plugin's, and its being there is all that can be known.
fn living(options: &Repair, patience: Duration, outside: &mut Netlink) -> Result<Vec<Wiring>> {
    let recorded = Wirings::new(&options.state_dir, patience).all()?;
    let links = outside.links()?;
    let mut living = Vec::new();
    for recorded in recorded {
        let wiring = Wiring::from_json(&recorded.document)?;
        let pair = VethPair::of(&wiring.attachment);
        let is_there = links.iter().any(|link| {
            link.name == wiring.host_link
                && (wiring.mode == Mode::Overlay
                    || link.alias.as_deref().is_some_and(|alias| pair.owns(alias)))
        });
        if is_there {
            living.push(wiring);
        }
    }
    Ok(living)
}

fn remove(
    options: &Repair,
    living: &[Wiring],
    outside: &mut Netlink,
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(wiring) = living.first() {
        let (count, first) = (living.len(), &wiring.attachment);
        bail!("{count} interfaces still need the node's rules, the first is {first}");
    }
    let ours = outside.rules()?.into_iter();
    for rule in ours.filter(|rule| rule.protocol == Some(numbers::PROTOCOL)) {
        writeln!(out, "removed: {rule}")?;
        if !options.dry_run {
            outside.delete_rule(&rule)?;
        }
    }
    Ok(())
}
