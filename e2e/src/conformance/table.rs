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
that runs the very programs, as a runtime does, in namespaces of their own; what it saw stands behind
its verdict. `e2e/tests/conformance.rs` runs them all and compares the result with this file, letter
for letter. Upstream's plugins are those of Debian 12 (containernetworking-plugins 1.1.1).

Sources: `spec N` is section N of CNI's SPEC.md 1.1.0 (`spec 0.4.0`, an older one), `conventions` its
CONVENTIONS.md; `skel`, `types` and `libcni` are the Go code that all upstream plugins, or all
runtimes, share (Debian's is older than some of it); `Go` is how that code reads JSON; `ocicni`, `go-cni` the libraries of cri-o and containerd;
`host-local` the plugin's documentation. `ours` is a promise of this project that nobody asked for.

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
