//! What was measured on a kernel with ipvlan, by another program (`e2e/tests/ipvlan_time.rs`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::goals::Goals;
use crate::markdown::Document;

/// The row of its table, and how much of upstream's time ours may take.
const BARS: [(&str, f64); 4] =
    [("ADD, IPv4", 0.5), ("DEL, IPv4", 0.5), ("ADD, IPv6", 0.05), ("DEL, IPv6", 0.05)];

/// Takes its tables over.
pub(crate) fn describe(path: &Path, goals: &mut Goals, document: &mut Document) -> Result<()> {
    let said = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    for (row, bar) in BARS {
        let ratio = ratio_of(&said, row).with_context(|| format!("no row {row:?} in\n{said}"))?;
        let goal = format!("whole {row}, to upstream's ipvlan and host-local");
        goals.at_most(&goal, bar, ratio, " ×");
    }
    document.heading("Whole ADD and DEL on ipvlan");
    document.text(
        "Upstream's ipvlan with host-local, and cni-ipvlan, in turn in one run of the virtual \
         machine, which is some ten times slower than the machine above. Its disk is memory: what \
         our two syncs cost is in the tables above, not here.",
    );
    document.text(said.trim());
    Ok(())
}

/// The last cell of the first row that begins so.
fn ratio_of(said: &str, row: &str) -> Option<f64> {
    let start = format!("| {row} |");
    let line = said.lines().find(|line| line.starts_with(&start))?;
    line.trim_end_matches([' ', '|']).rsplit('|').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_of_a_name_counts() {
        let said = "| ADD, IPv4 | 160.0 | 578.0 | 0.28 |\n\n| ADD, IPv4 | 557 | 978 | 0.57 |\n";
        assert_eq!(ratio_of(said, "ADD, IPv4"), Some(0.28));
        assert_eq!(ratio_of(said, "DEL, IPv4"), None);
    }
}
