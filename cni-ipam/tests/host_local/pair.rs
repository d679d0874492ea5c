//! One network, served by host-local and by our plugin at once.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const PEER: &str = "/usr/lib/cni/host-local";
const OURS: &str = env!("CARGO_BIN_EXE_cni-ipam");

/// What a plugin answered: what it printed, or the code and the text of its error.
pub(crate) type Answer = Result<Value, (u64, String)>;

/// A call of both plugins. The configuration lacks `ipam.type` and `ipam.dataDir`.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    pub(crate) verb: &'a str,
    pub(crate) container: &'a str,
    pub(crate) args: &'a str,
    pub(crate) config: &'a Value,
}

/// Both plugins, each with a data directory of its own, and the table of what they answered.
pub(crate) struct Pair {
    peer: TempDir,
    ours: TempDir,
    table: String,
    unequal: Vec<String>,
}

impl Pair {
    pub(crate) fn new(title: &str) -> Self {
        let directory = || tempfile::tempdir().unwrap();
        let table = format!("\n{title}\n");
        Self { peer: directory(), ours: directory(), table, unequal: Vec::new() }
    }

    /// A call to which both give the same answer, or an error each. Answers ours.
    pub(crate) fn same(&mut self, call: &Call<'_>) -> Answer {
        let [peer, ours] = self.run(call);
        let is_same = match (&peer, &ours) {
            (Ok(peer), Ok(ours)) => peer == ours,
            (peer, ours) => peer.is_err() && ours.is_err(),
        };
        self.note(call, &peer, &ours, if is_same { "same" } else { "NOT THE SAME" });
        if !is_same {
            self.unequal.push(format!("{} {}", call.verb, call.container));
        }
        ours
    }

    /// A call to which they are known to answer differently. Answers host-local's and ours.
    pub(crate) fn differs(&mut self, call: &Call<'_>, why: &str) -> [Answer; 2] {
        let [peer, ours] = self.run(call);
        let is_same = match (&peer, &ours) {
            (Ok(peer), Ok(ours)) => peer == ours,
            (peer, ours) => peer.is_err() && ours.is_err(),
        };
        self.note(call, &peer, &ours, &format!("differs: {why}"));
        if is_same {
            self.unequal.push(format!("{} {}: no difference", call.verb, call.container));
        }
        [peer, ours]
    }

    fn run(&self, call: &Call<'_>) -> [Answer; 2] {
        [
            run(Path::new(PEER), "host-local", self.peer.path(), call),
            run(Path::new(OURS), "cni-ipam", self.ours.path(), call),
        ]
    }

    fn note(&mut self, call: &Call<'_>, peer: &Answer, ours: &Answer, verdict: &str) {
        let Call { verb, container, args, .. } = call;
        let table = &mut self.table;
        writeln!(table, "  {verb} {container} {args}: {verdict}").unwrap();
        writeln!(table, "    host-local {}", shown(peer)).unwrap();
        writeln!(table, "    cni-ipam   {}", shown(ours)).unwrap();
    }

    /// Prints the table.
    pub(crate) fn end(self) {
        eprintln!("{}", self.table);
        assert!(self.unequal.is_empty(), "{:?}{}", self.unequal, self.table);
    }
}

/// Runs one plugin as libcni does.
pub(crate) fn run(program: &Path, kind: &str, data_dir: &Path, call: &Call<'_>) -> Answer {
    let mut config = call.config.clone();
    config["ipam"]["type"] = kind.into();
    config["ipam"]["dataDir"] = data_dir.to_str().unwrap().into();
    let mut child = Command::new(program)
        .env_clear()
        .env("CNI_COMMAND", call.verb)
        .env("CNI_CONTAINERID", call.container)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", "/never/opened")
        .env("CNI_PATH", "/usr/lib/cni")
        .env("CNI_ARGS", call.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}: apt-get install containernetworking-plugins", program.display())
        });
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = if output.stdout.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&output.stdout).unwrap()
    };
    if output.status.success() {
        return Ok(without_empty_dns(answer));
    }
    Err((answer["code"].as_u64().unwrap(), answer["msg"].as_str().unwrap().to_owned()))
}

/// Debian's host-local prints an empty `dns` in every version; we and later ones before 1.0.0 only.
fn without_empty_dns(mut answer: Value) -> Value {
    if let Some(object) = answer.as_object_mut()
        && object.get("dns") == Some(&json!({}))
    {
        object.remove("dns");
    }
    answer
}

/// Our plugin with a directory of host-local's.
pub(crate) fn ours_in(data_dir: &Path, call: &Call<'_>) -> Answer {
    run(Path::new(OURS), "cni-ipam", data_dir, call)
}

/// host-local in a directory.
pub(crate) fn peer_in(data_dir: &Path, call: &Call<'_>) -> Answer {
    run(Path::new(PEER), "host-local", data_dir, call)
}

/// The addresses of a result.
pub(crate) fn addresses(answer: &Answer) -> Vec<String> {
    let ips = answer.as_ref().unwrap()["ips"].as_array().cloned().unwrap_or_default();
    ips.iter().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
}

/// The files of a network's directory.
pub(crate) fn files(data_dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(data_dir.join("net")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A configuration for both.
pub(crate) fn config(ipam: Value) -> Value {
    let mut config = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge"});
    config["ipam"] = ipam;
    config
}

fn shown(answer: &Answer) -> String {
    match answer {
        Ok(Value::Null) => "success".to_owned(),
        Ok(answer) => answer.to_string(),
        Err((code, msg)) => format!("error {code}: {msg}"),
    }
}
