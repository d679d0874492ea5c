//! A file with one byte or bit flipped, for each of them.
//!
//! A damaged file may do worse than panic: a destructor that panics while another panic unwinds
//! ends the process, and so does an allocation of a length that the damage made up. So the checks
//! run in processes of their own, the test's own binary started again for one test alone; a
//! process that dies or hangs costs one flip, and the next goes on behind it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::{Contents, Disk};
use super::panics;

/// What a flip did, as a check finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every answer is the one that the whole file gives.
    Harmless,
    /// An error was reported and nothing was given out.
    Detected,
    /// An answer differs from the one that the whole file gives; the text says how.
    Wrong(String),
}

/// What is flipped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flips {
    pub(crate) unit: Unit,
    /// Every how many bytes; 1 for every byte. A prime comes upon every place within a page.
    pub(crate) stride_bytes: usize,
    /// How many of the file's first bytes; more than it has for all.
    pub(crate) bytes: usize,
    pub(crate) processes: usize,
}

/// How much is flipped at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// All eight bits of the byte.
    Byte,
    /// Each of the byte's bits, by itself: eight images.
    EachBit,
}

/// How many flips ended how.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) harmless: usize,
    pub(crate) detected: usize,
    /// The check panicked: noticed, but only a caller that catches panics can say so.
    pub(crate) panicked: Places,
    /// The process died of a signal, past every handler.
    pub(crate) aborted: Places,
    /// The check came to no end.
    pub(crate) hung: Places,
    pub(crate) wrong: Places,
}

/// How many flips ended in one way, and the first few that differ in their text.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) count: usize,
    pub(crate) first: Vec<(Flip, String)>,
}

/// One damage: the byte at `offset` with the bits of `mask` flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flip {
    pub(crate) offset: usize,
    pub(crate) mask: u8,
}

const KEPT_PLACES: usize = 8;

/// How long one check may take; far above any that ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says to a process that it is one of those that check, and which flips are its own.
const SHARE: &str = "POWER_FLIPS_SHARE";

impl Flip {
    /// A disk with the file and this damage.
    pub(crate) fn image(self, file: &Arc<Vec<u8>>) -> Disk {
        let mut contents = Contents::over(file.clone());
        contents.write(self.offset, &[file[self.offset] ^ self.mask]);
        Disk::new(contents)
    }
}

/// Calls `check` once for each flip of the file.
///
/// `test` is the path of the `#[test]` that calls, as `--exact` takes it. The test must come here
/// by the same way whenever it runs, and once only: of a process that was started to check,
/// nothing after this call is run.
///
/// # Errors
/// Files or processes could not be had, or a process ended before it came here.
pub(crate) fn sweep(
    test: &str,
    file: &[u8],
    flips: Flips,
    check: impl Fn(Disk) -> Verdict,
) -> io::Result<Tally> {
    if let Ok(share) = std::env::var(SHARE) {
        let share: Share = share.parse().map_err(|()| io::Error::other("not a share of flips"))?;
        share.check(flips, check)?;
        std::process::exit(0);
    }
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("file"), file)?;
    let shares = (0..flips.processes).map(|number| {
        Runner::start(test, Share { number, first: 0, directory: directory.path().to_path_buf() })
    });
    let mut runners = shares.collect::<io::Result<Vec<_>>>()?;
    let mut tally = Tally::default();
    while !runners.is_empty() {
        let mut still = Vec::new();
        for runner in runners {
            still.extend(runner.look(test, flips, file.len(), &mut tally)?);
        }
        runners = still;
        // Only how soon an end is noticed hangs on this.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(tally)
}

impl Flips {
    /// The flips of one of the processes, in order.
    fn of_share(self, share: usize, file_bytes: usize) -> impl Iterator<Item = Flip> {
        let step = self.stride_bytes * self.processes;
        (share * self.stride_bytes..file_bytes.min(self.bytes)).step_by(step).flat_map(
            move |offset| self.unit.masks().iter().map(move |mask| Flip { offset, mask: *mask }),
        )
    }
}

impl Unit {
    fn masks(self) -> &'static [u8] {
        match self {
            Self::Byte => &[0xff],
            Self::EachBit => &[1, 2, 4, 8, 16, 32, 64, 128],
        }
    }
}

/// What one process does: its share of the flips without the `first` ones, done already.
struct Share {
    number: usize,
    first: usize,
    directory: PathBuf,
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.number, self.first, self.directory.display())
    }
}

impl FromStr for Share {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.splitn(3, ' ');
        let mut count = || words.next()?.parse().ok();
        let (number, first) = (count().ok_or(())?, count().ok_or(())?);
        Ok(Self { number, first, directory: words.next().ok_or(())?.into() })
    }
}

impl Share {
    fn report(&self) -> PathBuf {
        self.directory.join(format!("report-{}-{}", self.number, self.first))
    }

