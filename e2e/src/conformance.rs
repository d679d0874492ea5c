//! Whether plugins keep the rules of CNI: each rule as data, with a probe that runs the programs in
//! a lab's namespaces as a runtime does.
//!
//! ```no_run
//! use e2e::conformance::{Stand, Subject};
//! use e2e::{Lab, seed};
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::start(&seed::one_node())?;
//! let stand = Stand::new(&lab)?;
//! let upstream = Subject::new("/usr/lib/cni", "ipvlan", "host-local");
//! println!("{}", e2e::conformance::markdown(&stand.examine(&[upstream], &[])?));
//! # Ok(())
//! # }
//! ```

mod answers;
mod case;
mod deviation;
mod examined;
mod rule;
mod rules;
mod subject;
mod table;
mod verdict;

use std::sync::atomic::{AtomicU16, Ordering};
use std::{panic, thread};

use anyhow::{Context, Result};

use crate::description::PodSpec;
use crate::lab::Lab;
use crate::pod::Pod;
use case::{Case, Of, Results};
pub use deviation::{DEVIATIONS, Deviation};
pub use examined::{Examined, Tally};
pub use rule::{Role, Rule, Section};
pub use rules::SECTIONS;
pub use subject::{Subject, VERSIONS};
pub use table::{lines, markdown};
pub use verdict::Verdict;

/// A node on which plugins are examined, any number of pairs at the same time.
#[derive(Debug)]
pub struct Stand<'lab> {
    lab: &'lab Lab,
    /// In whose name it is asked whether an address is free.
    other: Pod,
    networks: AtomicU16,
}

impl<'lab> Stand<'lab> {
    /// On the first node of a lab.
    ///
    /// # Errors
    ///
    /// The lab has no node, or can run no more pods.
    pub fn new(lab: &'lab Lab) -> Result<Self> {
        let node = lab.nodes().first().context("a lab with a node")?;
        let spec = PodSpec::new("cni", "somebody-else", &node.spec().name, "default/conformance");
        let other = lab.run_pods(&[spec])?.pop().context("the pod that was asked for")?;
        Ok(Self { lab, other, networks: AtomicU16::new(0) })
    }

    /// Puts each pair of plugins to every rule, or to those with these ids if there are any; the
    /// pairs at the same time. A probe that cannot go on, since something that it takes for granted
    /// failed, counts as broken; its reason goes to standard error.
    ///
    /// # Errors
    ///
    /// A plugin is missing, or does not answer VERSION.
    ///
    /// # Panics
    ///
    /// As a probe does, which none should.
    pub fn examine(&self, subjects: &[Subject], ids: &[String]) -> Result<Vec<Examined>> {
        thread::scope(|scope| {
            let threads: Vec<_> = subjects
                .iter()
                .map(|subject| scope.spawn(|| self.examine_one(subject, ids)))
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        })
    }

    fn examine_one(&self, subject: &Subject, ids: &[String]) -> Result<Examined> {
        let node = self.lab.nodes().first().context("a lab with a node")?;
        let runtime = node.runtime()?.with_plugin_dir(&subject.plugin_dir);
        let newest = case::newest(&runtime, [&subject.main, &subject.ipam])?;
        let results = [Role::Main, Role::Ipam].map(|role| (role, Results::default()));
        let mut verdicts = Vec::new();
        let is_asked = |rule: &&Rule| ids.is_empty() || ids.iter().any(|id| id == rule.id);
        for rule in SECTIONS.iter().flat_map(|section| section.rules).filter(is_asked) {
            let mut of_rule = Vec::new();
            for (role, results) in results.iter().filter(|(role, _)| rule.roles.contains(role)) {
                let verdict = self.probe(rule, Of { subject, role: *role, newest, results });
                of_rule.extend(verdict.map(|verdict| (*role, verdict)));
            }
            verdicts.push((rule.id, of_rule));
        }
        Ok(Examined::new(subject.clone(), newest, verdicts))
    }

    fn probe(&self, rule: &Rule, of: Of<'_>) -> Option<Verdict> {
        let probe = rule.probe?;
        let Of { subject, role: part, newest, .. } = of;
        if !subject::is_since(newest, rule.since) {
            return Some(Verdict::NotApplicable(format!("CNI {}", rule.since)));
        }
        let number = self.networks.fetch_add(1, Ordering::Relaxed);
        let case = Case::new(self.lab, &self.other, of, number);
        let verdict = case.and_then(|case| (probe.run)(&case));
        Some(verdict.unwrap_or_else(|error| {
            let plugin = if part == Role::Main { &subject.main } else { &subject.ipam };
            eprintln!("conformance: {} of {plugin}: {error:#}", rule.id);
            Verdict::Broken("the probe could not go on".to_owned())
        }))
    }
}
