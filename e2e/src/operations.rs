//! `docs/operations.md` as a promise: the messages that it quotes are those that are seen.

use anyhow::{Result, bail};

const DOCUMENT: &str = include_str!("../../docs/operations.md");

/// Compares a section's quoted messages with those that a test has seen: each must be there, and
/// nothing else. `<word>` in a quoted message stands for any text.
///
/// # Errors
///
/// The document lacks the section or a message, or quotes one that was not seen.
pub fn compare(heading: &str, seen: &[String]) -> Result<()> {
    let quoted = quoted(DOCUMENT, heading);
    let unseen = quoted.iter().filter(|pattern| !seen.iter().any(|line| matches(pattern, line)));
    let unseen: Vec<_> = unseen.collect();
    let unquoted = seen.iter().filter(|line| !quoted.iter().any(|pattern| matches(pattern, line)));
    let unquoted: Vec<_> = unquoted.collect();
    if quoted.is_empty() || !unseen.is_empty() || !unquoted.is_empty() {
        bail!(
            "docs/operations.md, section {heading:?}\nlacks {unquoted:#?}\n\
             quotes, and nobody said {unseen:#?}"
        );
    }
    Ok(())
}

/// The lines of a section's blocks of kind `text`.
fn quoted<'a>(document: &'a str, heading: &str) -> Vec<&'a str> {
    let (mut here, mut inside, mut lines) = (false, false, Vec::new());
    for line in document.lines() {
        match line {
            "```text" => inside = true,
            "```" => inside = false,
            _ if inside => lines.extend(here.then_some(line)),
            _ => {
                if let Some(title) = line.strip_prefix("## ") {
                    here = title == heading;
                }
            }
        }
    }
    lines
}

fn matches(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    let mut literals = literals(pattern).into_iter();
    let Some(first) = literals.next() else { return line.is_empty() };
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    let mut literals: Vec<_> = literals.collect();
    let Some(last) = literals.pop() else { return rest.is_empty() };
    for literal in literals {
        let Some((_, after)) = rest.split_once(literal) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// What stands between the `<word>`s.
fn literals(pattern: &str) -> Vec<&str> {
    let mut literals = Vec::new();
    let mut rest = pattern;
    while let Some((literal, behind)) = rest.split_once('<') {
        let Some((_, after)) = behind.split_once('>') else { break };
        literals.push(literal);
        rest = after;
    }
    literals.push(rest);
    literals
}

#[cfg(test)]
mod tests {
    use super::{matches, quoted};

    #[test]
    fn a_placeholder_is_any_text_and_all_else_literal() {
        assert!(matches("waited <ms> ms for <path>: again", "waited 9 ms for /x: again"));
        assert!(matches("plain", "plain"));
        assert!(matches("<a>", "anything"));
        for (pattern, line) in
            [("plain", "plainer"), ("a <n> c", "a b d"), ("x<n>", "y"), ("a<n>b<m>c", "a c")]
        {
            assert!(!matches(pattern, line), "{pattern} {line}");
        }
    }

    #[test]
    fn a_section_quotes_its_own_text_blocks_only() {
        let document = "## A\n```text\none\n```\n```sh\ntwo\n```\n## B\n```text\nthree\n```\n";
        assert_eq!(quoted(document, "A"), ["one"]);
        assert_eq!(quoted(document, "B"), ["three"]);
        assert_eq!(quoted(document, "C"), Vec::<&str>::new());
    }
}
