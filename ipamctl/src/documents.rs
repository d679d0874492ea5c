//! Files with pool documents, read and checked; every fault named by file, document and field.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ipam_core::{
    API_VERSION, POOL_KIND, Pool, PoolDocument, RESERVED_KIND, Reserved, ReservedDocument,
    Violations,
};
use serde_json::Value;

/// The longest file in bytes that is read.
const LONGEST_FILE: u64 = 64 << 20;

/// Where a document stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    file: PathBuf,
    /// Counted from 1; empty documents do not count.
    document: usize,
    /// In a list, counted from 1.
    item: Option<usize>,
}

impl Place {
    /// The place as a fault of this pool begins. The name may not be checked yet: whatever it is,
    /// it stays on the line.
    pub(crate) fn of_pool(&self, name: &str) -> String {
        self.of("pool", name)
    }

    /// The place as a fault of this document begins.
    pub(crate) fn of(&self, what: &str, name: &str) -> String {
        format!("{self} ({what} {})", name.escape_debug())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}", self.file.display(), self.document)?;
        self.item.map_or(Ok(()), |item| write!(f, ", item {item}"))
    }
}

/// What the files contain.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// The valid pools in the order of the files, with their places.
    pub(crate) pools: Vec<(Place, Pool)>,
    /// The valid reservations in the order of the files.
    pub(crate) reserved: Vec<Reserved>,
    /// One line for each fault.
    pub(crate) faults: Vec<String>,
    /// One line for each field that has no effect.
    pub(crate) warnings: Vec<String>,
}

impl Documents {
    /// Reads all files and goes on after faults, so that one run shows all of them.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut documents = Self::default();
        for file in files {
            documents.add_file(file, &text_of(file)?);
        }
        Ok(documents)
    }

    fn add_file(&mut self, file: &Path, text: &str) {
        let values = values(file, text);
        if values.is_empty() {
            let file = file.display();
            self.faults.push(format!("{file}: no document: a {POOL_KIND} in YAML is expected"));
        }
        for (place, value) in values {
            match value {
                Ok(value) => self.add_document(place, value),
                Err(fault) => self.faults.push(format!("{place}: {fault}")),
            }
        }
    }

    fn add_document(&mut self, place: Place, value: Value) {
        let text_at = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let found = text_at("apiVersion");
        if found != API_VERSION {
            self.faults.push(format!("{place}: apiVersion {found:?}: it must be {API_VERSION}"));
            return;
        }
        let name = value["metadata"]["name"].as_str().map(str::to_owned);
        let place_of = |what| match &name {
            Some(name) => place.of(what, name),
            None => place.to_string(),
        };
        match text_at("kind") {
            POOL_KIND => {
                let at = place_of("pool");
                self.add_pool(place, &at, value);
            }
            RESERVED_KIND => {
                let at = place_of("reserved");
                self.add_reserved(&at, value);
            }
            found => self.faults.push(format!(
                "{place}: kind {found:?}: it must be {POOL_KIND} or {RESERVED_KIND}"
            )),
        }
    }

    fn add_pool(&mut self, place: Place, at: &str, value: Value) {
        let document: PoolDocument = match serde_path_to_error::deserialize(value) {
            Ok(document) => document,
            Err(error) => {
                self.faults.push(format!("{at}: {}", with_field(&error)));
                return;
            }
        };
        let warnings = document.spec.warnings();
        self.warnings.extend(warnings.iter().map(|text| format!("{at}: {text}")));
        match Pool::try_from(&document) {
            Ok(pool) => self.pools.push((place, pool)),
            Err(violations) => self.add_faults(at, &violations),
        }
    }

    fn add_reserved(&mut self, at: &str, value: Value) {
        let document: ReservedDocument = match serde_path_to_error::deserialize(value) {
            Ok(document) => document,
            Err(error) => {
                self.faults.push(format!("{at}: {}", with_field(&error)));
                return;
            }
        };
        match Reserved::try_from(&document) {
            Ok(reserved) => self.reserved.push(reserved),
            Err(violations) => self.add_faults(at, &violations),
        }
    }

    fn add_faults(&mut self, at: &str, violations: &Violations) {
        let faults = violations.as_slice().iter();
        self.faults.extend(faults.map(|fault| format!("{at}: {fault}")));
    }
}

