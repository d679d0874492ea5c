//! Another plugin that is asked in this one's place, such as the IPAM plugin that `ipam.type`
//! names (specification, section 4, "Plugin Delegation").

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use cni_proto::{Code, Error, Verb};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often, and after which pauses, a file that somebody still writes is tried again: five seconds
/// in all.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The most bytes of an answer that are read. A true one, of many addresses and routes, has some
/// thousands.
const LONGEST_ANSWER: u64 = 1 << 20;
/// The same of what it says on standard error; what is more is read and dropped.
const LONGEST_WORDS: u64 = 1 << 20;

/// A plugin to run with the environment of this process, which has what a delegate needs.
#[derive(Debug, Clone, Copy)]
pub struct Delegate<'a> {
    /// Its file name in one of the directories.
    pub plugin: &'a str,
    /// `CNI_PATH`, in the order in which it is searched.
    pub path: &'a [PathBuf],
    /// What it reads: the complete configuration that this plugin was given, as JSON.
    pub configuration: &'a str,
}

impl Delegate<'_> {
    /// Runs it for one verb, and answers what it printed. What it says on standard error goes to
    /// this process's own.
    ///
    /// # Errors
    /// The delegate's own error as it is. Code 7 if no directory has such a plugin, 5 if it cannot
    /// be started, 6 if its answer has no end (it is killed with what it has started), 999 with its
    /// exit status if it failed without an error object.
    pub fn run(&self, verb: Verb) -> Result<Vec<u8>, Error> {
        self.start(verb)?.wait()
    }

    /// Starts it for one verb. It gets its input once it is [waited for](RunningDelegate::wait).
    ///
    /// # Errors
    /// Code 7 if no directory has such a plugin, 5 if it cannot be started.
    pub fn start(&self, verb: Verb) -> Result<RunningDelegate<'_>, Error> {
        let file = self.file()?;
        let child = start(&file, verb, || thread::sleep(BUSY_PAUSE))
            .map_err(|error| Error::new(Code::IO, format!("start {}: {error}", file.display())))?;
        Ok(RunningDelegate { delegate: self, verb, child })
    }

    /// The first regular file of its name, as for libcni.
    fn file(&self) -> Result<PathBuf, Error> {
        let Self { plugin, path, .. } = self;
        if plugin.contains('/') || matches!(*plugin, "" | "." | "..") {
            let msg = format!("ipam.type {plugin:?}: it must be the file name of a plugin");
            return Err(Error::new(Code::INVALID_CONFIG, msg));
        }
        let mut files = path.iter().map(|directory| directory.join(plugin));
        files.find(|file| fs::metadata(file).is_ok_and(|it| it.is_file())).ok_or_else(|| {
            let searched: Vec<_> = path.iter().map(|it| it.display().to_string()).collect();
            let msg = format!(
                "ipam.type {plugin:?}: CNI_PATH has no such plugin, it is [{}]: install it there",
                searched.join(", ")
            );
            Error::new(Code::INVALID_CONFIG, msg)
        })
    }
}

/// One that is being replaced by a program that does not know of rename is tried again, as libcni
/// does for the plugins that it starts itself, after a pause.
fn start(file: &Path, verb: Verb, mut pause: impl FnMut()) -> io::Result<Child> {
    let mut command = Command::new(file);
    command.env("CNI_COMMAND", verb.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: a delegate may be a script, and what that starts has to end with it.
    command.process_group(0);
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => pause(),
            other => return other,
        }
    }
    command.spawn()
}

/// A delegate at work. One that is not waited for is left to itself.
#[derive(Debug)]
pub struct RunningDelegate<'a> {
    delegate: &'a Delegate<'a>,
    verb: Verb,
    child: Child,
}

impl RunningDelegate<'_> {
    /// Its process id. It is nobody else's until [`wait`](Self::wait) has come to its end.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives it its input and waits for its end, as [`Delegate::run`] does.
    ///
    /// # Errors
    /// As there.
    pub fn wait(self) -> Result<Vec<u8>, Error> {
        let Self { delegate: Delegate { plugin, configuration, .. }, verb, mut child } = self;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (stdin, stdout, stderr) = pipes;
        // On threads: a delegate may write before it has read all of it, and may not read at all.
        let (answer, stderr) = thread::scope(|scope| {
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(configuration.as_bytes())));
            let words = scope.spawn(|| stderr.map(words).transpose());
            let answer = stdout.map(answer).transpose();
            if !matches!(&answer, Ok(Some(answer)) if answer.len() as u64 <= LONGEST_ANSWER) {
                end(&mut child);
            }
            (answer, words.join().unwrap_or(Ok(None)))
        });
        // First: whatever went wrong, it is reaped.
        let status = child.wait();
        let failed = |error| Error::new(Code::IO, format!("run plugin {plugin}: {error}"));
        let (status, stdout) =
            (status.map_err(failed)?, answer.map_err(failed)?.unwrap_or_default());
        // Best effort, as its own would be.
        let stderr = stderr.ok().flatten().unwrap_or_default();
        let _ = io::stderr().write_all(&stderr);
        if stdout.len() as u64 > LONGEST_ANSWER {
            let msg = format!("run plugin {plugin}: it answered more than {LONGEST_ANSWER} bytes");
            return Err(Error::new(Code::DECODE, msg));
        }
        if status.success() {
            return Ok(stdout);
        }
        Err(Error::parse(&stdout).unwrap_or_else(|| {
            let said = String::from_utf8_lossy(if stdout.is_empty() { &stderr } else { &stdout });
            let msg = format!("{verb} of plugin {plugin} failed: {status}");
            Error::new(Code::INTERNAL, msg).with_details(said.trim())
        }))
    }
}

