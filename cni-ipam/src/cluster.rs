//! What the cluster says about a pod's namespace and this node, from a file that somebody wrote.
//!
//! No API server is asked: the file has what `kubectl get namespaces,nodes -o json` prints, or
//! `ipamctl render --to namespaces`, which leaves out what is not read here. It is JSON and no
//! YAML: docs/design.md, "Choices and their reasons", says why.

use std::io;
use std::path::PathBuf;

use cni_proto::{Code, Error};
use ipam_core::{Labels, NamespaceName, NodeName};
use serde::Deserialize;

use crate::regular_file;

/// Where the file is unless `ipam.namespacesFile` says otherwise; there need be none.
pub const DEFAULT_NAMESPACES_FILE: &str = "/etc/node-ipam/namespaces.json";

/// The longest file in bytes that is read. Every ADD reads it.
const LONGEST_FILE: u64 = 16 << 20;

/// What is known of a pod's namespace and of this node. What the file does not have is `None`: a
/// pool that asks for it refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// The namespace's labels.
    pub(crate) namespace_labels: Option<Labels>,
    /// Its `ipam.spidernet.io/default-ipv4-ippool`.
    pub(crate) namespace_v4: Option<String>,
    /// Its `ipam.spidernet.io/default-ipv6-ippool`.
    pub(crate) namespace_v6: Option<String>,
    /// The node's labels.
    pub(crate) node_labels: Option<Labels>,
}

/// Where the cluster's documents are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamespacesFile {
    /// Absolute.
    pub(crate) path: PathBuf,
    /// Whether somebody named it, so that it has to be there.
    pub(crate) named: bool,
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    items: Option<Vec<Document>>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    labels: Option<Labels>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Annotations {
    #[serde(default, rename = "ipam.spidernet.io/default-ipv4-ippool")]
    v4: Option<String>,
    #[serde(default, rename = "ipam.spidernet.io/default-ipv6-ippool")]
    v6: Option<String>,
}

impl NamespacesFile {
    /// What it says; nothing if there is none and nobody named it.
    ///
    /// # Errors
    ///
    /// Code 7 with the file and what is wrong with it. No ADD goes on without what somebody wrote
    /// there: pods would get addresses from the pools of others.
    pub(crate) fn read(
        &self,
        namespace: Option<&NamespaceName>,
        node: &NodeName,
    ) -> Result<Cluster, Error> {
        let file = self.path.display();
        let invalid = |what: String| {
            Error::new(Code::INVALID_CONFIG, format!("namespacesFile {file}: {what}"))
        };
        let text = match regular_file::read(&self.path, LONGEST_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.named => {
                return Ok(Cluster::default());
            }
            other => other.map_err(|error| invalid(error.to_string()))?,
        };
        let document: Document = serde_json::from_slice(&text).map_err(|error| {
            invalid(format!(
                "{error}: write it with `kubectl get namespaces,nodes -o json`, or `ipamctl \
                 render --to namespaces`"
            ))
        })?;
        let mut found = Cluster::default();
        let (mut namespaces, mut nodes) = (0, 0);
        for (kind, metadata) in metadata_of(document) {
            let name = metadata.name.unwrap_or_default();
            if kind == "Namespace" && namespace.is_some_and(|namespace| namespace.as_str() == name)
            {
                namespaces += 1;
                let annotations = metadata.annotations.unwrap_or_default();
                found.namespace_labels = Some(metadata.labels.unwrap_or_default());
                (found.namespace_v4, found.namespace_v6) = (annotations.v4, annotations.v6);
            } else if kind == "Node" && node.as_str() == name {
                nodes += 1;
                found.node_labels = Some(metadata.labels.unwrap_or_default());
            }
        }
        match (namespaces, namespace) {
            (2.., Some(name)) => Err(invalid(format!("namespace {name} stands twice"))),
            _ if nodes > 1 => Err(invalid(format!("node {node} stands twice"))),
            _ => Ok(found),
        }
    }
}

/// The documents, those of a list one by one.
fn metadata_of(document: Document) -> Vec<(String, Metadata)> {
    let of = |document: Document| {
        (document.kind.unwrap_or_default(), document.metadata.unwrap_or_default())
    };
    match document.items {
        Some(items) => items.into_iter().map(of).collect(),
        None => vec![of(document)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Cluster, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("namespaces.json");
        std::fs::write(&path, text).unwrap();
        let file = NamespacesFile { path, named: true };
        file.read(Some(&"web".parse().unwrap()), &"n1".parse().unwrap())
    }

    /// As kubectl prints them, shortened.
    const LIST: &str = r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"Namespace","spec":{"finalizers":["kubernetes"]},
         "metadata":{"name":"web","uid":"1","labels":{"tier":"front"},
          "annotations":{"ipam.spidernet.io/default-ipv4-ippool":"[\"a\"]","other":"x"}}},
        {"kind":"Namespace","metadata":{"name":"db"}},
        {"kind":"Node","metadata":{"name":"n1","labels":{"zone":"z1"}},"status":{}},
        {"kind":"Node","metadata":{"name":"web","labels":{"zone":"z2"}}}]}"#;

    fn labels(key: &str, value: &str) -> Labels {
        Labels::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_pods_namespace_and_this_node_are_found_in_what_kubectl_prints() {
        let found = Cluster {
            namespace_labels: Some(labels("tier", "front")),
            namespace_v4: Some(r#"["a"]"#.to_owned()),
            namespace_v6: None,
            node_labels: Some(labels("zone", "z1")),
        };
        assert_eq!(read(LIST).unwrap(), found);
        let alone = r#"{"kind":"Namespace","metadata":{"name":"web"}}"#;
        let known = Cluster { namespace_labels: Some(Labels::new()), ..Cluster::default() };
        assert_eq!(read(alone).unwrap(), known);
        assert_eq!(read(r#"{"kind":"List","items":[]}"#).unwrap(), Cluster::default());
    }

    #[test]
    fn a_file_that_nobody_named_need_not_be_there() {
        let missing = |named| {
            let file = NamespacesFile { path: "/nowhere/namespaces.json".into(), named };
            file.read(None, &"n1".parse().unwrap())
        };
        assert_eq!(missing(false).unwrap(), Cluster::default());
        let error = missing(true).unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG);
        assert!(error.msg.contains("namespacesFile /nowhere/namespaces.json: No such"), "{error}");
    }

    #[test]
    fn a_broken_file_is_an_error_with_its_place() {
        for (text, expected) in [
            ("kind: List\n", "line 1 column 1: write it with `kubectl get"),
            (r#"{"items":{}}"#, "invalid type: map, expected a sequence"),
            (r#"{"kind":"Namespace","metadata":{"name":7}}"#, "invalid type: integer `7`"),
            (&LIST.replace("\"db\"", "\"web\""), "namespace web stands twice"),
            (&LIST.replace("\"name\":\"web\",\"labels\"", "\"name\":\"n1\",\"labels\""), "node n1"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.code, Code::INVALID_CONFIG);
            assert!(error.msg.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_pipe_or_a_directory_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [pipe, directory.path().to_owned()] {
            let file = NamespacesFile { path, named: false };
            let error = file.read(None, &"n1".parse().unwrap()).unwrap_err();
            assert!(error.msg.contains("it is no regular file"), "{error}");
        }
    }
}
