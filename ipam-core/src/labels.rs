//! Labels and the selectors over them, as Kubernetes defines both.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::violation::{Violation, Violations};

/// The labels of a pod, namespace or node.
pub type Labels = BTreeMap<String, String>;

/// A `LabelSelector` as a document has it (`meta/v1`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: Labels,
    /// Further requirements; all must hold.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelSelectorRequirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// At least one for `In` and `NotIn`, none for the others.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// A `null` is as good as absent.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A valid selector: a conjunction of requirements. Without any it selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// The selector that a document describes.
    ///
    /// # Errors
    ///
    /// Each broken rule as a pair of a path within the selector, as in
    /// `matchExpressions[0].values`, and the rule with the offending value.
    pub fn new(document: &LabelSelector) -> Result<Self, Vec<(String, String)>> {
        let mut requirements = Vec::new();
        let mut broken = Vec::new();
        for (key, value) in &document.match_labels {
            let path = alloc::format!("matchLabels[{key:?}]");
            broken.extend(label_fault(key, value).map(|rule| (path, rule)));
            let rule = Rule::In(alloc::vec![value.clone()]);
            requirements.push(Requirement { key: key.clone(), rule });
        }
        for (index, expression) in document.match_expressions.iter().enumerate() {
            let LabelSelectorRequirement { key, operator, values } = expression;
            let path = |field: &str| alloc::format!("matchExpressions[{index}].{field}");
            broken.extend(key_fault(key).map(|rule| (path("key"), rule)));
            let faults = values.iter().filter_map(|value| value_fault(value));
            broken.extend(faults.map(|rule| (path("values"), rule)));
            let needs_values = matches!(operator.as_str(), "In" | "NotIn");
            let rule = match operator.as_str() {
                "In" => Rule::In(values.clone()),
                "NotIn" => Rule::NotIn(values.clone()),
                "Exists" => Rule::Exists,
                "DoesNotExist" => Rule::DoesNotExist,
                other => {
                    let rule =
                        alloc::format!("{other:?} is none of In, NotIn, Exists, DoesNotExist");
                    broken.push((path("operator"), rule));
                    continue;
                }
            };
            if needs_values == values.is_empty() {
                let need = if needs_values { "at least one value" } else { "no values" };
                broken.push((path("values"), alloc::format!("{operator} needs {need}")));
            }
            requirements.push(Requirement { key: key.clone(), rule });
        }
        if broken.is_empty() { Ok(Self { requirements }) } else { Err(broken) }
    }

    /// Whether the selector has no requirement.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether all requirements hold. `NotIn` and `DoesNotExist` hold for a label that is not
    /// there.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|Requirement { key, rule }| {
            let value = labels.get(key);
            match rule {
                Rule::In(values) => value.is_some_and(|value| values.contains(value)),
                Rule::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Rule::Exists => value.is_some(),
                Rule::DoesNotExist => value.is_none(),
            }
        })
    }

    /// The document that gives this selector again.
    pub fn to_document(&self) -> LabelSelector {
        let expression = |Requirement { key, rule }: &Requirement| {
            let (operator, values) = match rule {
                Rule::In(values) => ("In", values.clone()),
                Rule::NotIn(values) => ("NotIn", values.clone()),
                Rule::Exists => ("Exists", Vec::new()),
                Rule::DoesNotExist => ("DoesNotExist", Vec::new()),
            };
            LabelSelectorRequirement { key: key.clone(), operator: operator.to_string(), values }
        };
        LabelSelector {
            match_labels: Labels::new(),
            match_expressions: self.requirements.iter().map(expression).collect(),
        }
    }
}

