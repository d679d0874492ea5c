//! `ipamctl rebuild` and `restore`: a new database from what the node knows, or from an export.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ipam_core::{Lease, PoolName};
use ipam_store::{Contents, Declared, Error, Store};

use crate::evidence::{Evidence, Sources, read_text};
use crate::export::Export;

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
}

pub(crate) fn rebuild(store: &Store, options: &Rebuild, out: &mut dyn Write) -> Result<()> {
    let export = match &options.export {
        Some(file) => Some(read(file)?),
        None => usual_export(store)?,
    };
    let declared = declared(store, export.as_ref())?;
    if options.dry_run {
        let evidence = gather(&options.sources, &declared, export.as_ref())?;
        return tell(&evidence, "would be held", out);
    }
    refuse_if_readable(store, options.force)?;
    // First: whoever asks meanwhile is refused, so that nothing changes under our eyes.
    let aside = store.set_aside(&declared)?;
    let evidence = gather(&options.sources, &declared, export.as_ref())?;
    let leases: Vec<Lease> = evidence.leases.values().cloned().collect();
    let contents = contents(declared, export).holding(&leases);
    store.replace(&contents)?;
    tell_aside(aside.as_deref(), out)?;
    tell(&evidence, "held", out)
}

pub(crate) fn restore(store: &Store, options: &Restore, out: &mut dyn Write) -> Result<()> {
    let export = read(&options.file)?;
    let declared = Declared { pools: export.pools.clone(), reserved: export.reserved.clone() };
    refuse_if_readable(store, options.force)?;
    let aside = store.set_aside(&declared)?;
    // What lives now and was not written down then must not be given to anybody else.
    let evidence = gather(&options.sources, &declared, Some(&export))?;
    let leases: Vec<Lease> = evidence.leases.values().cloned().collect();
    let written = Contents { leases: export.leases.clone(), ..contents(declared, Some(export)) };
    let contents = written.holding(&leases);
    store.replace(&contents)?;
    tell_aside(aside.as_deref(), out)?;
    writeln!(
        out,
        "restored: {} pools, {} leases, {} resting addresses",
        contents.pools.len(),
        contents.leases.len(),
        contents.rests.len()
    )?;
    Ok(())
}

fn refuse_if_readable(store: &Store, force: bool) -> Result<()> {
    match store.contents() {
        Ok(_) if !force => bail!(
            "the database in {} can be read: check it with `ipamctl verify`, or say --force",
            store.directory().display()
        ),
        Err(error @ (Error::Busy { .. } | Error::Newer { .. } | Error::Foreign { .. })) => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}

fn gather(sources: &Sources, declared: &Declared, export: Option<&Export>) -> Result<Evidence> {
    let known = export.map_or(&[][..], |export| &export.leases);
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
        Err(error) => writeln!(io::stderr(), "ipamctl: {error}: the export's pools are used")?,
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

fn tell_aside(aside: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    if let Some(aside) = aside {
        writeln!(out, "the database that was there is {} now", aside.display())?;
    }
    Ok(())
}

fn tell(evidence: &Evidence, how: &str, out: &mut dyn Write) -> Result<()> {
    for note in &evidence.notes {
        writeln!(io::stderr(), "ipamctl: {note}")?;
    }
    for lease in evidence.leases.values() {
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
