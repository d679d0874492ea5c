//! The end of what an attachment holds, in every file that can be written to.

use ipam_core::{Attachment, Lease, Stamp};

use crate::ask::What;
use crate::database::{Opened, begin};
use crate::disk::Growth;
use crate::error::Error;
use crate::fault::{Fault, Outcome};
use crate::group::Scope;
use crate::history::Ended;
use crate::migrate::depart;
use crate::register::Register;
use crate::store::Store;
use crate::transaction;
use crate::turn::Turn;

impl Store {
    /// Frees all that an attachment holds and answers what that was; empty if it held nothing or
    /// nothing was ever applied here. Works on a full disk. In a file of a newer format it is
    /// written down for the programs that know it, and the answer is empty.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: the addresses are still held, try again. If [`Error::needs_rebuild`] says so
    /// there is nothing to try: a rebuild takes only what lives.
    pub fn release(&self, attachment: &Attachment) -> Result<Vec<Lease>, Error> {
        let opened = match self.turn(Growth::Length, || What::Release(attachment.clone())) {
            Err(Error::Missing { .. }) => return Ok(Vec::new()),
            Ok(Turn::Answered(answer)) => return Ok(answer.released()),
            Ok(Turn::Own(opened)) => opened,
            Err(other) => return Err(other),
        };
        self.release_as(Ended::Released, attachment, opened)
    }

    /// As [`Self::release`], for a person who ends a lease by hand: its history says so.
    ///
    /// # Errors
    ///
    /// As [`Self::release`].
    pub fn release_by_hand(&self, attachment: &Attachment) -> Result<Vec<Lease>, Error> {
        match self.location().open(Growth::Length) {
            Err(Error::Missing { .. }) => Ok(Vec::new()),
            Err(other) => Err(other),
            Ok(opened) => self.release_as(Ended::ReleasedByHand, attachment, opened),
        }
    }

    fn release_as(
        &self,
        ended: Ended,
        attachment: &Attachment,
        opened: Opened,
    ) -> Result<Vec<Lease>, Error> {
        let path = opened.path().to_path_buf();
        let work = |register: &mut Register<'_>, now: &Stamp| {
            transaction::release(register, attachment, ended, self.policy(), now)
        };
        let (growth, scope) = (Growth::Length, Scope::Releases);
        match self.transact_together(opened, growth, scope, &[attachment], work) {
            Err(Fault::Newer { .. }) => self.depart(&self.location().open(growth)?, attachment),
            other => other,
        }
        .map_err(|fault| fault.at("write to", &path))
    }

    fn depart(&self, opened: &Opened, attachment: &Attachment) -> Outcome<Vec<Lease>> {
        let transaction = begin(opened.database())?;
        if depart(&transaction, attachment, self.now().unix_seconds)? {
            opened.lock().unsettle().map_err(Fault::note)?;
            transaction.commit()?;
        }
        Ok(Vec::new())
    }
}
