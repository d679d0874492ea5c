//! `--watch`: a screen again whenever what is stored has changed.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use ipam_store::Store;

use crate::plain;
use crate::screen::Screen;

/// Between two looks at the database's file.
const INTERVAL: Duration = Duration::from_millis(500);

/// Goes to the first line, and clears what is there (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Draws at once, and after each change, in the place of what was drawn before on a terminal, below
/// it elsewhere and only if it differs. A failure that is not the first is told, and ends nothing.
pub(crate) fn watch(
    store: &Store,
    screen: Screen,
    out: &mut dyn Write,
    draw: impl Fn(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut last: Option<Vec<u8>> = None;
    for counters in store.watch(INTERVAL) {
        let mut drawn = Vec::new();
        let outcome = counters.map_err(anyhow::Error::from).and_then(|_| draw(&mut drawn));
        match outcome {
            Err(error) if last.is_none() => return Err(error),
            Err(error) => writeln!(plain::stderr(), "ipamctl: {error:#}")?,
            Ok(()) if last.as_ref() == Some(&drawn) => {}
            Ok(()) => {
                if screen.is_terminal {
                    // Past what makes names harmless.
                    out.flush()?;
                    io::stdout().write_all(CLEAR.as_bytes())?;
                } else if last.is_some() {
                    writeln!(out)?;
                }
                out.write_all(&drawn)?;
                out.flush()?;
                last = Some(drawn);
            }
        }
    }
    Ok(())
}