/// The documents of a file of YAML, empty ones left out, and the items of lists as `kubectl get -o
/// yaml` writes them: each as a free value, or what is wrong with it. Whether a document is of some
/// kind at all must not depend on whether its fields fit.
pub(crate) fn values(file: &Path, text: &str) -> Vec<(Place, Result<Value, String>)> {
    let mut reader = text.as_bytes();
    let documents = serde_saphyr::read::<_, Value>(&mut reader);
    let some = documents.filter(|value| !matches!(value, Ok(Value::Null)));
    let mut values = Vec::new();
    for (index, value) in some.enumerate() {
        let place = Place { file: file.to_path_buf(), document: index + 1, item: None };
        match value {
            Ok(value) if is_list(&value) => values.extend(items(&place, value)),
            other => values.push((place, other.map_err(|error| one_line(&error)))),
        }
    }
    values
}

fn is_list(value: &Value) -> bool {
    value["apiVersion"] == "v1" && value["kind"] == "List"
}

fn items(place: &Place, mut list: Value) -> Vec<(Place, Result<Value, String>)> {
    let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
        return vec![(place.clone(), Err("items: a list is expected".to_owned()))];
    };
    let numbered = items.into_iter().enumerate();
    numbered
        .map(|(index, item)| (Place { item: Some(index + 1), ..place.clone() }, Ok(item)))
        .collect()
}

/// The text of a file; `-` is standard input.
pub(crate) fn text_of(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(LONGEST_FILE + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(LONGEST_FILE + 1).read_to_end(&mut bytes))
    };
    let length = read.with_context(|| format!("read {}", file.display()))?;
    if length as u64 > LONGEST_FILE {
        anyhow::bail!("{}: longer than {LONGEST_FILE} bytes", file.display());
    }
    String::from_utf8(bytes).with_context(|| format!("{}: not UTF-8", file.display()))
}

/// The message with the field that it is about in front; a document's own field has no path.
pub(crate) fn with_field(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let (path, message) = (error.path(), error.inner());
    if path.iter().next().is_none() { message.to_string() } else { format!("{path}: {message}") }
}

/// The parser's message without the source excerpt that it prints below.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    text.lines().next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Documents {
        let mut documents = Documents::default();
        documents.add_file(Path::new("pools.yaml"), text);
        documents
    }

    const GOOD: &str = "\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: a}
