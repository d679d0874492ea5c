//! A container runtime's part: it runs CNI plugins as libcni does.

use std::mem;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::namespace::Namespace;
use crate::outcome::{self, Outcome};
use crate::plugin_dir::{PLUGIN_DIR, plugin_dir};
use crate::pod::Pod;

/// The container runtime of a node.
#[derive(Clone, Debug)]
pub struct Runtime<'node> {
    node: &'node Namespace,
    plugin_dir: PathBuf,
}

/// One call of a plugin, every part of which a test may bend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The plugin's file name.
    pub plugin: String,
    /// `CNI_COMMAND`.
    pub command: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; empty if there is none.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// What is on the plugin's standard input.
    pub conf: String,
    /// Further variables of its environment, or other values for the six.
    pub environment: Vec<(String, String)>,
    /// Variables that are not there at all, in place of empty.
    pub unset: Vec<String>,
}

/// A plugin that runs. Dropping it kills the plugin.
#[derive(Debug)]
pub struct Running {
    plugin: String,
    child: Option<Child>,
}

/// What a plugin answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The plugin's file name.
    pub plugin: String,
    /// How it ended and what it wrote.
    pub outcome: Outcome,
    /// Its standard output, if that is JSON.
    pub json: Option<Value>,
}

impl Answer {
    /// Whether the plugin ended with exit code 0.
    pub fn is_success(&self) -> bool {
        self.outcome.status.success()
    }

    /// The result of a call that should succeed; `Null` if a successful plugin wrote nothing.
    ///
    /// # Errors
    ///
    /// The plugin failed, or wrote something that is no JSON: the error has all that it wrote.
    pub fn success(&self) -> Result<&Value> {
        let Outcome { status, stdout, stderr } = &self.outcome;
        let said = || format!("{}: {status}\nstdout: {stdout}\nstderr: {stderr}", self.plugin);
        ensure!(self.is_success(), said());
        match &self.json {
            Some(json) => Ok(json),
            None if stdout.is_empty() => Ok(&Value::Null),
            None => Err(anyhow::anyhow!(said()).context("success without JSON")),
        }
    }

    /// The code of the CNI error object on the standard output; `None` if there is no such.
    pub fn error_code(&self) -> Option<u64> {
        self.json.as_ref()?.get("code")?.as_u64()
    }
}

impl<'node> Runtime<'node> {
    pub(crate) fn new(node: &'node Namespace) -> Result<Self> {
        Ok(Self { node, plugin_dir: plugin_dir()? })
    }

    /// The same runtime with plugins from another folder.
    #[must_use]
    pub fn with_plugin_dir(self, plugin_dir: impl Into<PathBuf>) -> Self {
        Self { plugin_dir: plugin_dir.into(), ..self }
    }

    /// ADD, to its end. That the plugin failed is an [`Answer`], not an error.
    ///
    /// # Errors
    ///
    /// The plugin is not built (the error says how), or could not be started.
    pub fn add(&self, plugin: &str, conf: &str, pod: &Pod, interface: &str) -> Result<Answer> {
        self.start(&Call::of("ADD", plugin, conf, pod, interface))?.wait()
    }

