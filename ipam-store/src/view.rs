//! What a store says: nothing here writes a byte.

use std::net::IpAddr;
use std::time::Duration;

use ipam_core::{Attachment, Demand, Facts, Lease, Refused};
use redb::ReadTransaction;

use crate::contents::{self, Contents, Counters};
use crate::declared::Declared;
use crate::error::Error;
use crate::fault::Outcome;
use crate::history::{self, FormerHolder};
use crate::private;
use crate::store::Store;
use crate::transaction;
use crate::watch::Watch;

impl Store {
    /// Everything that is stored, for looking at it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if nothing was ever applied; else as [`Error`] says.
    pub fn contents(&self) -> Result<Contents, Error> {
        self.look(Contents::read)
    }

    /// What an attachment holds.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn held_by(&self, attachment: &Attachment) -> Result<Vec<Lease>, Error> {
        self.look(|transaction| contents::held_by(transaction, attachment))
    }

    /// Who held an address before, the latest first, four of them at most. What ended before there
    /// was a history, and what a rebuild or [`Self::replace`] came after, is not known.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn history(&self, address: IpAddr) -> Result<Vec<FormerHolder>, Error> {
        self.look(|transaction| history::read(transaction, address))
    }

    /// How the addresses of each pool divide.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn counters(&self) -> Result<Counters, Error> {
        self.look(Counters::read)
    }

    /// The counters now, and again after each change, for which the file is looked at every
    /// `interval`.
    pub fn watch(&self, interval: Duration) -> Watch {
        Watch::new(self.clone(), interval)
    }

    /// What was applied last, from the documents beside the database; `None` if nothing ever was.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the documents cannot be read.
    pub fn declared(&self) -> Result<Option<Declared>, Error> {
        private::guard(self.directory())?;
        Declared::read(&self.location().declared())
    }

    /// Why [`Self::allocate_all`] would refuse these demands now; `None` if it would meet them.
    /// With `facts`: if [`Self::reclaim`] had been called with them before. The same code answers
    /// upon the same tables, and not a byte is written.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn refusal(
        &self,
        demands: &[Demand],
        facts: Option<&Facts>,
    ) -> Result<Option<Box<Refused>>, Error> {
        let snapshot = self.location().look()?;
        let (database, noted) = (snapshot.database(), snapshot.lock().noted());
        let refused =
            transaction::refusal(database, noted, demands, facts, self.policy(), &self.now());
        refused.map_err(|fault| fault.at("read", snapshot.path()))
    }

    fn look<T>(&self, read: impl FnOnce(&ReadTransaction) -> Outcome<T>) -> Result<T, Error> {
        let snapshot = self.location().look()?;
        let answer = snapshot.read().and_then(|transaction| read(&transaction));
        answer.map_err(|fault| fault.at("read", snapshot.path()))
    }
}
