//! `ipamctl export` and `import`: what is held, to and from other places.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use ipam_core::{Attachment, Lease, NetworkName, Stamp};
use ipam_store::{Contents, Store};
use serde_json::{Value, json};

use crate::answer::{Answer, Kind};
use crate::evidence::{Sources, is_nobodys, living};
use crate::export::Export as Document;
use crate::host_local::{self, HostLocal, Reservation, Written};
use crate::ips::lease_object;
use crate::progress::Progress;

/// The interface of a reservation that does not say which: what runtimes call the first.
const USUAL_IFNAME: &str = "eth0";

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The form: one JSON document with everything, or a data directory of the plugin host-local
    /// with what is held.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    format: Form,

    /// Where to: a file for JSON (standard output without it), a directory for host-local.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Json,
    HostLocal,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Import {
    /// Take over what the plugin host-local has given out on this node.
    HostLocal(FromHostLocal),
}

#[derive(Debug, clap::Args)]
pub(crate) struct FromHostLocal {
    /// Its data directory: /var/lib/cni/networks unless its configuration says otherwise.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Only these networks; all that have a directory without it.
    #[arg(long = "network", value_name = "NAME")]
    networks: Vec<NetworkName>,

    /// Also reservations of which nothing lives on this node. They stay until a DEL.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    answer: Answer,
}

pub(crate) fn export(
    store: &Store,
    options: &Export,
    patience: Duration,
    out: &mut dyn Write,
) -> Result<()> {
    let contents = store.contents()?;
    match (options.format, &options.output) {
        (Form::Json, None) => Ok(out.write_all(document(contents).to_json()?.as_bytes())?),
        (Form::Json, Some(file)) => write_file(file, &document(contents).to_json()?),
        (Form::HostLocal, Some(directory)) => {
            let reservation = |lease: Lease| {
                let Attachment { network, container, ifname } = lease.attachment;
                let (address, ifname) = (lease.address, Some(ifname));
                (network, Reservation { address, container, ifname })
            };
            let reservations: Vec<_> = contents.leases.into_iter().map(reservation).collect();
            let Written { created, unchanged } =
                host_local::write(directory, &reservations, patience)?;
            writeln!(out, "{created} reservations written, {unchanged} were there")?;
            Ok(())
        }
        (Form::HostLocal, None) => bail!("host-local is written into a directory: say --output"),
    }
}

fn document(contents: Contents) -> Document {
    let Contents { pools, reserved, leases, rests, boot, moment, .. } = contents;
    let unix_seconds = ipam_store::now().unix_seconds;
    Document { written: Stamp { boot, moment, unix_seconds }, pools, reserved, leases, rests }
}

/// Under another name first: a file that is there is never half a one.
pub(crate) fn write_file(file: &Path, text: &str) -> Result<()> {
    let context = || format!("write {}", file.display());
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let mut opened = File::create(&draft).with_context(context)?;
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).with_context(context)?;
    fs::rename(&draft, file).with_context(context)
}

pub(crate) fn import(
    store: &Store,
    options: &FromHostLocal,
    patience: Duration,
    out: &mut dyn Write,
) -> Result<()> {
    let pools = store.contents()?.pools;
    let now = ipam_store::now();
    let mut claims = Vec::new();
    let mut report = Report::new(options.answer);
    for network in networks(options)? {
        let found = HostLocal::read(&options.directory, &network, patience)?;
        for address in &found.abandoned {
            report.leave_out(*address, &network, "an empty file, held by nobody", "", out)?;
        }
        for oddity in &found.oddities {
            report.note(oddity, out)?;
        }
        for Reservation { address, container, ifname } in found.reservations {
            let Some(pool) = pools.iter().find(|pool| pool.claims(address)) else {
                report.leave_out(address, &network, "no pool has it", "", out)?;
                continue;
            };
            let ifname = ifname.map_or_else(|| USUAL_IFNAME.parse(), Ok)?;
            claims.push(Lease {
                address,
                pool: pool.name().clone(),
                attachment: Attachment { network: network.clone(), container, ifname },
                pod: None,
                netns: None,
                since: now.clone(),
            });
        }
    }
    let progress = Progress::of("looking for the holders on the node");
    let (mut leases, dead) = living(&options.sources, &pools, &claims)?;
    drop(progress);
    if options.all {
        leases.extend(dead);
    } else {
        for Lease { address, attachment, .. } in dead {
            report.leave_out(address, &attachment, "nothing of it lives", " (--all)", out)?;
        }
    }
    // What was only seen to be alive has an owner now.
    let progress = Progress::of("writing the database");
    let refused = store.adopt(&leases, is_nobodys)?;
    drop(progress);
    for Lease { address, attachment, .. } in &refused {
        report.leave_out(*address, attachment, "it is held already", "", out)?;
    }
    leases.retain(|lease| !refused.contains(lease));
    report.end(&leases, out)
}

/// What an import left out: told as it happens, or gathered for an object.
struct Report {
    answer: Answer,
    left_out: Vec<Value>,
    notes: Vec<String>,
}

impl Report {
    fn new(answer: Answer) -> Self {
        Self { answer, left_out: Vec::new(), notes: Vec::new() }
    }

    fn leave_out(
        &mut self,
        address: IpAddr,
        holder: &dyn Display,
        why: &str,
        remedy: &str,
        out: &mut dyn Write,
    ) -> Result<()> {
        self.left_out.push(json!({ "ip": address, "holder": holder.to_string(), "why": why }));
        if self.answer.is_text() {
            writeln!(out, "{address} of {holder}: {why}: left out{remedy}")?;
        }
        Ok(())
    }

    fn note(&mut self, note: &dyn Display, out: &mut dyn Write) -> Result<()> {
        self.notes.push(note.to_string());
        if self.answer.is_text() {
            writeln!(out, "{note}")?;
        }
        Ok(())
    }

    fn end(self, imported: &[Lease], out: &mut dyn Write) -> Result<()> {
        let Self { answer, left_out, notes } = self;
        if answer.is_text() {
            writeln!(out, "{} leases imported", imported.len())?;
        }
        let imported = imported.iter().map(lease_object);
        let fields = || {
            json!({
                "imported": imported.collect::<Vec<_>>(),
                "leftOut": left_out,
                "notes": notes,
            })
        };
        answer.give(Kind::Import, fields, out)
    }
}

/// The networks that host-local has directories for, or those that were named.
fn networks(options: &FromHostLocal) -> Result<Vec<NetworkName>> {
    if !options.networks.is_empty() {
        return Ok(options.networks.clone());
    }
    let context = || format!("read {}", options.directory.display());
    let mut networks = Vec::new();
    for entry in fs::read_dir(&options.directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.file_type().with_context(context)?.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            networks.push(name.parse().with_context(|| format!("{name:?} is no network"))?);
        }
    }
    networks.sort();
    Ok(networks)
}
