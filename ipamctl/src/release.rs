//! `ipamctl release`: frees by hand what a runtime does not.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;

use anyhow::{Result, bail};
use ipam_core::{Attachment, Lease};
use ipam_store::Store;
use serde_json::{Value, json};

use crate::answer::{Kind, write_object};
use crate::holder;
use crate::inventory::left_of_rests;
use crate::ips::{age, is_pod, lease_object};
use crate::liveness::{Life, Liveness, Node};
use crate::plain;
use crate::policy::Rules;
use crate::progress::Progress;
use crate::table::Format;

#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// What the holder of this address holds.
    #[arg(
        value_name = "ADDRESS",
        required_unless_present_any = ["container", "pod"],
        conflicts_with_all = ["container", "pod"],
    )]
    address: Option<IpAddr>,

    /// What this container holds.
    #[arg(long, value_name = "ID", conflicts_with = "pod")]
    container: Option<String>,

    /// What this pod holds, in all of its sandboxes.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,

    /// Only in this network.
    #[arg(long, value_name = "NAME", conflicts_with = "address")]
    network: Option<String>,

    /// Only on this interface.
    #[arg(long, value_name = "NAME", conflicts_with = "address")]
    ifname: Option<String>,

    /// Although the holder lives, or that cannot be told.
    #[arg(long)]
    force: bool,

    /// Say what would be freed, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// The form of the answer; lines of text when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,

    #[command(flatten)]
    rules: Rules,

    #[command(flatten)]
    node: Node,
}

pub(crate) fn run(store: &Store, options: &Release, out: &mut dyn Write) -> Result<()> {
    let contents = store.contents()?;
    let attachments: BTreeSet<&Attachment> = contents
        .leases
        .iter()
        .filter(|lease| options.names(lease))
        .map(|lease| &lease.attachment)
        .collect();
    // With all that they hold: a release frees the addresses of both families.
    let leases: Vec<&Lease> =
        contents.leases.iter().filter(|lease| attachments.contains(&lease.attachment)).collect();
    if leases.is_empty() {
        let now = ipam_store::now();
        let rests = left_of_rests(&contents, &now);
        let resting = rests.iter().find(|resting| Some(resting.address) == options.address);
        match (options.address, resting) {
            (Some(address), Some(resting)) => {
                let seconds = resting.rest.until.seconds_since(now.moment);
                bail!("nobody holds {address}: {}, for {seconds} s more", resting.rest)
            }
            (Some(address), None) => bail!("nobody holds {address}"),
            (None, _) => bail!("nothing that is held fits: `ipamctl get ips` shows what is held"),
        }
    }
    let liveness = Liveness::look(options.node, 0);
    let lives: Vec<Option<Life>> =
        leases.iter().map(|lease| liveness.as_ref().ok().map(|it| it.of(lease))).collect();
    if !options.force && !options.dry_run {
        if let Err(error) = &liveness {
            bail!("nothing was freed: whether the holder lives cannot be told: {error:#}: --force");
        }
        if let Some((lease, _)) =
            leases.iter().zip(&lives).find(|(_, life)| **life == Some(Life::Alive))
        {
            bail!(
                "nothing was freed: {} lives and would keep using {}, which others would get: stop \
                 it, or say --force",
                holder::of(lease),
                lease.address
            );
        }
    }
    if !options.dry_run {
        let progress = Progress::of_parts("releasing", attachments.len());
        for attachment in &attachments {
            let policy = options.rules.of(&attachment.network)?;
            store.clone().with_policy(policy).release_by_hand(attachment)?;
            progress.one_more();
        }
    }
    tell(&leases, &lives, options, out)
}

fn tell(
    leases: &[&Lease],
    lives: &[Option<Life>],
    options: &Release,
    out: &mut dyn Write,
) -> Result<()> {
    let all = leases.iter().zip(lives);
    for (lease, _) in all.clone().filter(|(_, life)| **life == Some(Life::Alive)) {
        let (holder, address) = (holder::of(lease), lease.address);
        writeln!(
            plain::stderr(),
            "ipamctl: {holder} lives and keeps using {address}, which another pod may get: start \
             it anew"
        )?;
    }
    if let Some(format @ (Format::Json | Format::Yaml)) = options.output {
        let released: Vec<Value> = all.map(|(lease, life)| object(lease, *life)).collect();
        let fields = json!({ "dryRun": options.dry_run, "released": released });
        return write_object(Kind::Release, fields, format, out);
    }
    let done = if options.dry_run { "would be released" } else { "released" };
    let now = ipam_store::now().unix_seconds;
    for (lease, life) in all {
        let age = age(lease.since.unix_seconds, now);
        let life = match life {
            Some(Life::Alive) => "it lives",
            Some(Life::Gone) => "it is gone",
            Some(Life::Unknown) => "its namespace is not known",
            None => "not looked at",
        };
        writeln!(
            out,
            "{} of pool {} {done}: held by {} for {age}, {life}",
            lease.address,
            lease.pool,
            holder::of(lease)
        )?;
    }
    Ok(())
}

fn object(lease: &Lease, life: Option<Life>) -> Value {
    let mut object = lease_object(lease);
    object["life"] = life.map(Life::word).into();
    object
}

impl Release {
    fn names(&self, lease: &Lease) -> bool {
        let attachment = &lease.attachment;
        let pod = lease.pod.as_ref();
        self.address.is_none_or(|address| address == lease.address)
            && self.container.as_ref().is_none_or(|id| attachment.container.as_str() == id)
            && self.network.as_ref().is_none_or(|name| attachment.network.as_str() == name)
            && self.ifname.as_ref().is_none_or(|name| attachment.ifname.as_str() == name)
            && self
                .pod
                .as_ref()
                .is_none_or(|name| pod.is_some_and(|pod| is_pod(name, &pod.namespace, &pod.name)))
    }
}
