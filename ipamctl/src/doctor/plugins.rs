//! The programs of the plugins, asked who they are.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::examined::Program;

/// How long a program may take to say its version.
const DEADLINE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// The first program of this name in the directories.
pub(super) fn find(name: &str, directories: &[PathBuf]) -> Option<Program> {
    let mut files = directories.iter().map(|directory| directory.join(name));
    let path = files.find(|file| file.is_file())?;
    let answer = ask(&path, Some("VERSION")).and_then(|(stdout, _)| {
        let answer: Result<serde_json::Value, _> = serde_json::from_str(&stdout);
        let is_one = answer.is_ok_and(|answer| answer["supportedVersions"].is_array());
        if is_one { Ok(()) } else { Err("its answer to VERSION is none".to_owned()) }
    });
    let answer = answer.and_then(|()| {
        let (_, stderr) = ask(&path, None)?;
        let version = stderr.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        Ok(version.unwrap_or_default().to_owned())
    });
    Some(Program { path, answer })
}

/// Runs a plugin with nothing in its environment but the verb, and answers stdout and stderr.
fn ask(path: &Path, verb: Option<&str>) -> Result<(String, String), String> {
    let mut command = Command::new(path);
    command.env_clear().envs(verb.map(|verb| ("CNI_COMMAND", verb)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read has ended, which its status tells.
        drop(stdin.write_all(br#"{"cniVersion":"1.0.0"}"#));
    }
    let ended = within(&mut child, DEADLINE)?;
    let mut texts = (String::new(), String::new());
    let failed = |error: std::io::Error| error.to_string();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(1 << 16).read_to_string(&mut texts.0).map_err(failed)?;
    }
    if let Some(stderr) = child.stderr.take() {
        stderr.take(1 << 16).read_to_string(&mut texts.1).map_err(failed)?;
    }
    if ended.success() { Ok(texts) } else { Err(format!("{ended}: {}", texts.1.trim())) }
}

fn within(child: &mut Child, deadline: Duration) -> Result<std::process::ExitStatus, String> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if began.elapsed() < deadline => thread::sleep(PAUSE),
            Ok(None) => {
                drop(child.kill());
                drop(child.wait());
                return Err(format!("no answer within {} s", deadline.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(script: &str) -> Program {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cni-ipam");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        find("cni-ipam", &["/nowhere".into(), directory.path().into()]).unwrap()
    }

    #[test]
    fn a_plugin_says_its_version_and_another_program_does_not() {
        let ours = r#"[ -n "$CNI_COMMAND" ] && echo '{"supportedVersions":["1.0.0"]}' && exit
            echo "cni-ipam: a CNI plugin" >&2; echo "cni-ipam 0.1.0" >&2"#;
        assert_eq!(program(ours).answer, Ok("0.1.0".to_owned()));
        let silent = r#"cat >&2; echo '{"supportedVersions":["1.0.0"]}'"#;
        assert_eq!(program(silent).answer, Ok(String::new()));
        assert_eq!(program("echo hello").answer, Err("its answer to VERSION is none".to_owned()));
        assert_eq!(program("echo no >&2; exit 7").answer, Err("exit status: 7: no".to_owned()));
        assert!(find("cni-ipam", &["/nowhere".into()]).is_none());
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sleeper");
        fs::write(&file, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(&file).spawn().unwrap();
        let pid = child.id();
        assert_eq!(within(&mut child, Duration::ZERO), Err("no answer within 0 s".to_owned()));
        assert!(!Path::new(&format!("/proc/{pid}/exe")).exists());
    }
}
