//! What was applied, as documents beside the database: what a rebuild begins with.
//!
//! YAML documents of one line each, which is JSON, so that `ipamctl apply` reads the file too.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use ipam_core::{
    Change, Lease, POOL_KIND, Pool, PoolDocument, PoolName, Rejection, Reserved, ReservedDocument,
};

use crate::durable::{io_error, replace};
use crate::error::Error;
use crate::private;

const SEPARATOR: &str = "---\n";
/// The longest file in bytes that is read, and written; `ipamctl apply` reads as much.
const LONGEST_FILE: u64 = 64 << 20;

/// Pools and reserved addresses as they were applied last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// The pools, by name.
    pub pools: Vec<Pool>,
    /// The addresses that no pool hands out.
    pub reserved: Vec<Reserved>,
}

/// What [`crate::Store::apply`] made of each document, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of the pools.
    pub pools: Vec<Change>,
    /// Of the reserved addresses.
    pub reserved: Vec<Change>,
}

impl Changes {
    /// Whether anything changed.
    pub(crate) fn are_some(&self) -> bool {
        self.pools.iter().chain(&self.reserved).any(|change| *change != Change::Unchanged)
    }
}

impl Declared {
    /// Pools, and nothing reserved.
    pub fn pools(pools: impl IntoIterator<Item = Pool>) -> Self {
        Self { pools: pools.into_iter().collect(), reserved: Vec::new() }
    }

    /// What applying this to pools and reserved addresses changes, while leases are held, and what
    /// is declared then.
    pub(crate) fn merge(
        &self,
        stored: Self,
        leases: &[Lease],
    ) -> Result<(Changes, Self), Vec<Rejection>> {
        let pools = ipam_core::apply(&stored.pools, &self.pools, leases)?;
        let mut merged = stored;
        for pool in &self.pools {
            put(&mut merged.pools, pool, Pool::name);
        }
        let reserved =
            self.reserved.iter().map(|one| put(&mut merged.reserved, one, Reserved::name));
        let changes = Changes { pools, reserved: reserved.collect() };
        Ok((changes, merged))
    }

    /// Reads the file; `None` if nothing was ever applied.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let file = match private::open(OpenOptions::new().read(true), path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        };
        let mut text = String::new();
        let read = file.take(LONGEST_FILE + 1).read_to_string(&mut text);
        if read.map_err(io_error("read", path))? as u64 > LONGEST_FILE {
            let what = format!("it is longer than {LONGEST_FILE} bytes");
            return Err(Error::Damaged { path: path.into(), what });
        }
        let mut declared = Self::default();
        for document in text.split(SEPARATOR).filter(|document| !document.trim().is_empty()) {
            declared.add(document).map_err(|what| Error::Damaged { path: path.into(), what })?;
        }
        Ok(Some(declared))
    }

    fn add(&mut self, document: &str) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let value: serde_json::Value = serde_json::from_str(document).map_err(|e| text(&e))?;
        if value["kind"] == POOL_KIND {
            let document: PoolDocument = serde_json::from_value(value).map_err(|e| text(&e))?;
            self.pools.push(Pool::try_from(&document).map_err(|e| text(&e))?);
        } else {
            let document: ReservedDocument = serde_json::from_value(value).map_err(|e| text(&e))?;
            self.reserved.push(Reserved::try_from(&document).map_err(|e| text(&e))?);
        }
        Ok(())
    }

    fn text(&self) -> String {
        let pools = self.pools.iter().map(|pool| serde_json::to_string(&PoolDocument::from(pool)));
        let reserved = self.reserved.iter();
        let reserved = reserved.map(|one| serde_json::to_string(&ReservedDocument::from(one)));
        pools.chain(reserved).fold(String::new(), |text, document| {
            let document = document.expect("a document of strings is JSON");
            format!("{text}{SEPARATOR}{document}\n")
        })
    }

    /// Writes the file, if it says something else. What a rebuild could not read is not written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = self.text();
        let length = text.len() as u64;
        if length > LONGEST_FILE {
            let what = format!("{length} bytes, more than the {LONGEST_FILE} that are read again");
            return Err(io_error("write", path)(io::Error::new(ErrorKind::FileTooLarge, what)));
        }
        let is_as_long = fs::metadata(path).is_ok_and(|found| found.len() == length);
        if is_as_long && fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(());
        }
        replace(path, text.as_bytes())
    }
}

/// Puts an item in the place of that with its name, in the order of names.
fn put<T: Clone + PartialEq>(items: &mut Vec<T>, item: &T, name: fn(&T) -> &PoolName) -> Change {
    match items.binary_search_by(|other| name(other).cmp(name(item))) {
        Ok(index) if items[index] == *item => Change::Unchanged,
        Ok(index) => {
            items[index] = item.clone();
            Change::Updated
        }
        Err(index) => {
            items.insert(index, item.clone());
            Change::Created
        }
    }
}

#[cfg(test)]
mod tests {
    use ipam_core::{PoolSpec, ReservedSpec};

    use super::*;

    #[test]
    fn what_was_applied_reads_back_and_a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("declared.yaml");
        assert_eq!(Declared::read(&path).unwrap(), None);
        let spec = |subnet: &str, ip: &str| PoolSpec {
            subnet: subnet.into(),
            ips: vec![ip.into()],
            ..PoolSpec::default()
        };
        let declared = Declared {
            pools: vec![
                Pool::new("p", &spec("10.0.0.0/24", "10.0.0.5-10.0.0.9")).unwrap(),
                Pool::new("q", &spec("fd00::/64", "fd00::5")).unwrap(),
            ],
            reserved: vec![
                Reserved::new(
                    "r",
                    &ReservedSpec { ip_version: None, ips: vec!["10.0.0.6".into()] },
                )
                .unwrap(),
            ],
        };
        declared.write(&path).unwrap();
        assert_eq!(Declared::read(&path).unwrap(), Some(declared));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|line| *line == "---").count(), 3);
        fs::write(&path, text.replace("fd00::5", "fe00::5")).unwrap();
        let error = Declared::read(&path).unwrap_err().to_string();
        assert!(error.contains("declared.yaml is damaged") && error.contains("fe00::5"), "{error}");
    }

    #[test]
    fn a_file_without_an_end_is_not_read_and_none_is_written_that_would_not_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("declared.yaml");
        let options = OpenOptions::new().write(true).create_new(true).clone();
        let file = private::open(&options, &path).unwrap();
        file.set_len(LONGEST_FILE + 1).unwrap();
        let error = Declared::read(&path).unwrap_err().to_string();
        assert!(error.contains("is damaged: it is longer than 67108864 bytes"), "{error}");

        let ips = (0..40_000).map(|number| format!("fd00::{number:x}:1")).collect();
        let one = Reserved::new("r", &ReservedSpec { ip_version: None, ips }).unwrap();
        let length = Declared { reserved: vec![one.clone()], ..Declared::default() }.text().len();
        let count = usize::try_from(LONGEST_FILE).unwrap() / length + 1;
        let declared = Declared { reserved: vec![one; count], ..Declared::default() };
        let error = declared.write(&path).unwrap_err().to_string();
        assert!(error.contains("more than the 67108864 that are read again"), "{error}");
    }
}
