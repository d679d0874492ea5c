//! A configuration list, driven as libcni does (libcni/api.go, `AddNetworkList` and its kin).

use std::env;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use crate::pod::Pod;
use crate::runtime::{Answer, Call, Runtime};

/// A configuration list on a node, for one interface of one pod.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    runtime: Runtime<'a>,
    pod: &'a Pod,
    interface: &'a str,
    list: Value,
    capabilities: Map<String, Value>,
    result: Option<Value>,
}

impl<'a> Chain<'a> {
    /// A list with `cniVersion`, `name` and `plugins`.
    pub fn new(runtime: Runtime<'a>, list: Value, pod: &'a Pod, interface: &'a str) -> Self {
        Self { runtime, pod, interface, list, capabilities: Map::new(), result: None }
    }

    /// What the runtime gives to each plugin that declares the capability.
    #[must_use]
    pub fn with_capability(mut self, capability: &str, value: Value) -> Self {
        self.capabilities.insert(capability.to_owned(), value);
        self
    }

    /// The result of the last ADD that went through, which later verbs get.
    pub fn result(&self) -> Option<&Value> {
        self.result.as_ref()
    }

    /// ADD of each plugin in its order, each with the result of the one before. Ends with the
    /// answer of the last, or of the first that failed.
    ///
    /// # Errors
    ///
    /// A plugin could not be started, or the list has none. That it failed is an [`Answer`].
    pub fn add(&mut self) -> Result<Answer> {
        let answer = self.go("ADD", self.plugins()?.iter())?;
        if answer.is_success() {
            self.result.clone_from(&answer.json);
        }
        Ok(answer)
    }

    /// CHECK of each plugin in its order with the chain's result.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn check(&self) -> Result<Answer> {
        self.go("CHECK", self.plugins()?.iter())
    }

    /// DEL of each plugin, the last one first, with the chain's result, up to the first that fails.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn del(&self) -> Result<Answer> {
        self.go("DEL", self.plugins()?.iter().rev())
    }

    fn plugins(&self) -> Result<&Vec<Value>> {
        self.list["plugins"].as_array().context("a configuration list has plugins")
    }

    fn go<'p>(&self, verb: &str, plugins: impl Iterator<Item = &'p Value>) -> Result<Answer> {
        let mut previous = if verb == "ADD" { None } else { self.result.clone() };
        let mut last = None;
        for plugin in plugins {
            let name = plugin["type"].as_str().context("a plugin has a type")?;
            let configuration = self.configuration(plugin, previous.as_ref())?.to_string();
            let mut call = Call::of(verb, name, &configuration, self.pod, self.interface);
            // The runtime's own environment (pkg/invoke/args.go): some plugins start programs.
            call.environment.push(("PATH".to_owned(), env::var("PATH")?));
            let answer = self.runtime.start(&call)?.wait()?;
            if verb == "ADD" {
                previous.clone_from(&answer.json);
            }
            let failed = !answer.is_success();
            last = Some(answer);
            if failed {
                break;
            }
        }
        last.context("a configuration list has at least one plugin")
    }

    /// What one plugin reads: its part of the list, the result before it, and those capabilities
    /// that it declares and the runtime has.
    fn configuration(&self, plugin: &Value, previous: Option<&Value>) -> Result<Value> {
        let mut configuration = of_list(&self.list, plugin)?;
        if let Some(previous) = previous {
            configuration["prevResult"] = previous.clone();
        }
        let declared = |name: &str| plugin["capabilities"][name] == Value::Bool(true);
        let given = self.capabilities.iter().filter(|(name, _)| declared(name));
        let given: Map<_, _> = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        if !given.is_empty() {
            configuration["runtimeConfig"] = given.into();
        }
        Ok(configuration)
    }
}

/// A plugin's part of a list, with the list's version and name.
pub(crate) fn of_list(list: &Value, plugin: &Value) -> Result<Value> {
    let mut configuration = plugin.clone();
    for key in ["cniVersion", "name"] {
        ensure!(list[key].is_string(), "a configuration list has {key}");
        configuration[key] = list[key].clone();
    }
    Ok(configuration)
}
