//! What plugins have made in the kernel for the attachments of this boot.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::{Attachment, BootId, ContainerId};
use redb::{Database, ReadableDatabase};

use crate::codec;
use crate::database::{begin, existing, fresh, open_overlay};
use crate::disk::{Disk, Growth};
use crate::durable::{create_directory, is_there, rename};
use crate::error::Error;
use crate::fault::{Fault, Outcome};
use crate::header;
use crate::lock::Lock;
use crate::phased::Phased;
use crate::private;
use crate::rows;
use crate::schema::{NOTES, NOTES_BOOT, WIRINGS, container_key, wiring_key, wiring_of};

/// What one plugin has made in the kernel for one attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// Whose it is.
    pub attachment: Attachment,
    /// What it is: JSON that only the plugin reads.
    pub document: String,
}

/// The wirings of one node, in one directory.
///
/// They are a database of their own, beside that of the leases, since they live and die with the
/// kernel's state: the directory belongs on a file system that a reboot empties, such as `/run`,
/// where syncs cost nothing. What an earlier boot left elsewhere is not shown. Like
/// [`Store`](crate::Store) this is a place, not an open file: each method is one transaction under
/// the directory's lock.
///
/// The kernel is the truth and this its index: a file that is damaged is moved aside (`.damaged`),
/// and begun anew.
#[derive(Debug, Clone)]
pub struct Wirings {
    directory: PathBuf,
    patience: Duration,
    boot: Option<BootId>,
}

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError<E> {
    /// The plugin decided against it.
    #[error(transparent)]
    Refused(E),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Wirings {
    /// The wirings in `directory`, whose lock is waited for at most `patience`. Touches nothing.
    pub fn new(directory: impl Into<PathBuf>, patience: Duration) -> Self {
        let boot = crate::now().boot;
        Self { directory: directory.into(), patience, boot }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Records what `decide` answers for an attachment, given all that is recorded for its
    /// container, this attachment included, in the order of interface names. Nobody else decides
    /// meanwhile. Answers what was recorded.
    ///
    /// # Errors
    ///
    /// [`WireError::Refused`] with what `decide` answered, or [`WireError::Store`]: nothing was
    /// recorded, try again.
    pub fn wire<E>(
        &self,
        attachment: &Attachment,
        decide: impl FnOnce(&[Wiring]) -> Result<String, E>,
    ) -> Result<String, WireError<E>> {
        create_directory(&self.directory)?;
        let _lock = self.lock()?;
        let (database, known) = self.open(&container_key(&attachment.container))?;
        let document = decide(&known).map_err(WireError::Refused)?;
        if known.iter().any(|it| it.attachment == *attachment && it.document == document) {
            return Ok(document);
        }
        let written = self.insert(database.database(), attachment, &document);
        written.map_err(|fault| fault.at("write to", &self.file()))?;
        Ok(document)
    }

    fn insert(&self, database: &Database, attachment: &Attachment, document: &str) -> Outcome<()> {
        let boot = self.boot.as_ref().map_or("", |boot| boot.as_str());
        let transaction = begin(database)?;
        {
            let mut notes = transaction.open_table(NOTES)?;
            if rows::text(&notes, NOTES_BOOT)?.as_deref() != Some(boot) {
                transaction.delete_table(WIRINGS)?;
                notes.insert(NOTES_BOOT, boot)?;
            }
            let (key, record) = (wiring_key(attachment), codec::encode_wiring(document));
            transaction.open_table(WIRINGS)?.insert(key.as_slice(), record.as_slice())?;
        }
        Ok(transaction.commit()?)
    }

    /// Forgets these attachments and answers what was recorded for them; nothing if nothing was.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: all are still recorded, try again.
    pub fn unwire(&self, attachments: &[Attachment]) -> Result<Vec<Wiring>, Error> {
        let path = self.file();
        private::guard(&self.directory)?;
        if attachments.is_empty() || !is_there(&path)? {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        // A DEL is about one container, and need not read the others.
        let prefix = match attachments {
            [only] => container_key(&only.container),
            _ => Vec::new(),
        };
        let (database, known) = self.open(&prefix)?;
        let removed: Vec<_> =
            known.into_iter().filter(|it| attachments.contains(&it.attachment)).collect();
        let outcome = Self::remove(database.database(), &removed);
        outcome.map_err(|fault| fault.at("write to", &path))?;
        Ok(removed)
    }

    fn remove(database: &Database, wirings: &[Wiring]) -> Outcome<()> {
        if wirings.is_empty() {
            return Ok(());
        }
        let transaction = begin(database)?;
        {
            let mut table = transaction.open_table(WIRINGS)?;
            for wiring in wirings {
                table.remove(wiring_key(&wiring.attachment).as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Everything that is recorded, by container and interface name.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: it cannot be known. A file that is not there or is damaged says nothing, which
    /// is no error.
    pub fn all(&self) -> Result<Vec<Wiring>, Error> {
        self.look(&[])
    }

    /// What is recorded for one container, by interface name.
    ///
    /// # Errors
    ///
    /// As [`Self::all`].
    pub fn of(&self, container: &ContainerId) -> Result<Vec<Wiring>, Error> {
        self.look(&container_key(container))
    }

    fn look(&self, prefix: &[u8]) -> Result<Vec<Wiring>, Error> {
        private::guard(&self.directory)?;
        let path = self.file();
        if !is_there(&path)? {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let opened = header::check(&path).and_then(|()| open_overlay(&path));
        let read = opened.and_then(|database| {
            self.read(&database, prefix).map_err(|fault| fault.at("read", &path))
        });
        match read {
            Err(Error::Damaged { .. }) => Ok(Vec::new()),
            read => read,
        }
    }

    /// The rows whose keys begin with `prefix`, unless they are of an earlier boot.
    fn read(&self, database: &Database, prefix: &[u8]) -> Outcome<Vec<Wiring>> {
        let transaction = database.begin_read()?;
        let boot = rows::text(&transaction.open_table(NOTES)?, NOTES_BOOT)?;
        if boot.as_deref() != Some(self.boot.as_ref().map_or("", |boot| boot.as_str())) {
            return Ok(Vec::new());
        }
        let mut wirings = Vec::new();
        for row in transaction.open_table(WIRINGS)?.range(prefix..)? {
            let (key, record) = row?;
            let key = key.value();
            if !key.starts_with(prefix) {
                break;
            }
            let nobodys = || Fault::Disagreement("a wiring is of no attachment".to_owned());
            let attachment = wiring_of(key).ok_or_else(nobodys)?;
            let document = codec::decode_wiring(record.value());
            let document =
                document.map_err(Fault::record(format!("the wiring of {attachment}")))?;
            wirings.push(Wiring { attachment, document });
        }
        Ok(wirings)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("wirings.redb")
    }

    fn lock(&self) -> Result<Lock, Error> {
        Lock::acquire(&self.directory.join("wirings.lock"), self.patience)
    }

    /// The database, made where there is none and made anew where it is damaged, and what it has
    /// under `prefix`.
    fn open(&self, prefix: &[u8]) -> Result<(Phased, Vec<Wiring>), Error> {
        let path = self.file();
        if !is_there(&path)? {
            self.create(&path)?;
        }
        match self.open_existing(&path, prefix) {
            Err(Error::Damaged { .. }) => {
                rename(&path, &self.directory.join("wirings.redb.damaged"))?;
                self.create(&path)?;
                self.open_existing(&path, prefix)
            }
            opened => opened,
        }
    }

    fn open_existing(&self, path: &Path, prefix: &[u8]) -> Result<(Phased, Vec<Wiring>), Error> {
        header::check(path)?;
        let file = existing(OpenOptions::new().read(true).write(true), path)?;
        // Never settled: where syncs cost nothing there is nothing to save.
        let opened = Phased::open(Disk::new(file, Growth::Blocks), false);
        let database = opened.map_err(|error| Fault::from(error).at("open", path))?;
        let rows = self.read(database.database(), prefix);
        let rows = rows.map_err(|fault| fault.at("read", path))?;
        Ok((database, rows))
    }

    fn create(&self, path: &Path) -> Result<(), Error> {
        let draft = self.directory.join("wirings.redb.new");
        let file = fresh(&mut OpenOptions::new(), &draft)?;
        let made = Phased::open(Disk::new(file, Growth::Blocks), false).map_err(Fault::from);
        let made = made.and_then(|database| {
            let transaction = begin(database.database())?;
            drop((transaction.open_table(NOTES)?, transaction.open_table(WIRINGS)?));
            Ok(transaction.commit()?)
        });
        made.map_err(|fault| fault.at("create", &draft))?;
        rename(&draft, path)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn another_boot_begins_with_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let after = |boot: &str| Wirings {
            boot: Some(boot.parse().unwrap()),
            ..Wirings::new(directory.path(), Duration::from_secs(10))
        };
        let wire = |wirings: &Wirings, ifname: &str| {
            let attachment = Attachment {
                network: "a".parse().unwrap(),
                container: "c1".parse().unwrap(),
                ifname: ifname.parse().unwrap(),
            };
            wirings.wire(&attachment, |_| Ok::<_, Infallible>("{}".to_owned())).unwrap();
        };
        wire(&after("one"), "eth0");
        assert_eq!(after("one").all().unwrap().len(), 1);
        assert_eq!(after("two").all().unwrap(), []);
        wire(&after("two"), "net1");
        assert_eq!(after("two").all().unwrap().len(), 1);
        assert_eq!(after("one").all().unwrap(), [], "what was there is gone for good");
    }
}
