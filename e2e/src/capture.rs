//! The frames on a link, as tcpdump prints them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;

/// How long tcpdump may take to start.
const START: Duration = Duration::from_secs(30);

/// A running capture; dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Capture {
    /// Captures what the filter lets through, from when this returns.
    ///
    /// # Errors
    ///
    /// tcpdump is missing or refuses the link or filter.
    pub fn start(namespace: &Namespace, link: &str, filter: &str) -> Result<Self> {
        let mut command = Command::new("tcpdump");
        command.args(["-l", "-n", "-e", "--immediate-mode", "-i", link, filter]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tcpdump = namespace.spawn(&mut command)?;
        let (stdout, stderr) = (tcpdump.stdout.take(), tcpdump.stderr.take());
        let (sender, lines) = channel();
        let (said, started) = channel();
        let stdout = stdout.context("tcpdump's output")?;
        let stderr = stderr.context("tcpdump's messages")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // To its end, or tcpdump would wait for a reader.
                let _ = said.send(line);
            }
        });
        let capture = Self { tcpdump, lines, seen: Vec::new() };
        let deadline = Instant::now() + START;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let said = started.recv_timeout(left).context("tcpdump did not start")?;
            if said.contains("listening on") {
                return Ok(capture);
            }
        }
    }

    /// Waits for a frame whose line has all these parts, among those since the start.
    ///
    /// # Errors
    ///
    /// None came within this time; the error has those that did.
    pub fn wait_for(&mut self, parts: &[&str], patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        let is_it = |line: &String| parts.iter().all(|part| line.contains(part));
        if let Some(line) = self.seen.iter().find(|line| is_it(line)) {
            return Ok(line.clone());
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                bail!("no frame with {parts:?}; there were:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if is_it(&line) {
                return Ok(line);
            }
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}
