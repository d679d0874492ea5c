//! `docs/operations.md` as a promise: it has each message that a plugin or library can give. The
//! messages that tests see are compared by the package `e2e`; this reads the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../docs/operations.md");
const SECTION: &str = "\n## Every message\n";
const PACKAGES: [&str; 9] = [
    "ipam-core",
    "ipam-store",
    "cni-proto",
    "cni-net",
    "cloud",
    "telemetry",
    "cni-ipam",
    "cni-ipvlan",
    "cni-coordinator",
];
/// What stands before the text of a message.
const BEGINNINGS: [&str; 6] =
    ["#[error(", "Error { msg:", "Error::new(", "let msg =", "not_available(", "invalid(format!("];
/// Messages of features that no installed program has.
const NEVER_SEEN: [&str; 1] = ["? is no ingredient of a plan"];
/// Stands for what differs.
const ANY: char = '?';

#[test]
fn each_message_is_in_the_document_and_each_of_the_document_in_the_sources() {
    let messages: BTreeSet<String> = PACKAGES.into_iter().flat_map(messages_of).collect();
    let rows = rows(DOCUMENT);
    assert!(messages.len() > 100 && rows.len() > 80, "{} {}", messages.len(), rows.len());
    let is_of = |row: &String, message: &String| message.starts_with(row.as_str());
    let unnamed: Vec<_> = messages
        .iter()
        .filter(|message| !NEVER_SEEN.contains(&message.as_str()))
        .filter(|message| !rows.iter().any(|row| is_of(row, message)))
        .collect();
    assert!(unnamed.is_empty(), "docs/operations.md, {SECTION:?} lacks {unnamed:#?}");
    let unsaid: Vec<_> =
        rows.iter().filter(|row| !messages.iter().any(|message| is_of(row, message))).collect();
    assert!(unsaid.is_empty(), "docs/operations.md, {SECTION:?}: nobody says {unsaid:#?}");
}

/// The code spans of the section's first columns.
fn rows(document: &str) -> BTreeSet<String> {
    let (_, section) = document.split_once(SECTION).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or(section);
    let is_head = |line: &&str| line.ends_with("| |") || line.starts_with("|--");
    let cells = section.lines().filter(|line| !is_head(line)).filter_map(|line| {
        let row = line.strip_prefix("| ")?;
        row.split(" | ").next()
    });
    let rows = cells.flat_map(spans).map(|span| without(&span, '<', '>'));
    rows.filter(|row| is_particular(row)).collect()
}

/// Code spans of one or two backticks.
fn spans(cell: &str) -> Vec<String> {
    let mut rest = cell;
    let mut spans = Vec::new();
    while let Some(at) = rest.find('`') {
        let fence = if rest[at..].starts_with("``") { "``" } else { "`" };
        let behind = &rest[at + fence.len()..];
        let (span, after) = behind.split_once(fence).expect("a code span is closed");
        spans.push(span.trim().to_owned());
        rest = after;
    }
    spans
}

fn messages_of(package: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src");
    let mut messages = BTreeSet::new();
    for file in sources(&root) {
        let text = fs::read_to_string(&file).expect("a source can be read");
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for beginning in BEGINNINGS {
            let found = text.match_indices(beginning);
            messages.extend(found.filter_map(|(at, _)| literal(&text[at + beginning.len()..])));
        }
    }
    messages.retain(|message| is_particular(message));
    messages
}

/// Whether it has words of its own; `{operation} {object}: {reason}` would be the beginning of many.
fn is_particular(message: &str) -> bool {
    message.chars().any(char::is_alphabetic)
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("the package has sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}

/// The string that is the first argument, or the second behind a code; its placeholders as [`ANY`].
fn literal(text: &str) -> Option<String> {
    let is_before = |it: char| it.is_whitespace() || it.is_alphanumeric() || "_:,(!".contains(it);
    let text = text.trim_start_matches(is_before).strip_prefix('"')?;
    let mut literal = String::new();
    let mut characters = text.chars().peekable();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => match characters.next()? {
                '\n' => while characters.next_if(|it| it.is_whitespace()).is_some() {},
                escaped => literal.push(escaped),
            },
            other => literal.push(other),
        }
    }
    Some(without(&literal, '{', '}'))
}

/// [`ANY`] for each run of what stands between two such characters.
fn without(text: &str, open: char, close: char) -> String {
    let mut all = String::new();
    let mut inside = false;
    for character in text.chars() {
        if character == open {
            if !all.ends_with(ANY) {
                all.push(ANY);
            }
            inside = true;
        } else if character == close {
            inside = false;
        } else if !inside {
            all.push(character);
        }
    }
    all
}
