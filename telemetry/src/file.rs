//! A log file of many processes, each of which opens it, adds one line and ends.
//!
//! A line is one `write(2)` with `O_APPEND`: lines of several processes stand one behind the other.
//! Who finds the file too large gives it a number under the lock `<file>.lock`, if that is free, and
//! begins another. A line that somebody writes at this moment is then in the one with the number.
//! `<file>.1` is the newest of those; numbers are moved up from the oldest, only as far as the first
//! that is not taken, so that who is killed in between has lost nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, OFlags, renameat, statat, unlinkat};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::lock::Locked;
use crate::settings::LogFile;

const SECONDS_A_DAY: u64 = 86_400;

/// Adds one line.
///
/// # Errors
/// Where it cannot be written: the line is lost.
pub(crate) fn append(settings: &LogFile, line: &str) -> io::Result<()> {
    let none = || io::Error::from(io::ErrorKind::InvalidInput);
    let name = settings.path.file_name().ok_or_else(none)?;
    let parent = settings.path.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = Directory::make(parent.unwrap_or(Path::new("/")))?;
    let mut file = open(&directory, name)?;
    let length = file.metadata()?.len();
    if length > 0 && length + line.len() as u64 > settings.max_bytes {
        // Where it cannot be done, the line is more than the bound.
        rotate(&directory, name, settings, &file)?;
        file = open(&directory, name)?;
    }
    // One write: a part of a line on a full disk is the best that can be had.
    match file.write(line.as_bytes())? {
        all if all == line.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

fn open(directory: &Directory, name: &OsStr) -> io::Result<File> {
    Ok(directory.file(name, OFlags::WRONLY | OFlags::APPEND)?)
}

fn rotate(directory: &Directory, name: &OsStr, settings: &LogFile, seen: &File) -> io::Result<()> {
    let lock = directory.file(&suffixed(name, "lock"), OFlags::RDWR)?;
    let _locked = match Locked::exclusive(&lock) {
        // Somebody else is at it. Nobody waits: one who was stopped would hold up every pod.
        Err(Errno::WOULDBLOCK) => return Ok(()),
        taken => taken?,
    };
    let seen = seen.metadata()?;
    let at = directory.as_fd();
    let now = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        // Somebody was faster, and has not begun another yet.
        Err(Errno::NOENT) => return Ok(()),
        found => found?,
    };
    if (now.st_dev, now.st_ino) != (seen.dev(), seen.ino()) {
        return Ok(());
    }
    let numbered = |number: u32| suffixed(name, &number.to_string());
    let is_free = |number: &u32| {
        let found = statat(at, numbered(*number), AtFlags::SYMLINK_NOFOLLOW);
        found.is_err_and(|error| error == Errno::NOENT)
    };
    let most = if settings.max_files == 0 { u32::MAX } else { settings.max_files };
    let end = (1..most).find(is_free).unwrap_or(most);
    for number in (1..end).rev() {
        renameat(at, numbered(number), at, numbered(number + 1))?;
    }
    renameat(at, name, at, numbered(1))?;
    if settings.max_age_days > 0 {
        let age = Duration::from_secs(settings.max_age_days.saturating_mul(SECONDS_A_DAY));
        let oldest = SystemTime::now().checked_sub(age);
        let oldest = oldest.and_then(|it| it.duration_since(SystemTime::UNIX_EPOCH).ok());
        let oldest = oldest.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX));
        for number in (2..=end).rev() {
            let found = statat(at, numbered(number), AtFlags::SYMLINK_NOFOLLOW)?;
            if found.st_mtime < oldest {
                unlinkat(at, numbered(number), AtFlags::empty())?;
            }
        }
    }
    Ok(())
}

