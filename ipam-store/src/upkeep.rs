//! Looking after the file: proving it whole, putting another in its place, giving space back.

use std::path::PathBuf;

use crate::contents::Contents;
use crate::declared::Declared;
use crate::disk::Growth;
use crate::durable::{create_directory, io_error, is_there, rename};
use crate::error::Error;
use crate::fault::Fault;
use crate::store::Store;
use crate::transaction::Done;

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong, one line each; empty if nothing is.
    pub faults: Vec<String>,
    /// Whether the indexes were made anew, after which nothing is wrong.
    pub repaired: bool,
}

impl Store {
    /// Checks every page of the file, every record, and whether the indexes agree with the leases.
    /// With `repair` the indexes are made anew, and unreadable history is forgotten, where only they
    /// are wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if leases, rests or pools themselves cannot be read: rebuild.
    pub fn verify(&self, repair: bool) -> Result<Verdict, Error> {
        let mut opened = self.location().open(Growth::Blocks)?;
        let path = opened.path().to_path_buf();
        opened.unsettle()?;
        let checked = opened.database_mut().check_integrity();
        let is_whole = checked.map_err(|error| Fault::from(error).at("check", &path))?;
        let outcome = self.transact(&opened, |register, _| {
            let mut faults = register.check_indexes()?;
            let unsound = register.unsound_history()?;
            if unsound > 0 {
                faults.push(format!("table history: {unsound} rows are of nobody"));
            }
            let repaired = repair && !faults.is_empty();
            if repaired {
                register.reindex()?;
                register.mend_history()?;
            }
            Ok::<_, Fault>(Done { answer: Verdict { faults, repaired }, changed: repaired })
        });
        opened.close_cleanly();
        let mut verdict = outcome.map_err(|fault| fault.at("check", &path))?;
        if !is_whole {
            verdict
                .faults
                .insert(0, "pages were damaged; the database library repaired them".into());
        }
        Ok(verdict)
    }

    /// Moves the database aside, under a name that ends with the time, and answers that name, and
    /// what was in it, as far as there was a database and it could be read. From here on nothing is
    /// handed out, until [`Self::create`].
    ///
    /// # Errors
    ///
    /// Any [`Error`]: the database is where it was.
    pub fn set_aside(
        &self,
        declared: &Declared,
    ) -> Result<(Option<PathBuf>, Option<Contents>), Error> {
        create_directory(&self.location().directory)?;
        let lock = self.location().lock()?;
        // First: from here on a missing database is a lost one.
        declared.write(&self.location().declared())?;
        let path = self.location().file();
        if !is_there(&path)? {
            return Ok((None, None));
        }
        let contents = self.location().peek(&lock).ok();
        let aside = self.location().aside(self.now().unix_seconds)?;
        rename(&path, &aside)?;
        Ok((Some(aside), contents))
    }

    /// Creates the store with these contents.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] if there is a database already, for instance since somebody else was
    /// faster. Any other [`Error`]: until a later call succeeds the store answers [`Error::Lost`],
    /// and nothing is handed out.
    pub fn create(&self, contents: &Contents) -> Result<(), Error> {
        create_directory(&self.location().directory)?;
        let lock = self.location().lock()?;
        self.location().create(&lock, &contents.declared(), |register| contents.write(register))
    }

    /// Puts a new database with these contents in the place of the one there may be, which is set
    /// aside, and answers the name that it has now.
    ///
    /// # Errors
    ///
    /// As [`Self::set_aside`] and [`Self::create`].
    pub fn replace(&self, contents: &Contents) -> Result<Option<PathBuf>, Error> {
        let (aside, _) = self.set_aside(&contents.declared())?;
        self.create(contents)?;
        Ok(aside)
    }

    /// Gives unused space of the file back to the disk, if at least half of it is unused and it is
    /// above `floor` bytes. Answers its size in bytes before and after.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: the file may be compacted in part; what it says is the same.
    pub fn compact(&self, floor: u64) -> Result<(u64, u64), Error> {
        let mut opened = self.location().open(Growth::Blocks)?;
        let path = opened.path().to_path_buf();
        let size = || std::fs::metadata(&path).map(|data| data.len());
        let before = size().map_err(io_error("look at", &path))?;
        let used = opened.used_bytes().map_err(|fault| fault.at("read", &path))?;
        if before > floor && used < before / 2 {
            opened.unsettle()?;
            let compacted = opened.database_mut().compact();
            compacted.map_err(|error| Error::Database {
                operation: "compact",
                path: path.clone(),
                source: Box::new(error.into()),
            })?;
        }
        opened.close_cleanly();
        Ok((before, size().map_err(io_error("look at", &path))?))
    }
}