spec: {subnet: 10.0.0.0/24, ips: [10.0.0.1-10.0.0.2]}
";

    #[test]
    fn documents_are_counted_without_the_empty_ones() {
        let documents = read(&format!("---\n---\n{GOOD}---\n{}", GOOD.replace("10.0", "10.1")));
        assert_eq!(documents.faults, Vec::<String>::new());
        let places: Vec<String> = documents.pools.iter().map(|(p, _)| p.to_string()).collect();
        assert_eq!(places, ["pools.yaml: document 1", "pools.yaml: document 2"]);
    }

    #[test]
    fn a_list_as_kubectl_writes_it_is_its_items() {
        let item = |text: &str| {
            let indented: Vec<_> = text.lines().map(|line| format!("  {line}")).collect();
            format!("- {}\n", indented.join("\n").trim_start())
        };
        let second =
            GOOD.replace("10.0", "10.1").replace("name: a", "name: b, uid: x, generation: 2");
        let items = item(GOOD) + &item(&(second + "status: {totalIPCount: 2}\n"));
        let list =
            |items: &str| format!("apiVersion: v1\nkind: List\nmetadata: {{}}\nitems:\n{items}");
        let documents = read(&list(&items));
        assert_eq!(documents.faults, Vec::<String>::new());
        let places: Vec<String> = documents.pools.iter().map(|(p, _)| p.to_string()).collect();
        let at = |item| format!("pools.yaml: document 1, item {item}");
        assert_eq!(places, [at(1), at(2)]);

        let faults = read(&list(&items.replace("ips: [10.1.", "ipz: [10.1."))).faults;
        assert!(
            faults[0].starts_with("pools.yaml: document 1, item 2 (pool b): spec.ipz"),
            "{faults:?}"
        );
        let nested = list(&item(&list(&item(GOOD))));
        assert!(read(&nested).faults[0].contains("item 1: apiVersion \"v1\""));
        assert!(read("apiVersion: v1\nkind: List\nitems: 7\n").faults[0].contains("items: a list"));
        assert!(read(&list(" []")).faults.is_empty(), "an empty list is a document");
    }

    #[test]
    fn each_fault_names_file_document_field_value_and_rule() {
        for (from, to, expected) in [
            (
                "ips: [10.0.0.1-",
                "ips: [10.9.0.1-",
                "document 2 (pool a): spec.ips[0] \"10.9.0.1-10.0.0.2\"",
            ),
            (
                "10.0.0.1-10.0.0.2",
                "10.0.1.1",
                "document 2 (pool a): spec.ips[0] \"10.0.1.1\": it must lie in the subnet 10.0.0.0/24",
            ),
            (
                "10.0.0.0/24",
                "10.0.0.1/24",
                "spec.subnet \"10.0.0.1/24\": it has bits set behind its prefix: write 10.0.0.0/24",
            ),
            (
                "ips:",
                "gateway: 10.1.0.1, ips:",
                "spec.gateway \"10.1.0.1\": it must lie in the subnet",
            ),
            (
                "ips:",
                "ipz:",
                "document 2 (pool a): spec.ipz: unknown field `ipz`, expected one of `ipVersion`",
            ),
            (
                "[10.0.0.1-10.0.0.2]",
                "10.0.0.1-2",
                "document 2 (pool a): spec.ips: invalid type: string \"10.0.0.1-2\", expected a sequence",
            ),
            (
                "ips:",
                "routes: [{dst: 10.9.0.0/24, gw: 10.0.0.9}, {dst: 10.8.0.0/24}], ips:",
                "document 2 (pool a): spec.routes[1]: missing field `gw`",
            ),
            (
                "10.0.0.1-10.0.0.2]",
                "10.0.0.1, 7]",
                "document 2 (pool a): spec.ips[1]: invalid type: integer `7`, expected a string",
            ),
            ("subnet: 10.0.0.0/24, ", "", "document 2 (pool a): spec: missing field `subnet`"),
            ("name: a", "name: 7", "document 2: metadata.name: invalid type: integer `7`"),
            ("name: a", "name: \"a\\nb\"", "document 2 (pool a\\nb): metadata.name"),
            ("spec:", "sepc: 1\nspec:", "document 2 (pool a): sepc: unknown field `sepc`"),
            (
                "SpiderIPPool",
                "SpiderSubnet",
                "document 2: kind \"SpiderSubnet\": it must be SpiderIPPool",
            ),
            ("v2beta1", "v1", "document 2: apiVersion \"spiderpool.spidernet.io/v1\""),
            ("kind: SpiderIPPool\n", "", "document 2: kind \"\""),
            ("metadata: {name: a}\n", "", "document 2: missing field `metadata`"),
            ("spec:", "spec: [", "document 2:"),
        ] {
            let documents = read(&format!("{GOOD}---\n{}", GOOD.replacen(from, to, 1)));
            let faults = documents.faults.join("\n");
            assert!(faults.contains(expected), "{to}: {faults}");
            assert!(faults.starts_with("pools.yaml: document 2"), "{to}: {faults}");
        }
    }

    #[test]
    fn a_field_without_effect_is_a_warning_and_no_fault() {
        let documents = read(&GOOD.replace("ips:", "vlan: 7, ips:"));
        assert_eq!(documents.faults, Vec::<String>::new());
        assert_eq!(documents.pools.len(), 1);
        let warning = &documents.warnings[0];
        assert!(
            warning.contains("document 1 (pool a): spec.vlan 7: it has no effect"),
            "{warning}"
        );
    }

    #[test]
    fn what_is_no_yaml_or_empty_is_a_fault() {
        for text in ["", "---\n", "# only a comment\n"] {
            let faults = read(text).faults;
            assert!(faults[0].contains("no document"), "{text:?}: {faults:?}");
        }
        for text in ["\u{0}\u{1}", "{", "just words", "[1, 2]", "a: b: c", "\t- x"] {
            let documents = read(text);
            assert!(!documents.faults.is_empty(), "{text:?} was accepted");
            assert!(documents.pools.is_empty());
        }
    }
}
