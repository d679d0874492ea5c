//! `config.md` as a promise: the fields of its tables, for the tests of the crates that read them.
//! A test includes this file by its path, as `mod fields`.

use std::collections::BTreeSet;

/// The code spans in the first column of each table under `## heading` whose first column is headed
/// `column`; what stands behind a colon is a value.
///
/// # Panics
///
/// There is no such table.
pub(crate) fn documented(heading: &str, column: &str) -> BTreeSet<String> {
    let (mut here, mut inside) = (false, false);
    let mut fields = BTreeSet::new();
    for line in include_str!("config.md").lines() {
        let first = line.strip_prefix("| ").and_then(|row| row.split(" | ").next());
        match (line.strip_prefix("## "), first) {
            (Some(title), _) => here = title == heading,
            (None, Some(first)) if first == column => inside = here,
            (None, Some(first)) if inside => fields.extend(spans(first).map(str::to_owned)),
            (None, _) => inside &= line.starts_with("|--"),
        }
    }
    assert!(!fields.is_empty(), "docs/config.md, {heading:?}: no table of {column:?}");
    fields
}

fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).map(|span| span.split(':').next().unwrap_or(span))
}