    /// Writes a line per flip, at once: what is written is there when the process dies.
    fn check(&self, flips: Flips, check: impl Fn(Disk) -> Verdict) -> io::Result<()> {
        let file = Arc::new(fs::read(self.directory.join("file"))?);
        let mut report = File::create_new(self.report())?;
        for flip in flips.of_share(self.number, file.len()).skip(self.first) {
            let line = match panics::catch(|| check(flip.image(&file))) {
                Ok(Verdict::Harmless) => "harmless".to_owned(),
                Ok(Verdict::Detected) => "detected".to_owned(),
                Ok(Verdict::Wrong(how)) => format!("wrong {}", how.replace('\n', " ")),
                Err(panic) => format!("panicked {}", panic.replace('\n', " ")),
            };
            report.write_all(format!("{line}\n").as_bytes())?;
        }
        report.write_all(b"end\n")
    }
}

/// A process that checks, and how far it was when last seen.
struct Runner {
    share: Share,
    process: Child,
    seen: (u64, Instant),
}

impl Runner {
    fn start(test: &str, share: Share) -> io::Result<Self> {
        let process = Command::new(std::env::current_exe()?)
            .args([test, "--exact", "--nocapture", "--include-ignored"])
            .env(SHARE, share.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log(&share.report()))?)
            .spawn()?;
        Ok(Self { share, process, seen: (0, Instant::now()) })
    }

    /// Answers itself while the process runs, its successor if it died at a flip.
    fn look(
        mut self,
        test: &str,
        flips: Flips,
        file_bytes: usize,
        tally: &mut Tally,
    ) -> io::Result<Option<Self>> {
        let report = self.share.report();
        let ended = self.process.try_wait()?;
        let written = fs::metadata(&report).map_or(0, |report| report.len());
        if written != self.seen.0 {
            self.seen = (written, Instant::now());
        }
        let hung = ended.is_none() && self.seen.1.elapsed() > PATIENCE;
        if ended.is_none() && !hung {
            return Ok(Some(self));
        }
        if hung {
            self.process.kill()?;
            self.process.wait()?;
        }
        let verdicts = fs::read_to_string(&report).unwrap_or_default();
        let lost = || io::Error::other(format!("{test} did not come to its sweep of flips"));
        if !report.exists() {
            return Err(lost());
        }
        let mut todo = flips.of_share(self.share.number, file_bytes).skip(self.share.first);
        let mut done = 0;
        for line in verdicts.lines() {
            if line == "end" {
                return Ok(None);
            }
            tally.count(todo.next().ok_or_else(lost)?, line);
            done += 1;
        }
        let fatal = todo.next().ok_or_else(lost)?;
        let said = fs::read_to_string(log(&report)).unwrap_or_default();
        if hung {
            tally.hung.keep(fatal, "no answer");
        } else {
            tally.aborted.keep(fatal, &death(&said));
        }
        let first = self.share.first + done + 1;
        let next = Share { first, directory: self.share.directory, ..self.share };
        Self::start(test, next).map(Some)
    }
}

fn log(report: &Path) -> PathBuf {
    report.with_extension("log")
}

/// What a dying process said: where it panicked and what of, without the traces.
fn death(log: &str) -> String {
    let mut lines = log.lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next() {
        if line.contains("panicked at") {
            let place = line.split("panicked at ").nth(1).unwrap_or(line);
            let file = place.rsplit('/').next().unwrap_or(place);
            said.push(format!("{file} {}", lines.next().unwrap_or_default()));
        } else if line.contains("memory allocation") {
            said.push(line.to_owned());
        }
    }
    if said.is_empty() { "it said nothing".to_owned() } else { said.join("; then ") }
}

impl Tally {
    /// How many flips were tried.
    pub(crate) fn flips(&self) -> usize {
        let fatal = self.panicked.count + self.aborted.count + self.hung.count;
        self.harmless + self.detected + fatal + self.wrong.count
    }

    fn count(&mut self, flip: Flip, line: &str) {
        let (verdict, text) = line.split_once(' ').unwrap_or((line, ""));
        match verdict {
            "harmless" => self.harmless += 1,
            "detected" => self.detected += 1,
            "panicked" => self.panicked.keep(flip, text),
            _ => self.wrong.keep(flip, text),
        }
    }
}

impl Places {
    fn keep(&mut self, flip: Flip, text: &str) {
        self.count += 1;
        if self.first.len() < KEPT_PLACES && self.first.iter().all(|(_, known)| known != text) {
            self.first.push((flip, text.to_owned()));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { harmless, detected, panicked, aborted, hung, wrong } = self;
        let kinds =
            [("panicked", panicked), ("aborted", aborted), ("hung", hung), ("wrong", wrong)];
        let flips = self.flips();
        write!(formatter, "{flips} flips: {harmless} harmless, {detected} detected")?;
        kinds
            .iter()
            .try_for_each(|(kind, places)| write!(formatter, ", {} {kind}", places.count))?;
        for (kind, places) in kinds {
            for (Flip { offset, mask }, text) in &places.first {
                write!(formatter, "\n  {kind} at {offset:#x} ^ {mask:#04x}: {text}")?;
            }
        }
        Ok(())
    }
}
