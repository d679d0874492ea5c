//! The forms in which an answer is written.

use std::io::Write;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

use crate::plain::{json, plain};

/// What `-o` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table with more columns.
    Wide,
    /// One JSON list.
    Json,
    /// One YAML list.
    Yaml,
}

/// Writes rows as `kubectl` does: columns as wide as their widest cell, three spaces between
/// them, nothing behind the last.
pub(crate) fn write_rows(header: &[&str], rows: &[Vec<String>], out: &mut dyn Write) -> Result<()> {
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let plain = |row: &Vec<String>| row.iter().map(|cell| one_line(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(plain).collect();
    let all = || std::iter::once(&header).chain(&rows);
    let widths: Vec<usize> = (0..header.len())
        .map(|column| all().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes labels and values below each other, the values in one column. A value of several lines
/// goes on in that column.
pub(crate) fn write_facts(facts: &[(&str, String)], out: &mut dyn Write) -> Result<()> {
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or_default() + 3;
    for (label, value) in facts {
        let mut label = format!("{label}:");
        for line in value.lines() {
            writeln!(out, "{label:<width$}{}", plain(line))?;
            label.clear();
        }
    }
    Ok(())
}

/// A cell, whatever it holds, on its line.
fn one_line(cell: &str) -> String {
    plain(cell).replace('\n', "\\n").replace('\t', "\\t")
}

/// A number of addresses for JSON, where one beyond 64 bits is no number to many: it stops at the
/// largest, as the peer's does.
pub(crate) fn number(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Writes items as the list that `kubectl get -o json` or `-o yaml` gives.
pub(crate) fn write_list(items: &[Value], format: Format, out: &mut dyn Write) -> Result<()> {
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
    if format == Format::Yaml {
        write!(out, "{}", serde_saphyr::to_string(&list)?)?;
    } else {
        writeln!(out, "{}", json(&serde_json::to_string_pretty(&list)?))?;
    }
    Ok(())
}
