//! The documents that configurations are made from.

use std::path::PathBuf;

use anyhow::Result;
use ipam_core::{API_VERSION, POOL_KIND, RESERVED_KIND};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::coordinator::CoordinatorDocument;
use super::multus::{MultusConfig, MultusDocument};
use crate::documents::{Place, text_of, values, with_field};

/// Kind of the documents of networks.
pub(crate) const MULTUS_KIND: &str = "SpiderMultusConfig";
/// Kind of the document with what all coordinators have in common.
pub(crate) const COORDINATOR_KIND: &str = "SpiderCoordinator";

/// What the files contain.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// The valid networks, in the order of the files.
    pub(crate) configs: Vec<(Spot, MultusConfig)>,
    /// What all coordinators have in common.
    pub(crate) coordinator: Option<CoordinatorDocument>,
    /// One line for each fault.
    pub(crate) faults: Vec<String>,
    /// One line for each thing that a person should know.
    pub(crate) notes: Vec<String>,
}

/// A document, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// File, document and name.
    pub(crate) subject: String,
}

impl Spot {
    /// A note about the document.
    pub(crate) fn note(&self, note: &str) -> String {
        format!("{}: {note}", self.subject)
    }
}

impl Source {
    /// Reads all files and goes on after faults, so that one run shows all of them.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut source = Self::default();
        for file in files {
            for (place, value) in values(file, &text_of(file)?) {
                match value {
                    Ok(value) => source.add(&place, value),
                    Err(fault) => source.faults.push(format!("{place}: {fault}")),
                }
            }
        }
        Ok(source)
    }

    fn add(&mut self, place: &Place, value: Value) {
        let text_at = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let (found, kind) = (text_at("apiVersion"), text_at("kind"));
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let spot = Spot { subject: place.of(&kind, name) };
        if found != API_VERSION {
            let fault = format!("apiVersion {found:?}: it must be {API_VERSION}");
            return self.faults.push(spot.note(&fault));
        }
        match &*kind {
            MULTUS_KIND => match self.document::<MultusDocument>(&spot, value) {
                None => {}
                Some(document) => match MultusConfig::new(document) {
                    Ok(config) => self.configs.push((spot, config)),
                    Err(fault) => self.faults.push(spot.note(&fault)),
                },
            },
            COORDINATOR_KIND => {
                let document = self.document::<CoordinatorDocument>(&spot, value);
                if self.coordinator.is_some() {
                    self.faults.push(spot.note("a cluster has one, and this is another"));
                }
                self.coordinator = document.or(self.coordinator.take());
            }
            POOL_KIND | RESERVED_KIND => {
                self.notes.push(spot.note("left alone: it is for `ipamctl apply`"));
            }
            _ => {
                let rule = format!("it must be {MULTUS_KIND} or {COORDINATOR_KIND}");
                self.faults.push(spot.note(&format!("kind {kind:?}: {rule}")));
            }
        }
    }

    fn document<T: DeserializeOwned>(&mut self, spot: &Spot, value: Value) -> Option<T> {
        serde_path_to_error::deserialize(value)
            .map_err(|error| self.faults.push(spot.note(&with_field(&error))))
            .ok()
    }
}
