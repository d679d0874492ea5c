//! What a decision would say now, without making it.

use ipam_core::{Demand, Facts, Refused};

use crate::error::Error;
use crate::store::Store;
use crate::transaction;

impl Store {
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
}
