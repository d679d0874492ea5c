//! `ipamctl metrics`: the counters of this node as Prometheus reads them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use ipam_store::{Contents, Store};
use telemetry::{Durations, DurationsError, Measured};

mod exposition;
mod figures;

use figures::{Database, Figures};

/// What the node exporter's user may do with the file.
const READABLE: u32 = 0o644;

#[derive(Debug, clap::Args)]
pub(crate) struct Metrics {
    /// Write them to this file, in one step, for the node exporter's textfile directory; its name
    /// ends in .prom there.
    #[arg(long, value_name = "FILE")]
    textfile: Option<PathBuf>,

    /// Where the plugins count their calls.
    #[arg(long, value_name = "FILE", default_value = telemetry::DEFAULT_FILE)]
    durations: PathBuf,
}

pub(crate) fn run(store: &Store, options: &Metrics, out: &mut dyn Write) -> Result<()> {
    let contents = store.contents();
    let measured = match Durations::new(&options.durations).read() {
        Err(DurationsError::Missing { .. }) => Ok(Vec::new()),
        other => other,
    };
    let text = text(store, contents.as_ref().ok(), measured.as_deref().unwrap_or_default());
    match &options.textfile {
        Some(file) => {
            write_whole(file, &text).with_context(|| format!("write {}", file.display()))?;
        }
        None => out.write_all(text.as_bytes())?,
    }
    // What could be read is written first: a node whose database is damaged still has its counters.
    contents?;
    measured?;
    Ok(())
}

fn text(store: &Store, contents: Option<&Contents>, measured: &[Measured]) -> String {
    let found = fs::metadata(store.directory().join("ipam.redb")).ok();
    let database = found.map(|found| Database {
        bytes: found.len(),
        written_unix_seconds: found
            .modified()
            .ok()
            .and_then(|moment| moment.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs()),
    });
    Figures { contents, database, measured }.to_text()
}

/// Whoever reads the file finds the whole of the one before or of this one.
fn write_whole(file: &Path, text: &str) -> Result<()> {
    let name = file.file_name().context("it is no name of a file")?.to_string_lossy();
    // The exporter reads what ends in .prom.
    let temporary = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = write_new(&temporary, text).and_then(|()| Ok(fs::rename(&temporary, file)?));
    if written.is_err() {
        // Best effort: there may be none.
        drop(fs::remove_file(&temporary));
    }
    written
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(READABLE).open(path)?;
    // Whatever the umask is.
    new.set_permissions(fs::Permissions::from_mode(READABLE))?;
    new.write_all(text.as_bytes())?;
    Ok(new.sync_all()?)
}
