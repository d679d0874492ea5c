//! The document that comes out.

use std::fmt;

/// Sections and tables.
#[derive(Debug, Default)]
pub(crate) struct Document(String);

impl Document {
    pub(crate) fn heading(&mut self, text: &str) {
        self.0.extend(["\n## ", text, "\n\n"]);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.0.extend([text, "\n\n"]);
    }

    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.0.push_str(&table(head, rows));
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        text.extend(["| ", &row.join(" | "), " |\n"]);
    }
    text
}

/// Microseconds with as many digits as mean something.
pub(crate) fn micros(value: f64) -> String {
    match value {
        value if value <= 0.0 => "-".to_owned(),
        value if value >= 100_000.0 => format!("{:.0} ms", value / 1e3),
        value if value >= 10_000.0 => format!("{:.1} ms", value / 1e3),
        value if value >= 1_000.0 => format!("{:.2} ms", value / 1e3),
        value => format!("{value:.0} µs"),
    }
}

/// A ratio with as many digits as mean something.
pub(crate) fn ratio(value: f64) -> String {
    match value {
        value if value <= 0.0 => "-".to_owned(),
        value if value >= 10.0 => format!("{value:.0}"),
        value if value >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}

/// A number of leases.
pub(crate) fn count(leases: u32) -> String {
    match leases {
        0..1_000 => leases.to_string(),
        1_000..1_000_000 => format!("{}k", leases / 1_000),
        _ => format!("{}M", leases / 1_000_000),
    }
}
