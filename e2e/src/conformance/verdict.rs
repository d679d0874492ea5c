//! What a probe found out about one rule.

use std::fmt::Display;

/// Whether a plugin keeps a rule, each with what was seen, short enough for a cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Kept(String),
    /// It does not.
    Broken(String),
    /// The rule is not about it; the text says why.
    NotApplicable(String),
}

impl Verdict {
    /// Kept or broken.
    pub(super) fn of(kept: bool, seen: impl Display) -> Self {
        let seen = seen.to_string();
        if kept { Self::Kept(seen) } else { Self::Broken(seen) }
    }

    /// What was seen.
    pub fn seen(&self) -> &str {
        match self {
            Self::Kept(seen) | Self::Broken(seen) | Self::NotApplicable(seen) => seen,
        }
    }

    /// Whether the rule is broken.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

/// Several looks at one rule: it is kept if each found it kept.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What was seen, without repetition.
    kept: Vec<String>,
    /// What was seen and where.
    broken: Vec<(String, Vec<String>)>,
}

impl Findings {
    /// Adds one look; `case` names it where it found the rule broken.
    pub(super) fn add(&mut self, case: impl Display, kept: bool, seen: impl Display) {
        let seen = seen.to_string();
        if kept {
            if !self.kept.contains(&seen) {
                self.kept.push(seen);
            }
            return;
        }
        match self.broken.iter_mut().find(|(known, _)| *known == seen) {
            Some((_, cases)) => cases.push(case.to_string()),
            None => self.broken.push((seen, vec![case.to_string()])),
        }
    }

    /// All of them together; a rule about nothing, such as versions that are not spoken, is about
    /// others.
    pub(super) fn verdict(self) -> Verdict {
        if self.kept.is_empty() && self.broken.is_empty() {
            return Verdict::NotApplicable("nothing to look at".to_owned());
        }
        if self.broken.is_empty() {
            return Verdict::Kept(self.kept.join("; "));
        }
        let broken = self.broken.iter().map(|(seen, cases)| {
            let cases: Vec<_> = cases.iter().filter(|case| !case.is_empty()).cloned().collect();
            if cases.is_empty() { seen.clone() } else { format!("{}: {seen}", cases.join(", ")) }
        });
        Verdict::Broken(broken.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_look_breaks_the_rule_and_only_it_is_told() {
        assert!(matches!(Findings::default().verdict(), Verdict::NotApplicable(_)));
        let mut findings = Findings::default();
        findings.add("a", true, "code 4");
        findings.add("b", true, "code 4");
        findings.add("c", true, "code 7");
        assert_eq!(findings.verdict(), Verdict::Kept("code 4; code 7".to_owned()));
        let mut findings = Findings::default();
        for (case, kept, seen) in [
            ("a", true, "code 4"),
            ("b", false, "exit 0"),
            ("c", false, "exit 0"),
            ("", false, "x"),
        ] {
            findings.add(case, kept, seen);
        }
        assert_eq!(findings.verdict(), Verdict::Broken("b, c: exit 0; x".to_owned()));
    }
}
