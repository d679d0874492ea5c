//! `ipamctl repair`: what the node needs to reach its pods, made again where somebody took it away.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use cni_coordinator::{
    DEFAULT_STATE_DIR, Mode, Site, VethPair, Wiring, WiringError, apply_each, first_difference,
    host_steps, numbers,
};
use cni_net::Netlink;
use ipam_core::Attachment;
use ipam_store::Wirings;
use serde_json::{Value, json};

use crate::answer::{Answer, Kind};
use crate::explain::step_object;

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

    #[command(flatten)]
    answer: Answer,
}

pub(crate) fn run(options: &Repair, patience: Duration, out: &mut dyn Write) -> Result<()> {
    let mut outside = Netlink::open()?;
    let mut report = Report { options, missing: Vec::new(), unreadable: Vec::new() };
    let (living, unread) = living(&mut report, patience, &mut outside, out)?;
    if options.remove {
        let living = living.into_iter().map(|wiring| wiring.attachment);
        let living: Vec<_> = living.chain(unread).collect();
        return report.remove(&living, &mut outside, out);
    }
    let mut site = Site::open(None)?;
    let mut failed = 0;
    for step in host_steps(&living) {
        let step = std::slice::from_ref(&step);
        if first_difference(step, &mut site)?.is_none() {
            continue;
        }
        if options.answer.is_text() {
            writeln!(out, "{}", step[0])?;
        }
        let mut failures = Vec::new();
        if !options.dry_run {
            for text in apply_each(step, &mut site) {
                if options.answer.is_text() {
                    writeln!(out, "  {text}")?;
                }
                failures.push(text);
            }
        }
        failed += failures.len();
        let mut object = step_object(&step[0]);
        object["failures"] = failures.into();
        report.missing.push(object);
    }
    let interfaces = living.len();
    let missing = report.missing.len();
    report.give(Some(interfaces), &[], out)?;
    if failed > 0 {
        bail!("{failed} of {missing} missing parts of {interfaces} interfaces could not be made");
    }
    match (missing, options.dry_run) {
        _ if !options.answer.is_text() && (missing == 0 || !options.dry_run) => {}
        (0, _) => writeln!(out, "ok: nothing is missing for {interfaces} interfaces")?,
        (_, true) => bail!("{missing} parts are missing for {interfaces} interfaces"),
        (_, false) => writeln!(out, "repaired: {missing} parts for {interfaces} interfaces")?,
    }
    Ok(())
}

/// What is recorded of pods that are still joined: whose link is there and is theirs. In overlay
/// mode the link is another plugin's, and its being there is all that can be known. Behind that,
/// whose record cannot be read although they may be joined: another program wrote it.
fn living(
    report: &mut Report<'_>,
    patience: Duration,
    outside: &mut Netlink,
    out: &mut dyn Write,
) -> Result<(Vec<Wiring>, Vec<Attachment>)> {
    let recorded = Wirings::new(&report.options.state_dir, patience).all()?;
    let links = outside.links()?;
    let (mut living, mut unread) = (Vec::new(), Vec::new());
    for recorded in recorded {
        let pair = VethPair::of(&recorded.attachment);
        let is_there = |name: &str, is_others: bool| {
            links.iter().any(|link| {
                let owns = || link.alias.as_deref().is_some_and(|alias| pair.owns(alias));
                link.name == name && (is_others || owns())
            })
        };
        match Wiring::from_json(&recorded.document) {
            Ok(wiring) => {
                if is_there(&wiring.host_link, wiring.mode == Mode::Overlay) {
                    living.push(wiring);
                }
            }
            Err(error) => {
                report.unreadable(&recorded.attachment, &error, out)?;
                if is_there(&pair.host, false) {
                    unread.push(recorded.attachment);
                }
            }
        }
    }
    Ok((living, unread))
}

/// What is told of it, as it happens or at the end.
struct Report<'a> {
    options: &'a Repair,
    missing: Vec<Value>,
    unreadable: Vec<Value>,
}

impl Report<'_> {
    fn unreadable(
        &mut self,
        attachment: &Attachment,
        error: &WiringError,
        out: &mut dyn Write,
    ) -> Result<()> {
        let (record, why) = (attachment.to_string(), error.to_string());
        if self.options.answer.is_text() {
            writeln!(out, "{record}: {why}")?;
        }
        self.unreadable.push(json!({ "record": record, "why": why }));
        Ok(())
    }

    fn remove(
        self,
        living: &[Attachment],
        outside: &mut Netlink,
        out: &mut dyn Write,
    ) -> Result<()> {
        if let Some(first) = living.first() {
            let count = living.len();
            bail!("{count} interfaces still need the node's rules, the first is {first}");
        }
        let ours = outside.rules()?.into_iter();
        let mut removed = Vec::new();
        for rule in ours.filter(|rule| rule.protocol == Some(numbers::PROTOCOL)) {
            if self.options.answer.is_text() {
                writeln!(out, "removed: {rule}")?;
            }
            if !self.options.dry_run {
                outside.delete_rule(&rule)?;
            }
            removed.push(rule.to_string());
        }
        self.give(None, &removed, out)
    }

    fn give(
        self,
        interfaces: Option<usize>,
        removed: &[String],
        out: &mut dyn Write,
    ) -> Result<()> {
        let Self { options, missing, unreadable } = self;
        let fields = || {
            json!({
                "dryRun": options.dry_run,
                "interfaces": interfaces,
                "missing": missing,
                "unreadable": unreadable,
                "removedRules": removed,
            })
        };
        options.answer.give(Kind::Repair, fields, out)
    }
}
