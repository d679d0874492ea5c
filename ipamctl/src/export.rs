//! The export of a store: one JSON document with all that another node, or the same one after its
//! disk was lost, needs to go on.
//!
//! `apiVersion` is the version of the format, and only [`API_VERSION`] is read. Fields are never
//! added to a version: what is unknown is refused, since to leave it out could give an address to
//! two holders. `checksum` is `crc32:` and the CRC-32 (that of zlib) in eight hexadecimal digits,
//! taken over the whole document without that field, written without white space and with the keys
//! of all objects in the order of their bytes: to print it differently is no damage, to lose or
//! change a value is. It finds accidents, no intent. All numbers are whole and have 64 bits: others
//! are not the same once they are printed anew, and stand nowhere in the format.

mod document;

use anyhow::{Context, Result, bail};
use ipam_core::{Lease, Pool, Reserved, Stamp};
use ipam_store::Resting;
use serde_json::Value;

use document::ExportDocument;

use crate::plain;

/// `apiVersion` of the document.
pub(crate) const API_VERSION: &str = "node-ipam/v1";
/// `kind` of the document.
pub(crate) const KIND: &str = "NodeIPAMExport";

/// What a store has, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Export {
    /// When it was read. Its boot is the one that the rests count in, its moment tells how much of
    /// each rest was left.
    pub(crate) written: Stamp,
    /// The pools as they are applied, not narrowed by [`Pool::among`].
    pub(crate) pools: Vec<Pool>,
    /// The addresses that no pool hands out.
    pub(crate) reserved: Vec<Reserved>,
    /// The addresses that are held.
    pub(crate) leases: Vec<Lease>,
    /// The addresses that rest.
    pub(crate) rests: Vec<Resting>,
}

impl Export {
    /// The document, with its checksum and a line's end behind it.
    ///
    /// # Errors
    /// If a rest is of a kind that the format has no word for.
    pub(crate) fn to_json(&self) -> Result<String> {
        let mut document = ExportDocument::new(self)?;
        document.checksum = checksum(serde_json::to_value(&document)?);
        Ok(plain::json(&serde_json::to_string_pretty(&document)?) + "\n")
    }

    /// Reads such a document. Each part is checked, but not whether the parts fit each other.
    ///
    /// # Errors
    /// Names the format if it is another; says so if the content is not what was written; else names
    /// the field that is wrong, of several pools each.
    pub(crate) fn from_json(text: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(text).context("no JSON")?;
        let stated = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
        let kind = stated("kind");
        if kind != KIND {
            bail!("kind {kind:?}: it must be {KIND}");
        }
        let version = stated("apiVersion");
        if version != API_VERSION {
            bail!(
                "apiVersion {version:?}: only {API_VERSION} is known here: take the ipamctl that \
                 wrote the document"
            );
        }
        let (stated, found) = (stated("checksum"), checksum(document.clone()));
        if stated != found {
            bail!("checksum {stated:?}: the content has {found}: it was damaged or changed");
        }
        let document: ExportDocument = serde_path_to_error::deserialize(document)?;
        document.into_export()
    }
}

/// Of the document, whatever its own field of that name says.
fn checksum(mut document: Value) -> String {
    if let Some(fields) = document.as_object_mut() {
        fields.remove("checksum");
    }
    // They are sorted already, unless a feature of the JSON library keeps the order of the text.
    document.sort_all_objects();
    format!("crc32:{:08x}", crc32fast::hash(document.to_string().as_bytes()))
}

#[cfg(test)]
mod tests;
