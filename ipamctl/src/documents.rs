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
        let documents = whole(file, text);
        if documents.is_empty() {
            let file = file.display();
            self.faults.push(format!("{file}: no document: a {POOL_KIND} in YAML is expected"));
        }
        for (place, value) in documents.into_iter().flat_map(unlisted) {
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

/// A document, or an item of a list: a free value, or what is wrong with it.
type Found = (Place, Result<Value, String>);

/// The documents of a file of YAML, empty ones left out, and the items of lists as `kubectl get -o
/// yaml` writes them. Whether a document is of some kind at all must not depend on whether its
/// fields fit.
pub(crate) fn values(file: &Path, text: &str) -> Vec<Found> {
    whole(file, text).into_iter().flat_map(unlisted).collect()
}

fn whole(file: &Path, text: &str) -> Vec<Found> {
    let mut reader = text.as_bytes();
    let documents = serde_saphyr::read::<_, Value>(&mut reader);
    let some = documents.filter(|value| !matches!(value, Ok(Value::Null)));
    let numbered = some.enumerate().map(|(index, value)| {
        let place = Place { file: file.to_path_buf(), document: index + 1, item: None };
        (place, value.map_err(|error| one_line(&error)))
    });
    numbered.collect()
}

fn unlisted(document: Found) -> Vec<Found> {
    match document {
        (place, Ok(value)) if is_list(&value) => items(&place, value),
        other => vec![other],
    }
}

fn is_list(value: &Value) -> bool {
    value["apiVersion"] == "v1" && value["kind"] == "List"
}

fn items(place: &Place, mut list: Value) -> Vec<Found> {
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
mod tests;
