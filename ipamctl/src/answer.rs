//! The objects that `-o json` answers, and how they are written.

use std::io::Write;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::plain;
use crate::table::Format;

/// The version of the objects that only this tool has.
const API_VERSION: &str = "node-ipam/v1";

/// What an object is. Each has a schema in `ipamctl/schemas`, in a file of its name in kebab-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `show ip`.
    AddressStory,
    /// `apply`.
    Application,
    /// `gc`.
    Collection,
    /// `delete pools`.
    Deletion,
    /// `doctor`.
    Diagnosis,
    /// `explain coordinator`.
    Explanation,
    /// `import host-local`.
    Import,
    /// `pin`, and each item of `get pins`.
    Pin,
    /// `show pool`.
    PoolOccupancy,
    /// `rebuild`.
    Rebuild,
    /// `release`.
    Release,
    /// `repair`.
    Repair,
    /// `restore`.
    Restoration,
    /// `why`.
    Selection,
    /// `sync`.
    Synchronization,
    /// `unpin`.
    Unpin,
    /// `verify`.
    Verification,
}

impl Kind {
    /// The field `kind`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AddressStory => "AddressStory",
            Self::Application => "Application",
            Self::Collection => "Collection",
            Self::Deletion => "Deletion",
            Self::Diagnosis => "Diagnosis",
            Self::Explanation => "Explanation",
            Self::Import => "Import",
            Self::Pin => "Pin",
            Self::PoolOccupancy => "PoolOccupancy",
            Self::Rebuild => "Rebuild",
            Self::Release => "Release",
            Self::Repair => "Repair",
            Self::Restoration => "Restoration",
            Self::Selection => "Selection",
            Self::Synchronization => "Synchronization",
            Self::Unpin => "Unpin",
            Self::Verification => "Verification",
        }
    }

    /// An object of this kind with these further fields.
    pub(crate) fn object(self, fields: Value) -> Value {
        let mut object = json!({ "apiVersion": API_VERSION, "kind": self.name() });
        if let (Value::Object(all), Value::Object(fields)) = (&mut object, fields) {
            all.extend(fields);
        }
        object
    }
}

/// What `-o` takes where the answer is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One JSON object.
    Json,
    /// One YAML document.
    Yaml,
}

/// How a verb answers that does something.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Answer {
    /// The form of the answer; lines of text when absent.
    #[arg(short, long, value_enum)]
    output: Option<Form>,
}

impl Answer {
    /// Whether people read it: then lines are written as things happen.
    pub(crate) fn is_text(self) -> bool {
        self.output.is_none()
    }

    /// Writes an object, where one is asked for.
    pub(crate) fn give(
        self,
        kind: Kind,
        fields: impl FnOnce() -> Value,
        out: &mut dyn Write,
    ) -> Result<()> {
        match self.output {
            None => Ok(()),
            Some(Form::Json) => write_object(kind, fields(), Format::Json, out),
            Some(Form::Yaml) => write_object(kind, fields(), Format::Yaml, out),
        }
    }

    /// Writes one of several objects, where they are asked for: each on a line, as JSON Lines has
    /// them, or as one document of a YAML stream.
    pub(crate) fn give_next(
        self,
        kind: Kind,
        fields: impl FnOnce() -> Value,
        out: &mut dyn Write,
    ) -> Result<()> {
        match self.output {
            None => {}
            Some(Form::Json) => {
                writeln!(out, "{}", plain::json(&kind.object(fields()).to_string()))?;
            }
            Some(Form::Yaml) => {
                write!(out, "---\n{}", serde_saphyr::to_string(&kind.object(fields()))?)?;
            }
        }
        Ok(())
    }
}

/// Writes one object in the form of the tool, `{"apiVersion": "node-ipam/v1", "kind": ...}`, with
/// these further fields.
pub(crate) fn write_object(
    kind: Kind,
    fields: Value,
    format: Format,
    out: &mut dyn Write,
) -> Result<()> {
    let object = kind.object(fields);
    if format == Format::Yaml {
        write!(out, "{}", serde_saphyr::to_string(&object)?)?;
    } else {
        writeln!(out, "{}", plain::json(&serde_json::to_string_pretty(&object)?))?;
    }
    Ok(())
}