/// What it answers, and at most one byte more than it may.
fn answer(stdout: ChildStdout) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stdout.take(LONGEST_ANSWER + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The beginning of what it says on standard error, once it has said all: a full pipe would stop it.
fn words(mut stderr: ChildStderr) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stderr.by_ref().take(LONGEST_WORDS).read_to_end(&mut bytes)?;
    io::copy(&mut stderr, &mut io::sink())?;
    Ok(bytes)
}

/// Kills it with all of its group. It is not waited for, so its number is nobody else's.
fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // One that has ended needs none.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    fn plugin(directory: &Path, script: &str) {
        let file = directory.join("fake");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(script: &str, configuration: &str) -> Result<String, Error> {
        let directory = tempfile::tempdir().unwrap();
        plugin(directory.path(), script);
        let path = ["/nowhere".into(), directory.path().to_path_buf()];
        let delegate = Delegate { plugin: "fake", path: &path, configuration };
        delegate.run(Verb::Check).map(|stdout| String::from_utf8(stdout).unwrap())
    }

    #[test]
    fn it_gets_verb_and_configuration_and_its_answer_comes_back() {
        assert_eq!(run("echo $CNI_COMMAND; cat", r#"{"a":1}"#).unwrap(), "CHECK\n{\"a\":1}");
    }

    #[test]
    fn one_that_is_still_being_written_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        plugin(directory.path(), "exit 0");
        let file = directory.path().join("fake");
        let mut writer = Some(File::options().append(true).open(&file).unwrap());
        let mut pauses = 0;
        let child = start(&file, Verb::Add, || {
            writer = None;
            pauses += 1;
            // Another test may be starting a child, which has the file until it calls exec.
            thread::sleep(BUSY_PAUSE);
        });
        assert!(child.unwrap().wait().unwrap().success());
        assert!(pauses >= 1, "it was busy");
    }

    #[test]
    fn one_that_does_not_read_or_writes_first_holds_nobody_up() {
        let long = "x".repeat(1 << 19);
        assert_eq!(run("exit 0", &long).unwrap(), "");
        let all = run("head -c 500000 /dev/zero | tr '\\0' y; cat", &long).unwrap();
        assert_eq!(all.len(), 500_000 + (1 << 19));
    }

    /// An answer without an end was read until there was no memory left.
    #[test]
    fn one_whose_answer_has_no_end_is_ended_with_what_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let script = r#"sleep 600 & echo $$ $! >"${0%/*}/pids"; cat /dev/zero; exec sleep 600"#;
        plugin(directory.path(), script);
        let path = [directory.path().to_path_buf()];
        let delegate = Delegate { plugin: "fake", path: &path, configuration: "{}" };
        let error = delegate.run(Verb::Add).unwrap_err();
        assert_eq!(error.code, Code::DECODE);
        assert_eq!(error.msg, "run plugin fake: it answered more than 1048576 bytes");
        let deadline = Instant::now() + Duration::from_secs(60);
        for pid in fs::read_to_string(directory.path().join("pids")).unwrap().split_whitespace() {
            // What it has started may be waiting for its new parent.
            let stat = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            while !(stat().is_empty() || stat().contains(") Z ")) {
                assert!(Instant::now() < deadline, "{}", stat());
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    #[test]
    fn of_long_words_the_beginning_is_kept_and_the_rest_holds_nobody_up() {
        let mut command = Command::new("sh");
        command.args(["-c", "head -c 3000000 /dev/zero >&2"]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = words(child.stderr.take().unwrap()).unwrap();
        assert_eq!(said.len() as u64, LONGEST_WORDS);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn its_error_is_passed_on_and_without_one_its_status_and_words_are_told() {
        let error = run(r#"echo '{"code":11,"msg":"full","details":"of 8"}'; exit 1"#, "{}");
        assert_eq!(error, Err(Error::new(Code::TRY_AGAIN, "full").with_details("of 8")));
        let error = run("echo no disk >&2; exit 3", "{}").unwrap_err();
        assert_eq!(error.to_string(), "CHECK of plugin fake failed: exit status: 3; no disk");
    }

    #[test]
    fn one_that_is_missing_is_named_with_the_directories() {
        let path = ["/nowhere".into(), "/etc".into()];
        let missing = |plugin| {
            let delegate = Delegate { plugin, path: &path, configuration: "{}" };
            let error = delegate.run(Verb::Add).unwrap_err();
            assert_eq!(error.code, Code::INVALID_CONFIG);
            error.msg
        };
        assert_eq!(
            missing("host-lokal"),
            "ipam.type \"host-lokal\": CNI_PATH has no such plugin, it is [/nowhere, /etc]: \
             install it there"
        );
        assert!(missing("../sh").contains("it must be the file name"));
    }
}
