//! `ipamctl rebuild` and `restore`: a new database from what the node knows, or from an export.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ipam_core::{Lease, PoolName};
use ipam_store::{Contents, Declared, Error, Store};
use serde_json::json;

use crate::answer::{Answer, Kind};
use crate::evidence::{Evidence, Sources, read_text};
use crate::export::Export;
use crate::ips::lease_object;
use crate::plain;
use crate::progress::Progress;

/// The export that is used without being named, beside the database.
pub(crate) const EXPORT_FILE: &str = "export.json";

#[derive(Debug, clap::Args)]
pub(crate) struct Rebuild {
    /// An export (`ipamctl export`), which tells whose an address was; export.json beside the
    /// database without it, if that is there.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,

    /// Say what would be held, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// Rebuild although the database can be read.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// The export.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Restore although there is a database that can be read.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    answer: Answer,
}

pub(crate) fn rebuild(store: &Store, options: &Rebuild, out: &mut dyn Write) -> Result<()> {
    let export = match &options.export {
        Some(file) => Some(read(file)?),
        None => usual_export(store)?,
    };
    let declared = declared(store, export.as_ref())?;
    if options.dry_run {
        let evidence = gather(&options.sources, &declared, &known(export.as_ref(), None))?;
        return tell(&evidence, options, None, out);
    }
    refuse_if_readable(store, options.force)?;
    // Whatever cannot be seen of the node is found out while the database is still where it was.
    gather(&options.sources, &declared, &known(export.as_ref(), None))?;
    // Then: whoever asks meanwhile is refused, so that nothing changes under our eyes.
    let (aside, before) = store.set_aside(&declared)?;
    tell_aside(aside.as_deref(), options.answer, out)?;
    let evidence = gather(&options.sources, &declared, &known(export.as_ref(), before))?;
    let leases: Vec<Lease> = evidence.leases.values().cloned().collect();
    let progress = Progress::of("writing the database");
    store.create(&contents(declared, export).holding(&leases))?;
    drop(progress);
    tell(&evidence, options, aside.as_deref(), out)
}

pub(crate) fn restore(store: &Store, options: &Restore, out: &mut dyn Write) -> Result<()> {
    let export = read(&options.file)?;
    let declared = Declared { pools: export.pools.clone(), reserved: export.reserved.clone() };
    refuse_if_readable(store, options.force)?;
    gather(&options.sources, &declared, &known(Some(&export), None))?;
    let (aside, before) = store.set_aside(&declared)?;
    tell_aside(aside.as_deref(), options.answer, out)?;
    // What lives now goes first: who held its address when the export was written does not any more.
    let evidence = gather(&options.sources, &declared, &known(Some(&export), before))?;
    let living: Vec<Lease> = evidence.leases.values().cloned().collect();
    let written = export.leases.clone();
    let contents = contents(declared, Some(export)).holding(&living).holding(&written);
    let progress = Progress::of("writing the database");
    store.create(&contents)?;
    drop(progress);
    let Contents { pools, leases, rests, .. } = &contents;
    let (pools, leases, rests) = (pools.len(), leases.len(), rests.len());
    if options.answer.is_text() {
        writeln!(out, "restored: {pools} pools, {leases} leases, {rests} resting addresses")?;
    }
    let fields = || {
        json!({
            "setAside": aside.as_deref().map(|path| path.display().to_string()),
            "pools": pools,
            "leases": leases,
            "restingAddresses": rests,
        })
    };
    options.answer.give(Kind::Restoration, fields, out)
}

fn refuse_if_readable(store: &Store, force: bool) -> Result<()> {
    match store.contents() {
        Ok(_) if !force => bail!(
            "the database in {} can be read: check it with `ipamctl verify`, or say --force",
            store.directory().display()
        ),
        Ok(_) | Err(Error::Missing { .. }) => Ok(()),
        Err(error) if error.needs_rebuild() || force => {
            writeln!(plain::stderr(), "ipamctl: {error}")?;
            Ok(())
        }
        // A file that could not be read this time may be whole.
        Err(error) => Err(error.into()),
    }
}

/// The leases that were written down: in the database as it was set aside, as far as it could be
/// read, then in the export.
fn known(export: Option<&Export>, before: Option<Contents>) -> Vec<Lease> {
    let mut known = before.map(|contents| contents.leases).unwrap_or_default();
    known.extend(export.into_iter().flat_map(|export| export.leases.iter().cloned()));
    known
}

fn gather(sources: &Sources, declared: &Declared, known: &[Lease]) -> Result<Evidence> {
    let _progress = Progress::of("looking at every namespace of the node");
    Evidence::gather(sources, &declared.pools, known)
}

/// The pools, resting addresses and the boot that they count in.
fn contents(declared: Declared, export: Option<Export>) -> Contents {
    let Some(Export { written, rests, .. }) = export else {
        let now = ipam_store::now();
        let nothing = Contents::from(declared);
        return Contents { boot: now.boot, moment: now.moment, ..nothing };
    };
    let is_known = |pool: &PoolName| declared.pools.iter().any(|known| known.name() == pool);
    let rests = rests.into_iter().filter(|resting| is_known(&resting.pool)).collect();
    let (boot, moment) = (written.boot, written.moment);
    Contents { rests, boot, moment, ..Contents::from(declared) }
}

/// The pools that the rebuild is about: the documents beside the database, else those of the
/// export.
fn declared(store: &Store, export: Option<&Export>) -> Result<Declared> {
    match store.declared() {
        Ok(Some(declared)) => return Ok(declared),
        Ok(None) => {}
        Err(error) => writeln!(plain::stderr(), "ipamctl: {error}: the export's pools are used")?,
    }
    let export = export.with_context(|| {
        format!(
            "nothing in {} says which pools there were: `ipamctl apply` them instead",
            store.directory().display()
        )
    })?;
    Ok(Declared { pools: export.pools.clone(), reserved: export.reserved.clone() })
}

fn usual_export(store: &Store) -> Result<Option<Export>> {
    let file = store.directory().join(EXPORT_FILE);
    if file.exists() { read(&file).map(Some) } else { Ok(None) }
}

fn read(file: &Path) -> Result<Export> {
    Export::from_json(&read_text(file)?).with_context(|| file.display().to_string())
}

fn tell_aside(aside: Option<&Path>, answer: Answer, out: &mut dyn Write) -> Result<()> {
    if let Some(aside) = aside.filter(|_| answer.is_text()) {
        writeln!(out, "the database that was there is {} now", aside.display())?;
    }
    Ok(())
}

fn tell(
    evidence: &Evidence,
    options: &Rebuild,
    aside: Option<&Path>,
    out: &mut dyn Write,
) -> Result<()> {
    let how = if options.dry_run { "would be held" } else { "held" };
    for note in &evidence.notes {
        writeln!(plain::stderr(), "ipamctl: {note}")?;
    }
    let leases = evidence.leases.values();
    if !options.answer.is_text() {
        let fields = || {
            json!({
                "dryRun": options.dry_run,
                "setAside": aside.map(|path| path.display().to_string()),
                "leases": leases.map(lease_object).collect::<Vec<_>>(),
                "notes": evidence.notes,
            })
        };
        return options.answer.give(Kind::Rebuild, fields, out);
    }
    for lease in leases {
        let pod = lease.pod.as_ref().map(|pod| format!(" (pod {pod})")).unwrap_or_default();
        writeln!(
            out,
            "{} of pool {}: {how} by {}{pod}",
            lease.address, lease.pool, lease.attachment
        )?;
    }
    writeln!(out, "{} addresses {how}", evidence.leases.len())?;
    Ok(())
}
