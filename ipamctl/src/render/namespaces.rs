//! Of `Namespace` and `Node` documents what cni-ipam reads at every ADD, and nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, bail};
use ipam_core::{ANNOTATION_NAMESPACE_V4, ANNOTATION_NAMESPACE_V6, Hints, IfName};
use serde_json::{Map, Value, json};

use crate::documents::{text_of, values};

/// The file's text: a list of documents, as kubectl would print them, in JSON.
pub(crate) fn render(files: &[PathBuf]) -> Result<String> {
    let mut items = Vec::new();
    let mut faults = Vec::new();
    for file in files {
        for (place, value) in values(file, &text_of(file)?) {
            match value {
                Ok(value) => items.push((place, value)),
                Err(fault) => faults.push(format!("{place}: {fault}")),
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut rendered = Vec::new();
    for (place, value) in items {
        let kind = value["kind"].as_str().unwrap_or_default();
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let at = place.of(kind, name);
        if !matches!(kind, "Namespace" | "Node") {
            faults.push(format!("{at}: kind {kind:?}: it must be Namespace or Node"));
        } else if name.is_empty() {
            faults.push(format!("{at}: metadata.name: absent"));
        } else if !seen.insert((kind.to_owned(), name.to_owned())) {
            faults.push(format!("{at}: it stands twice"));
        } else {
            match reduced(kind, name, &value["metadata"]) {
                Ok(item) => rendered.push(item),
                Err(fault) => faults.push(format!("{at}: {fault}")),
            }
        }
    }
    if rendered.is_empty() && faults.is_empty() {
        faults.push("no Namespace or Node among the documents".to_owned());
    }
    if !faults.is_empty() {
        bail!("nothing was rendered:\n  {}", faults.join("\n  "));
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": rendered });
    Ok(format!("{}\n", serde_json::to_string_pretty(&list)?))
}

fn reduced(kind: &str, name: &str, metadata: &Value) -> Result<Value, String> {
    let mut labels = Map::new();
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        if !value.is_string() {
            return Err(format!("metadata.labels[{key:?}]: it must be a text"));
        }
        labels.insert(key.clone(), value.clone());
    }
    let mut item = json!({ "kind": kind, "metadata": { "name": name, "labels": labels } });
    if kind == "Namespace" {
        let text = |key: &str| metadata["annotations"][key].as_str();
        let hints = Hints {
            namespace_v4: text(ANNOTATION_NAMESPACE_V4),
            namespace_v6: text(ANNOTATION_NAMESPACE_V6),
            ..Hints::default()
        };
        let any: IfName = "eth0".parse().expect("it is the name of a link");
        hints.wish(&any).map_err(|error| error.to_string())?;
        for key in [ANNOTATION_NAMESPACE_V4, ANNOTATION_NAMESPACE_V6] {
            if let Some(text) = text(key) {
                item["metadata"]["annotations"][key] = json!(text);
            }
        }
    }
    Ok(item)
}
