//! Answers of a plugin in a few words.

use serde_json::{Deserializer, Value};

use crate::runtime::Answer;

/// What a plugin wrote on its standard output.
#[derive(Debug, PartialEq)]
pub(super) enum Output {
    Nothing,
    Document(Value),
    /// So many JSON documents behind each other: no runtime can read them.
    Documents(usize),
    /// Something that is no JSON, or JSON with something behind it.
    Junk,
}

impl Output {
    pub(super) fn of(answer: &Answer) -> Self {
        let documents: Result<Vec<Value>, _> =
            Deserializer::from_str(&answer.outcome.stdout).into_iter().collect();
        match documents {
            Err(_) => Self::Junk,
            Ok(mut documents) => match (documents.len(), documents.pop()) {
                (1, Some(document)) => Self::Document(document),
                (0, _) => Self::Nothing,
                (count, _) => Self::Documents(count),
            },
        }
    }
}

/// The exit status and the standard output.
pub(super) fn seen(answer: &Answer) -> String {
    let exit = match answer.outcome.status.code() {
        Some(code) => format!("exit {code}"),
        None => "ended by a signal".to_owned(),
    };
    match Output::of(answer) {
        Output::Document(_) if !answer.is_success() => match answer.error_code() {
            Some(code) => format!("code {code}"),
            None => format!("{exit}, an object without a code"),
        },
        Output::Document(Value::Object(_)) => format!("{exit}, an object"),
        Output::Document(_) => format!("{exit}, JSON that is no object"),
        Output::Nothing => format!("{exit}, nothing"),
        Output::Documents(count) => format!("{exit}, {count} JSON documents"),
        Output::Junk => format!("{exit}, no JSON"),
    }
}

/// Whether it failed as the specification has it: one error object.
pub(super) fn is_error(answer: &Answer) -> bool {
    !answer.is_success()
        && matches!(Output::of(answer), Output::Document(Value::Object(_)))
        && answer.error_code().is_some()
}

/// Whether it failed with this code.
pub(super) fn is_code(answer: &Answer, code: u64) -> bool {
    is_error(answer) && answer.error_code() == Some(code)
}

/// Whether it succeeded in silence.
pub(super) fn is_silent(answer: &Answer) -> bool {
    answer.is_success() && Output::of(answer) == Output::Nothing
}

/// The text of an error object, message and details.
pub(super) fn text(answer: &Answer) -> String {
    let word = |key: &str| {
        let text = answer.json.as_ref().and_then(|object| object[key].as_str());
        text.unwrap_or_default().to_owned()
    };
    format!("{} {}", word("msg"), word("details"))
}

/// What is in the namespace that was not there before, and the other way round, in a few words.
pub(super) fn left(changes: &[String]) -> &'static str {
    let has = |start: &str| changes.iter().any(|change| change.starts_with(start));
    if changes.is_empty() {
        "nothing left"
    } else if has("- link") {
        "a link changed"
    } else if has("+ link") {
        "a link left behind"
    } else if has("+ address") || has("- address") {
        "addresses changed"
    } else {
        "routes or rules changed"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;
    use crate::outcome::Outcome;

    fn answer(exit: i32, stdout: &str) -> Answer {
        Answer {
            plugin: "x".to_owned(),
            outcome: Outcome {
                status: ExitStatus::from_raw(exit << 8),
                stdout: stdout.to_owned(),
                stderr: String::new(),
            },
            json: serde_json::from_str(stdout).ok(),
        }
    }

    #[test]
    fn only_one_object_with_a_code_is_an_error() {
        let error = r#"{"code":7,"msg":"no"}"#;
        assert!(is_code(&answer(1, error), 7));
        assert!(!is_code(&answer(1, error), 4));
        assert!(!is_error(&answer(0, error)));
        for (exit, stdout, expected) in [
            (1, error, "code 7"),
            (1, "", "exit 1, nothing"),
            (1, "{}{}", "exit 1, 2 JSON documents"),
            (1, "{}", "exit 1, an object without a code"),
            (2, "panic: x", "exit 2, no JSON"),
            (0, "{} x", "exit 0, no JSON"),
            (0, "{}", "exit 0, an object"),
            (0, "null", "exit 0, JSON that is no object"),
            (0, "", "exit 0, nothing"),
        ] {
            assert_eq!(seen(&answer(exit, stdout)), expected);
            assert_eq!(is_error(&answer(exit, stdout)), expected == "code 7");
        }
        assert!(is_silent(&answer(0, "")) && !is_silent(&answer(0, "{}")));
    }
}