    /// CHECK, as [`add`](Self::add).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn check(&self, plugin: &str, conf: &str, pod: &Pod, interface: &str) -> Result<Answer> {
        self.start(&Call::of("CHECK", plugin, conf, pod, interface))?.wait()
    }

    /// DEL, as [`add`](Self::add). A runtime that has the result of the ADD puts it into `conf`
    /// as `prevResult`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn del(&self, plugin: &str, conf: &str, pod: &Pod, interface: &str) -> Result<Answer> {
        self.start(&Call::of("DEL", plugin, conf, pod, interface))?.wait()
    }

    /// VERSION, as [`add`](Self::add).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn version(&self, plugin: &str) -> Result<Answer> {
        self.start(&Call {
            // libcni fills what old plugins demand even here (pkg/invoke/exec.go).
            container_id: "dummy".to_owned(),
            netns: "dummy".to_owned(),
            interface: "dummy".to_owned(),
            ..Call::without_pod("VERSION", plugin, r#"{"cniVersion":"1.1.0"}"#)
        })?
        .wait()
    }

    /// STATUS, as [`add`](Self::add).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn status(&self, plugin: &str, conf: &str) -> Result<Answer> {
        self.start(&Call::without_pod("STATUS", plugin, conf))?.wait()
    }

    /// GC, as [`add`](Self::add); the valid attachments are in `conf`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn gc(&self, plugin: &str, conf: &str) -> Result<Answer> {
        self.start(&Call::without_pod("GC", plugin, conf))?.wait()
    }

    /// Starts a plugin as libcni does, and returns as soon as it has its input: in the node's
    /// namespace, with all six `CNI_` variables, empty or not, and no other, in the directory
    /// `/`. `CNI_PATH` is the folder of the plugins.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add).
    pub fn start(&self, call: &Call) -> Result<Running> {
        let child = self.node.spawn(&mut call.command_line(&self.plugin_dir)?)?;
        Running::new(call, child)
    }
}

impl Call {
    /// A call for a pod's interface.
    pub fn of(command: &str, plugin: &str, conf: &str, pod: &Pod, interface: &str) -> Self {
        Self {
            container_id: pod.spec().sandbox_id.clone(),
            netns: pod.path().to_string_lossy().into_owned(),
            interface: interface.to_owned(),
            args: pod.cni_args(),
            ..Self::without_pod(command, plugin, conf)
        }
    }

    /// A call that is about no pod.
    pub fn without_pod(command: &str, plugin: &str, conf: &str) -> Self {
        Self {
            plugin: plugin.to_owned(),
            command: command.to_owned(),
            container_id: String::new(),
            netns: String::new(),
            interface: String::new(),
            args: String::new(),
            conf: conf.to_owned(),
            environment: Vec::new(),
            unset: Vec::new(),
        }
    }
}

impl Call {
    /// The plugin's process, not yet started: with all six `CNI_` variables and no other.
    pub(crate) fn command_line(&self, plugin_dir: &Path) -> Result<Command> {
        let path = plugin_dir.join(&self.plugin);
        ensure!(
            path.is_file(),
            "plugin {name} is not in {dir}: build it with `cargo build -p {name}`, \
             or name its folder in {PLUGIN_DIR}",
            name = self.plugin,
            dir = plugin_dir.display()
        );
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("CNI_COMMAND", &self.command)
            .env("CNI_CONTAINERID", &self.container_id)
            .env("CNI_NETNS", &self.netns)
            .env("CNI_IFNAME", &self.interface)
            .env("CNI_ARGS", &self.args)
            .env("CNI_PATH", plugin_dir)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in &self.unset {
            command.env_remove(name);
        }
        Ok(command)
    }
}

impl Running {
    /// A started process, which gets its input.
    pub(crate) fn new(call: &Call, child: Child) -> Result<Self> {
        let mut running = Self { plugin: call.plugin.clone(), child: Some(child) };
        if let Some(child) = &mut running.child {
            outcome::write_input(child, &call.conf).context("write the plugin's input")?;
        }
        Ok(running)
    }

    /// Whether it has ended by itself, or by a signal.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn has_ended(&mut self) -> Result<bool> {
        self.child.as_mut().map_or(Ok(true), |child| Ok(child.try_wait()?.is_some()))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Sends SIGKILL. One that has ended is dead already.
    ///
    /// # Errors
    ///
    /// The signal was refused.
    pub fn kill(&mut self) -> Result<()> {
        self.child.as_mut().map_or(Ok(()), Child::kill).context("kill the plugin")
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Its output could not be read.
    pub fn wait(mut self) -> Result<Answer> {
        let child = self.child.take().context("the plugin is waited for once")?;
        let outcome = Outcome::of(child)?;
        let json = serde_json::from_str(&outcome.stdout).ok();
        Ok(Answer { plugin: mem::take(&mut self.plugin), outcome, json })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
