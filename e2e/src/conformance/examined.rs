//! What all probes found out about two plugins.

use super::deviation::deviation;
use super::rule::{Role, Rule};
use super::rules::SECTIONS;
use super::subject::Subject;
use super::verdict::Verdict;

/// Every rule's verdicts about one pair of plugins.
#[derive(Clone, Debug)]
pub struct Examined {
    subject: Subject,
    newest: String,
    verdicts: Vec<(&'static str, Vec<(Role, Verdict)>)>,
}

/// How many rules there are of each kind; a rule is broken if either plugin breaks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rules that are kept.
    pub kept: usize,
    /// Rules that are broken.
    pub broken: usize,
    /// Rules that are broken as [`DEVIATIONS`](super::DEVIATIONS) say.
    pub on_purpose: usize,
    /// Rules that are not about these plugins, or cannot be provoked from outside.
    pub not_applicable: usize,
}

impl Examined {
    pub(super) fn new(
        subject: Subject,
        newest: &str,
        verdicts: Vec<(&'static str, Vec<(Role, Verdict)>)>,
    ) -> Self {
        Self { subject, newest: newest.to_owned(), verdicts }
    }

    /// The plugins.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The newest CNI version that both speak.
    pub fn newest(&self) -> &str {
        &self.newest
    }

    /// Both plugins' names.
    pub fn title(&self) -> String {
        format!("{} + {}", self.subject.main, self.subject.ipam)
    }

    /// Whether the rule was put to them.
    pub(super) fn has(&self, rule: &Rule) -> bool {
        self.verdicts.iter().any(|(id, _)| *id == rule.id)
    }

    /// The verdict in each role that the rule is about; none if it cannot be provoked.
    pub fn verdicts(&self, rule: &Rule) -> &[(Role, Verdict)] {
        let found = self.verdicts.iter().find(|(id, _)| *id == rule.id);
        found.map_or(&[], |(_, verdicts)| verdicts)
    }

    /// How many rules are kept, broken, and so on.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for rule in SECTIONS.iter().flat_map(|section| section.rules) {
            let verdicts = self.verdicts(rule);
            let has = |is: fn(&Verdict) -> bool| verdicts.iter().any(|(_, verdict)| is(verdict));
            if has(Verdict::is_broken) {
                match deviation(rule.id, &self.subject.main) {
                    Some(_) => tally.on_purpose += 1,
                    None => tally.broken += 1,
                }
            } else if has(|verdict| matches!(verdict, Verdict::Kept(_))) {
                tally.kept += 1;
            } else {
                tally.not_applicable += 1;
            }
        }
        tally
    }

    /// What must not be: rules that are broken, and deviations that are none. One line each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for rule in SECTIONS.iter().flat_map(|section| section.rules) {
            let verdicts = self.verdicts(rule);
            let on_purpose = deviation(rule.id, &self.subject.main).is_some();
            if self.has(rule)
                && on_purpose
                && verdicts.iter().all(|(_, verdict)| !verdict.is_broken())
            {
                faults.push(format!("{}: is said to be broken on purpose, and is kept", rule.id));
            }
            for (role, verdict) in verdicts.iter().filter(|(_, verdict)| verdict.is_broken()) {
                if !on_purpose {
                    let (role, seen) = (role.name(), verdict.seen());
                    faults.push(format!("{} ({role}): {}: {seen}", rule.id, rule.says));
                }
            }
        }
        faults
    }
}
