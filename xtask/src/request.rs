//! What the guest is asked to run. Written by the host, read by the guest's supervisor.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where programs are looked for besides the caller's own `PATH`.
const STANDARD_PATH: &[&str] =
    &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The caller's variables that the guest gets too.
const INHERITED: &[&str] = &["HOME", "USER", "LANG", "LC_ALL", "TERM", "RUST_BACKTRACE", "CI"];

/// One command with all of its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The program and its arguments; at least the program.
    pub(crate) command: Vec<String>,
    /// The folder to start in, the same path on the host and in the guest.
    pub(crate) folder: PathBuf,
    /// The whole environment.
    pub(crate) environment: BTreeMap<String, String>,
}

impl Request {
    /// A command in `folder`, with what the guest takes over from the caller's environment.
    pub(crate) fn new(command: Vec<String>, folder: PathBuf) -> Self {
        let mut environment: BTreeMap<String, String> = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)))
            .collect();
        environment.entry("HOME".to_owned()).or_insert_with(|| "/root".to_owned());
        let path = search_path(&env::var("PATH").unwrap_or_default());
        environment.insert("PATH".to_owned(), path);
        Self { command, folder, environment }
    }
}

/// The caller's search path, with the standard folders that it lacks at its end.
fn search_path(callers: &str) -> String {
    let mut folders: Vec<&str> = callers.split(':').filter(|folder| !folder.is_empty()).collect();
    for standard in STANDARD_PATH {
        if !folders.contains(standard) {
            folders.push(standard);
        }
    }
    folders.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_path_comes_first_and_sbin_is_never_missing() {
        assert_eq!(
            search_path("/opt/bin::/usr/bin:/bin"),
            "/opt/bin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"
        );
    }

    #[test]
    fn a_request_survives_its_file() {
        let mut request = Request::new(vec!["echo".into(), "a \"b\"\nc".into()], "/tmp".into());
        request.environment.insert("K".into(), "ä=b".into());
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    }
}
