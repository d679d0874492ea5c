//! The wiring by commands: what a coordinator has to come to, and the work that its cost is compared
//! with.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::node::Node;
use crate::pod::Pod;
use crate::reference_script::{Line, Place, Program, lines};
use crate::wiring::{Attached, Coordination, Wiring};

/// Wires by commands.
#[derive(Debug, Default)]
pub struct ReferenceWiring {
    /// The nodes that have what their pods share, by family.
    shared: Mutex<BTreeSet<(String, Program)>>,
}

impl Wiring for ReferenceWiring {
    fn wire(
        &self,
        node: &Node,
        pod: &Pod,
        interfaces: &[Attached],
        coordination: &Coordination,
    ) -> Result<()> {
        let mut lines = lines(node, pod, interfaces, coordination)?;
        lines.retain(|line| !line.shared || self.is_first(node, line));
        // The veth first, which all others name. Of the others, those of one program and place are
        // one process: in the virtual machine, processes are what takes the time.
        let veth = lines.iter().filter(|line| line.text.starts_with("link add")).count();
        let (first, mut rest) = (lines.drain(..veth).collect::<Vec<_>>(), lines);
        perform(node, pod, &first)?;
        rest.sort_by_key(|line| (line.program != Program::Sysctl, line.place, line.program));
        let processes = rest.chunk_by(|one, other| {
            let batch = matches!(one.program, Program::Ip { .. });
            batch && (one.place, one.program) == (other.place, other.program)
        });
        for lines in processes {
            perform(node, pod, lines)?;
        }
        Ok(())
    }
}

impl ReferenceWiring {
    /// A way that has wired no pod yet.
    pub const fn new() -> Self {
        Self { shared: Mutex::new(BTreeSet::new()) }
    }

    /// Whether this line has to be done: what pods share is there from the first one on.
    fn is_first(&self, node: &Node, line: &Line) -> bool {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.insert((node.name().to_owned(), line.program))
    }
}

/// Runs each line as a process of its own, one after another, as a plugin does that calls `ip`.
///
/// # Errors
///
/// As [`Wiring::wire`].
pub fn perform_one_by_one(node: &Node, pod: &Pod, lines: &[Line]) -> Result<()> {
    for line in lines {
        let Program::Ip { ipv6 } = line.program else {
            perform(node, pod, std::slice::from_ref(line))?;
            continue;
        };
        let mut command = Command::new("ip");
        command.arg(if ipv6 { "-6" } else { "-4" }).args(line.text.split_whitespace());
        let outcome = namespace(node, pod, line.place).feed(&mut command, "")?;
        if !(line.shared && outcome.stderr.contains("File exists")) {
            outcome.success().with_context(|| line.text.clone())?;
        }
    }
    Ok(())
}

/// Runs lines of one place and program.
fn perform(node: &Node, pod: &Pod, lines: &[Line]) -> Result<()> {
    let Some(first) = lines.first() else { return Ok(()) };
    let namespace = namespace(node, pod, first.place);
    let text = lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n");
    let done = match first.program {
        Program::Ip { ipv6: false } => namespace.ip(&text),
        Program::Ip { ipv6: true } => namespace.ip6(&text),
        Program::Nft => namespace.nft(&text),
        Program::Sysctl => {
            let (path, value) = text.split_once('=').context("a sysctl is PATH=VALUE")?;
            namespace.sysctl(path, value)
        }
    };
    done.with_context(|| format!("wire pod {}", pod.name()))
}

fn namespace<'a>(node: &'a Node, pod: &'a Pod, place: Place) -> &'a Namespace {
    match place {
        Place::Node => node,
        Place::Pod => pod,
    }
}