fn suffixed(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(".");
    name.push(suffix);
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    fn settings(directory: &Path, max_bytes: u64, max_files: u32) -> LogFile {
        let path = directory.join("logs/node-ipam.log");
        LogFile { path, max_bytes, max_files, max_age_days: 0 }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn lines_of(settings: &LogFile, numbers: impl Iterator<Item = u32>) -> Vec<String> {
        let numbered =
            numbers.map(|number| PathBuf::from(format!("{}.{number}", settings.path.display())));
        let texts = std::iter::once(settings.path.clone()).chain(numbered);
        texts
            .filter_map(|path| fs::read_to_string(path).ok())
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn it_is_private_and_grows_by_lines() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), 1 << 20, 2);
        append(&settings, "one\n").unwrap();
        append(&settings, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&settings.path).unwrap(), "one\ntwo\n");
        assert_eq!(mode(&settings.path), 0o600);
        assert_eq!(mode(settings.path.parent().unwrap()), 0o700);
    }

    #[test]
    fn the_oldest_go_and_a_gap_costs_none() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), 4, 3);
        for line in ["1\n", "2\n", "3\n", "4\n", "5\n", "6\n", "7\n", "8\n", "9\n"] {
            append(&settings, line).unwrap();
        }
        assert_eq!(lines_of(&settings, 1..9), ["9", "7", "8", "5", "6", "3", "4"]);
        let first = directory.path().join("logs/node-ipam.log.1");
        fs::remove_file(&first).unwrap();
        append(&settings, "10\n").unwrap();
        assert_eq!(lines_of(&settings, 1..9), ["10", "9", "5", "6", "3", "4"], "the gap is filled");
    }

    /// A child has all open files until its exec, with the locks on them.
    #[test]
    fn children_that_begin_meanwhile_keep_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), 2, 0);
        let is_over = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::Relaxed;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(order) {
                    std::process::Command::new("true").status().unwrap();
                }
            });
            for number in 0..200 {
                append(&settings, &format!("{number}\n")).unwrap();
            }
            is_over.store(true, order);
        });
        let files = fs::read_dir(settings.path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 201, "each line is in a file of its own, and there is the lock");
    }

    #[test]
    fn old_ones_go_by_their_age() {
        let directory = tempfile::tempdir().unwrap();
        let settings = LogFile { max_age_days: 7, ..settings(directory.path(), 2, 0) };
        append(&settings, "1\n").unwrap();
        append(&settings, "2\n").unwrap();
        let old = File::open(directory.path().join("logs/node-ipam.log.1")).unwrap();
        old.set_modified(SystemTime::now() - Duration::from_secs(8 * SECONDS_A_DAY)).unwrap();
        append(&settings, "3\n").unwrap();
        assert_eq!(lines_of(&settings, 1..9), ["3", "2"]);
    }

    #[test]
    fn no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("shadow");
        fs::write(&target, "secret\n").unwrap();
        let settings = settings(directory.path(), 4, 2);
        let folder = settings.path.parent().unwrap().to_path_buf();
        let refused = |errno: Errno| {
            let error = append(&settings, "line\n").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()));
            assert_eq!(fs::read_to_string(&target).unwrap(), "secret\n");
        };
        symlink(directory.path(), &folder).unwrap();
        refused(Errno::NOTDIR);
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        symlink(&target, &settings.path).unwrap();
        refused(Errno::LOOP);
        fs::remove_file(&settings.path).unwrap();
        fs::hard_link(&target, &settings.path).unwrap();
        refused(Errno::MLINK);
        fs::remove_file(&settings.path).unwrap();
        fs::write(&settings.path, "long enough\n").unwrap();
        symlink(&target, folder.join("node-ipam.log.lock")).unwrap();
        refused(Errno::LOOP);
        fs::remove_file(folder.join("node-ipam.log.lock")).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        refused(Errno::PERM);
    }

    #[test]
    fn a_file_that_others_read_stays_a_file_and_a_fifo_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), 1 << 20, 2);
        fs::create_dir(settings.path.parent().unwrap()).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &settings.path, fifo, mode, 0).unwrap();
        assert!(append(&settings, "line\n").is_err());
    }

    #[test]
    fn a_full_disk_is_an_error_and_nothing_else() {
        let full =
            LogFile { path: "/dev/full".into(), max_bytes: 1 << 20, max_files: 1, max_age_days: 0 };
        assert!(append(&full, "line\n").is_err());
    }

    /// Processes: this test starts itself, and each child writes its lines. They rotate all the
    /// time, and every line is in one of the files, once and whole.
    #[test]
    fn racing_processes_lose_no_line() {
        const CHILDREN: usize = 8;
        const LINES: usize = 400;
        const NAME: &str = "file::tests::racing_processes_lose_no_line";
        if let Ok(told) = std::env::var("TELEMETRY_TEST_WRITER") {
            let (child, directory) = told.split_once(' ').unwrap();
            let settings = settings(Path::new(directory), 1000, 0);
            for number in 0..LINES {
                append(&settings, &format!("child {child} line {number} of a log\n")).unwrap();
            }
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display();
        let children: Vec<_> = (0..CHILDREN)
            .map(|child| {
                std::process::Command::new(std::env::current_exe().unwrap())
                    .args([NAME, "--exact"])
                    .env("TELEMETRY_TEST_WRITER", format!("{child} {place}"))
                    .stdout(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let settings = settings(directory.path(), 1000, 0);
        let lines = lines_of(&settings, 1..10_000);
        assert_eq!(lines.len(), CHILDREN * LINES);
        let expected: BTreeSet<_> = (0..CHILDREN)
            .flat_map(|child| (0..LINES).map(move |it| format!("child {child} line {it} of a log")))
            .collect();
        assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(directory.path().join("logs/node-ipam.log.3").exists(), "it was rotated");
    }
}
