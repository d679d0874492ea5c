//! Where and when it was measured.

use std::fs;
use std::process::Command;

use crate::markdown::table;

/// How busy the machine is: the load average of the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".to_owned())
}

/// The head of the document.
pub(crate) fn head(commit: &str, load_before: &str, load_after: &str, quick: bool) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, model)| model)
        .collect();
    let peer = said("dpkg-query", &["-W", "-f", "${Version}", "containernetworking-plugins"]);
    let rows = [
        ("date", said("date", &["-u", "+%F %H:%M UTC"])),
        ("commit", commit.to_owned()),
        ("machine", format!("{} × {}", models.len(), models.first().unwrap_or(&"unknown"))),
        ("kernel", kernel.trim().to_owned()),
        ("peer", format!("host-local of containernetworking-plugins {peer}")),
        ("load average", format!("{load_before} before, {load_after} after")),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    let mut text = format!("\n{}", table(&["", ""], &rows));
    if quick {
        text.push_str("\n**A quick run with a tenth of the rounds: its figures say nothing.**\n");
    }
    text
}
