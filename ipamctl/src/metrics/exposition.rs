//! Prometheus' text format (version 0.0.4): families of samples, each with its help and type.

use std::fmt::{Display, Write};

/// A text that grows by families.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// The type of a family.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// Names and values, each name a valid one.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Exposition {
    /// Begins a family. Its samples follow.
    pub(super) fn family(&mut self, name: &str, of: Type, help: &str) {
        let of = match of {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {of}\n");
    }

    /// One sample of the family that began last.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(value));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_value_or_a_line_is_escaped() {
        let mut text = Exposition::default();
        text.family("a_total", Type::Counter, "One \\ or\nmore.");
        text.sample("a_total", &[("pool", "x\"}\n\\"), ("state", "free")], 7);
        text.sample("a_total", &[], 8);
        assert_eq!(
            text.into_text(),
            "# HELP a_total One \\\\ or\\nmore.\n# TYPE a_total counter\n\
             a_total{pool=\"x\\\"}\\n\\\\\",state=\"free\"} 7\na_total 8\n"
        );
    }
}
