//! The demo: the seed's cluster, started and shown.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::request::Request;
use crate::{guest, ipvlan, packages, plugins, vm, workspace};

/// Far more than it takes; the guest is slow on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Builds and runs the demo where ipvlan is; answers its exit status.
pub(crate) fn run(arguments: Vec<String>) -> Result<u8> {
    packages::ensure(&[packages::NETWORK])?;
    eprintln!("xtask: building the plugins and the demo");
    let demo = plugins::build_with_demo()?;
    let folder = demo.parent().context("the demo is in a folder")?;
    if ipvlan::available()? {
        let status = Command::new(&demo)
            .args(arguments)
            .env(plugins::FOLDER_VARIABLE, folder)
            .current_dir(workspace::root())
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("cannot start {}", demo.display()))?;
        return Ok(guest::code_of(status));
    }
    eprintln!("xtask: this kernel has no ipvlan: the demo runs in a virtual machine");
    let mut command = vec![demo.display().to_string()];
    command.extend(arguments);
    let mut request = Request::new(command, workspace::root().to_owned());
    request.environment.insert(plugins::FOLDER_VARIABLE.to_owned(), folder.display().to_string());
    vm::run(&vm::Run { request, out: None, timeout: TIMEOUT }, io::stdout())
}
