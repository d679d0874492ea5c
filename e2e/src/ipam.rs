//! The IPAM plugin by itself: processes that share one database and touch no kernel state.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::ipamctl;
use crate::outcome::Outcome;
use crate::plugin_dir::plugin_dir;
use crate::runtime::{Answer, Call, Running};

/// The plugin.
pub const IPAM: &str = "cni-ipam";

/// The network that all attachments are of.
pub const NETWORK: &str = "net";

/// The node that asks.
pub const NODE: &str = "node";

/// The interface of every attachment.
pub const INTERFACE: &str = "eth0";

/// The IPAM plugin over one database, as a runtime and an operator use it.
#[derive(Clone, Debug)]
pub struct Ipam {
    plugin_dir: PathBuf,
    directory: PathBuf,
    options: Map<String, Value>,
    wrapper: Vec<String>,
}

impl Ipam {
    /// The plugin over the database in `directory`, which need not be there.
    ///
    /// # Errors
    ///
    /// The running executable has no path.
    pub fn new(directory: impl Into<PathBuf>) -> Result<Self> {
        let (options, wrapper) = (Map::new(), Vec::new());
        Ok(Self { plugin_dir: plugin_dir()?, directory: directory.into(), options, wrapper })
    }

    /// The same with a field of the configuration's `ipam`.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.options.insert(field.to_owned(), value.into());
        self
    }

    /// The same, whose processes are started by a program that takes a command line.
    #[must_use]
    pub fn started_by(self, program: &[&str]) -> Self {
        Self { wrapper: program.iter().map(|&word| word.to_owned()).collect(), ..self }
    }

    /// Where the database is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The lock file's note; empty if there is none.
    pub fn lock_note(&self) -> String {
        fs::read_to_string(self.directory.join("lock")).unwrap_or_default()
    }

    /// A call for an attachment, whose namespace is this process's own and so lives.
    pub fn call(&self, command: &str, container: &str) -> Call {
        Call {
            container_id: container.to_owned(),
            netns: format!("/proc/{}/ns/net", process::id()),
            interface: INTERFACE.to_owned(),
            ..Call::without_pod(command, IPAM, &self.configuration().to_string())
        }
    }

    /// The network configuration.
    pub fn configuration(&self) -> Value {
        let mut ipam = self.options.clone();
        ipam.insert("type".into(), json!(IPAM));
        ipam.insert("nodeName".into(), json!(NODE));
        ipam.insert("dataDir".into(), json!(self.directory));
        json!({ "cniVersion": "1.1.0", "name": NETWORK, "type": "upper", "ipam": ipam })
    }

    /// Starts a process and gives it its input.
    ///
    /// # Errors
    ///
    /// The plugin is not built (the error says how), or could not be started.
    pub fn start(&self, call: &Call) -> Result<Running> {
        let mut command = call.command_line(&self.plugin_dir)?;
        if let Some((program, arguments)) = self.wrapper.split_first() {
            let mut wrapped = Command::new(program);
            wrapped
                .args(arguments)
                .arg(command.get_program())
                .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            wrapped.current_dir("/");
            let piped = process::Stdio::piped;
            wrapped.stdin(piped()).stdout(piped()).stderr(piped());
            command = wrapped;
        }
        Running::new(call, command.spawn().with_context(|| format!("{command:?}"))?)
    }

    /// ADD, to its end. That the plugin failed is an [`Answer`].
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn add(&self, container: &str) -> Result<Answer> {
        self.start(&self.call("ADD", container))?.wait()
    }

    /// DEL, as [`Self::add`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn del(&self, container: &str) -> Result<Answer> {
        self.start(&self.call("DEL", container))?.wait()
    }

    /// STATUS, as [`Self::add`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn status(&self) -> Result<Answer> {
        self.start(&Call::without_pod("STATUS", IPAM, &self.configuration().to_string()))?.wait()
    }

    /// GC with this list of containers, `null`, or without the key, as [`Self::add`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn gc(&self, valid: Option<&Value>) -> Result<Answer> {
        let mut configuration = self.configuration();
        if let Some(valid) = valid {
            configuration["cni.dev/valid-attachments"] = valid.clone();
        }
        self.start(&Call::without_pod("GC", IPAM, &configuration.to_string()))?.wait()
    }

    /// Runs `ipamctl` over the database. That it failed is an [`Outcome`].
    ///
    /// # Errors
    ///
    /// It is not built, or could not be started.
    pub fn ipamctl(&self, arguments: &[&str]) -> Result<Outcome> {
        ipamctl::run(std::slice::from_ref(&self.directory), arguments)
    }

    /// `ipamctl apply` of one default pool in 10.0.0.0/16 with these addresses.
    ///
    /// # Errors
    ///
    /// As [`Self::ipamctl`].
    pub fn apply(&self, addresses: &str) -> Result<Outcome> {
        let document = json!({
            "apiVersion": "spiderpool.spidernet.io/v2beta1",
            "kind": "SpiderIPPool",
            "metadata": { "name": "pool" },
            "spec": { "default": true, "subnet": "10.0.0.0/16", "ips": [addresses] },
        });
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("pool.yaml");
        fs::write(&file, document.to_string())?;
        self.ipamctl(&["apply", "-f", &file.to_string_lossy()])
    }

    /// The held addresses by `ipamctl get ips`, each with its container.
    ///
    /// # Errors
    ///
    /// As [`Self::ipamctl`], or it failed.
    pub fn held(&self) -> Result<BTreeMap<String, String>> {
        let text = self.ipamctl(&["get", "ips", "-o", "json"])?.success()?;
        let list: Value = serde_json::from_str(&text)?;
        let item = |item: &Value| {
            let word = |key: &str| Some(item[key].as_str()?.to_owned());
            word("ip").zip(word("containerID")).context("an item of `ipamctl get ips`")
        };
        list["items"].as_array().context("items")?.iter().map(item).collect()
    }

    /// What the process of `verb` said apart from a result, as `docs/operations.md` writes it:
    /// its error object, then the lines of its standard error, with the usual directory in the
    /// place of this one.
    pub fn said(&self, verb: &str, answer: &Answer) -> Vec<String> {
        let object = answer.json.as_ref().filter(|_| !answer.is_success());
        let object = object.map(|object| {
            let details = object["details"].as_str().unwrap_or_default();
            let msg = object["msg"].as_str().unwrap_or_default();
            format!("{verb} {}: {msg}{details}", object["code"])
        });
        let log = answer.outcome.stderr.lines().map(|line| format!("{verb} log: {line}"));
        object.into_iter().chain(log).map(|line| self.usual(&line)).collect()
    }

    /// What `ipamctl` said on its standard error, likewise.
    pub fn told(&self, outcome: &Outcome) -> Vec<String> {
        outcome.stderr.lines().map(|line| self.usual(line)).collect()
    }

    fn usual(&self, line: &str) -> String {
        line.replace(&*self.directory.to_string_lossy(), "/var/lib/cni/node-ipam")
    }
}