impl fmt::Display for Selector {
    /// As `kubectl get -l` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, rule }) in self.requirements.iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            match rule {
                Rule::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Rule::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Rule::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Rule::Exists => f.write_str(key)?,
                Rule::DoesNotExist => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

/// Notes the labels of a document's metadata that Kubernetes would refuse.
pub(crate) fn note_labels(broken: &mut Violations, labels: &Labels) {
    for (key, value) in labels {
        if let Some(rule) = label_fault(key, value) {
            broken.push(Violation::new(&alloc::format!("metadata.labels[{key:?}]"), value, rule));
        }
    }
}

fn label_fault(key: &str, value: &str) -> Option<String> {
    key_fault(key).or_else(|| value_fault(value))
}

/// Kubernetes, "Labels and Selectors": an optional DNS prefix of at most 253 characters and a
/// slash, then a name of 1 to 63 characters.
fn key_fault(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').unwrap_or(("a", key));
    let is_prefix = !prefix.is_empty()
        && prefix.len() <= 253
        && prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
    let is_key = is_prefix && !name.is_empty() && is_label_text(name);
    (!is_key).then(|| alloc::format!("{key:?} is no label key"))
}

fn value_fault(value: &str) -> Option<String> {
    (!is_label_text(value)).then(|| alloc::format!("{value:?} is no label value"))
}

/// At most 63 characters of `[A-Za-z0-9_.-]`, beginning and ending with a letter or digit.
fn is_label_text(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.chars().all(|c| edge(c) || "-_.".contains(c))
        && text.chars().next().is_none_or(edge)
        && text.chars().next_back().is_none_or(edge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(json: &str) -> Result<Selector, Vec<(String, String)>> {
        Selector::new(&serde_json::from_str(json).unwrap())
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn all_four_operators_and_labels_select() {
        let web = labels(&[("app", "web"), ("tier", "front")]);
        for (json, matches, shown) in [
            (r#"{"matchLabels":{"app":"web"}}"#, true, "app=web"),
            (r#"{"matchLabels":{"app":"db"}}"#, false, "app=db"),
            (r#"{"matchLabels":{"app":"web","x":"y"}}"#, false, "app=web,x=y"),
            (
                r#"{"matchExpressions":[{"key":"app","operator":"In","values":["db","web"]}]}"#,
                true,
                "app in (db,web)",
            ),
            (
                r#"{"matchExpressions":[{"key":"gone","operator":"In","values":["web"]}]}"#,
                false,
                "gone=web",
            ),
            (
                r#"{"matchExpressions":[{"key":"app","operator":"NotIn","values":["web"]}]}"#,
                false,
                "app notin (web)",
            ),
            (
                r#"{"matchExpressions":[{"key":"gone","operator":"NotIn","values":["web"]}]}"#,
                true,
                "gone notin (web)",
            ),
            (r#"{"matchExpressions":[{"key":"app","operator":"Exists"}]}"#, true, "app"),
            (
                r#"{"matchExpressions":[{"key":"gone","operator":"Exists","values":null}]}"#,
                false,
                "gone",
            ),
            (r#"{"matchExpressions":[{"key":"app","operator":"DoesNotExist"}]}"#, false, "!app"),
            (r#"{"matchExpressions":[{"key":"gone","operator":"DoesNotExist"}]}"#, true, "!gone"),
            (
                r#"{"matchLabels":{"app":"web"},"matchExpressions":[{"key":"tier","operator":"DoesNotExist"}]}"#,
                false,
                "app=web,!tier",
            ),
            ("{}", true, ""),
        ] {
            let selector = selector(json).unwrap();
            assert_eq!(selector.matches(&web), matches, "{json}");
            assert_eq!(selector.to_string(), shown);
            assert_eq!(Selector::new(&selector.to_document()), Ok(selector), "{json}");
        }
    }

    #[test]
    fn each_broken_rule_is_named_with_its_place() {
        for (json, path, rule) in [
            (
                r#"{"matchExpressions":[{"key":"a","operator":"In"}]}"#,
                "matchExpressions[0].values",
                "In needs at least one value",
            ),
            (
                r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":["b"]}]}"#,
                "matchExpressions[0].values",
                "Exists needs no values",
            ),
            (
                r#"{"matchExpressions":[{"key":"a","operator":"Gt"}]}"#,
                "matchExpressions[0].operator",
                "\"Gt\" is none of In",
            ),
            (
                r#"{"matchExpressions":[{"key":"a b","operator":"Exists"}]}"#,
                "matchExpressions[0].key",
                "\"a b\" is no label key",
            ),
            (r#"{"matchLabels":{"a":"-b"}}"#, "matchLabels[\"a\"]", "\"-b\" is no label value"),
            (r#"{"matchLabels":{"/a":"b"}}"#, "matchLabels[\"/a\"]", "\"/a\" is no label key"),
            (r#"{"matchLabels":{"":"b"}}"#, "matchLabels[\"\"]", "\"\" is no label key"),
        ] {
            let broken = selector(json).unwrap_err();
            assert_eq!(broken[0].0, path, "{json}");
            assert!(broken[0].1.contains(rule), "{json}: {broken:?}");
        }
    }
}
