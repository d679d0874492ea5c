//! The table: every rule with what each pair of plugins does about it.

use std::fmt::Write as _;

use super::deviation::{DEVIATIONS, deviation};
use super::examined::Examined;
use super::rule::{Role, Rule};
use super::rules::SECTIONS;
use super::verdict::Verdict;

const INTRODUCTION: &str = "\
# Conformance

Every rule of CNI that a runtime can notice, and whether the plugins keep it. Each row is a probe
that runs the very programs, as a runtime does, in namespaces of their own, and
`e2e/tests/conformance.rs` compares what all of them saw with this file, letter for letter.
Upstream's plugins are those of Debian 12 (containernetworking-plugins 1.1.1).

Sources: `spec N` is section N of CNI's SPEC.md 1.1.0 (`spec 0.4.0`, an older one), `conventions` its
CONVENTIONS.md; `skel`, `types` and `libcni` are the Go code that all upstream plugins, or all
runtimes, share (Debian's is older than some of it); `Go` is how that code reads JSON; `ocicni` and
`go-cni` are the libraries of cri-o and containerd, `host-local` the plugin's documentation. `ours` is
a promise of this project that nobody asked for.

Behind `kept`, **broken** or *on purpose* (explained below) is what was seen; `code N` is an error
object with that code, alone on standard output. Behind `-` is why the rule is not about these plugins:
`CNI 1.1.0` is a version that they do not speak, and what cannot be provoked from outside has a test
inside only. Where main and IPAM plugin differ, both are named. The probe is a function in
`e2e/src/conformance/rules`; the tests named with it go deeper.

Any other plugins can be put to the same test (as root; `--help` has the rest):

```sh
cargo run -p e2e --bin conformance -- --plugin-dir /opt/cni/bin --main macvlan --ipam host-local
```
";

/// The whole document: introduction, one table a section, what is on purpose.
pub fn markdown(columns: &[Examined]) -> String {
    let mut text = format!("{INTRODUCTION}\n");
    line(&mut text, "| plugins | CNI up to | kept | broken | on purpose | not about them |");
    line(&mut text, "|---|---|---|---|---|---|");
    for column in columns {
        let of = column.tally();
        let (title, newest) = (column.title(), column.newest());
        let (kept, broken) = (of.kept, of.broken);
        let row = format!(
            "| {title} | {newest} | {kept} | {broken} | {} | {} |",
            of.on_purpose, of.not_applicable
        );
        line(&mut text, &row);
    }
    for section in SECTIONS {
        let _ = write!(text, "\n## {}\n\n", section.title);
        let titles = columns.iter().map(Examined::title).collect::<Vec<_>>().join(" | ");
        line(&mut text, &format!("| | rule | source | {titles} | covered by |"));
        line(&mut text, &format!("|---|---|---|{}---|", "---|".repeat(columns.len())));
        for rule in section.rules {
            let cells = columns.iter().map(|column| cell(column, rule)).collect::<Vec<_>>();
            let (id, cells, source) = (rule.id, cells.join(" | "), rule.source);
            let row = format!("| {id} | {} | {source} | {cells} | {} |", says(rule), by(rule));
            line(&mut text, &row);
        }
    }
    let is_shown = |plugin: &str| columns.iter().any(|column| column.subject().main == plugin);
    let mut shown = DEVIATIONS.iter().filter(|it| is_shown(it.plugin)).peekable();
    if shown.peek().is_some() {
        line(&mut text, "\n## On purpose\n");
        for it in shown {
            line(&mut text, &format!("- **{}**: {}", it.rule, it.reason));
        }
    }
    text
}

/// The plugins' names, then one line a rule, for a terminal.
pub fn lines(column: &Examined) -> String {
    let mut text = format!("{}\n", column.title());
    for rule in SECTIONS.iter().flat_map(|section| section.rules).filter(|rule| column.has(rule)) {
        let cell = cell(column, rule).replace(['*', '`'], "");
        line(&mut text, &format!("{:<7} {cell}", rule.id));
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn says(rule: &Rule) -> String {
    let of = match rule.roles {
        [Role::Ipam] => " (IPAM)",
        [Role::Main] => " (main)",
        _ => "",
    };
    format!("{}{of}", rule.says)
}

fn by(rule: &Rule) -> String {
    let probe = rule.probe_name().map(|name| format!("`{name}`"));
    let also = rule.also.iter().map(|file| (*file).to_owned());
    probe.into_iter().chain(also).collect::<Vec<_>>().join(", ")
}

fn cell(column: &Examined, rule: &Rule) -> String {
    let verdicts = column.verdicts(rule);
    let on_purpose = deviation(rule.id, &column.subject().main).is_some();
    let one = |verdict: &Verdict| {
        let word = match verdict {
            Verdict::Kept(_) => "kept",
            Verdict::Broken(_) if on_purpose => "*on purpose*",
            Verdict::Broken(_) => "**broken**",
            Verdict::NotApplicable(_) => "-",
        };
        format!("{word}: {}", verdict.seen().replace('|', "\\|"))
    };
    match verdicts {
        [] => "-: not from outside".to_owned(),
        [(_, first), rest @ ..] if rest.iter().all(|(_, verdict)| verdict == first) => one(first),
        all => {
            let each =
                all.iter().map(|(role, verdict)| format!("{} {}", role.name(), one(verdict)));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::subject::Subject;
    use super::*;

    /// What the plugins do takes a kernel with ipvlan to find out; the rest of the document does not.
    #[test]
    fn the_document_has_every_rule_as_it_is_now() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
        let document = fs::read_to_string(file).unwrap();
        assert!(document.starts_with(INTRODUCTION), "its introduction is another one");
        let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| ")).collect();
        for rule in SECTIONS.iter().flat_map(|section| section.rules) {
            let start = format!("| {} | {} | {} | ", rule.id, says(rule), rule.source);
            let end = format!(" | {} |", by(rule));
            let is_it = |row: &&&str| row.starts_with(&start) && row.ends_with(&end);
            assert_eq!(rows.iter().filter(is_it).count(), 1, "{start}...{end}");
        }
        let is_rule = |row: &&&str| row.split(' ').nth(1).is_some_and(|id| id.contains('-'));
        let rules: usize = SECTIONS.iter().map(|section| section.rules.len()).sum();
        assert_eq!(rows.iter().filter(is_rule).count(), rules + 1, "and the row of ours' names");
    }

    #[test]
    fn a_rule_is_broken_if_either_plugin_breaks_it() {
        let rule = &SECTIONS[0].rules[0];
        let verdicts = vec![
            (Role::Main, Verdict::Kept("code 4".to_owned())),
            (Role::Ipam, Verdict::Broken("a | b".to_owned())),
        ];
        let subject = Subject::new("/x", "ipvlan", "host-local");
        let examined = Examined::new(subject, "1.0.0", vec![(rule.id, verdicts)]);
        assert_eq!(cell(&examined, rule), "main kept: code 4; IPAM **broken**: a \\| b");
        assert_eq!(lines(&examined).lines().count(), 2);
        assert_eq!((examined.tally().broken, examined.tally().kept), (1, 0));
        assert_eq!(examined.faults().len(), 1);
    }

    #[test]
    fn what_is_on_purpose_is_no_fault_but_must_be_so() {
        let rule = |id| {
            let mut all = SECTIONS.iter().flat_map(|section| section.rules);
            all.find(|rule| rule.id == id).unwrap()
        };
        for it in DEVIATIONS {
            let examined = |verdict: Verdict| {
                let subject = Subject::new("/x", it.plugin, "cni-ipam");
                Examined::new(subject, "1.1.0", vec![(it.rule, vec![(Role::Main, verdict)])])
            };
            let broken = examined(Verdict::Broken("x".to_owned()));
            assert_eq!(cell(&broken, rule(it.rule)), "*on purpose*: x");
            assert_eq!(broken.faults(), Vec::<String>::new());
            assert_eq!(examined(Verdict::Kept("x".to_owned())).faults().len(), 1);
        }
    }
}
