//! A turn: how a process comes to have its decision made, by itself or by another.

use ipam_core::{Attachment, Stamp};

use crate::ask::{Answer, Ask, What};
use crate::database::Opened;
use crate::disk::Growth;
use crate::error::Error;
use crate::fault::Fault;
use crate::flock::{Flock, Tried, Waiting};
use crate::group::{Group, Scope};
use crate::lock::Lock;
use crate::mortal;
use crate::register::Register;
use crate::room::Room;
use crate::slip::{Said, Slip};
use crate::store::Store;
use crate::transaction::Done;

/// Whose turn it became.
pub(crate) enum Turn {
    /// Another process has decided, durably.
    Answered(Answer),
    /// It is this process's.
    Own(Opened),
}

impl Store {
    /// Waits for the lock, and meanwhile asks its holder for the decision.
    pub(crate) fn turn(&self, growth: Growth, what: impl FnOnce() -> What) -> Result<Turn, Error> {
        let location = self.location();
        location.require_or_wait()?;
        let mut waiting = match Flock::attempt(&location.lock_file())? {
            Tried::Held(flock) => return self.own(flock, growth),
            Tried::Waiting(waiting) => waiting,
        };
        let slip = self.ask(&waiting, what);
        mortal::step();
        if let Some(flock) = waiting.wait(location.patience)? {
            return self.after(slip, flock, growth);
        }
        let Some(slip) = slip.filter(|slip| !slip.withdraw()) else { return Err(waiting.busy()) };
        // Somebody has taken it on: what he does must not be done behind the back of an error.
        if let Said::Committed(answer) = slip.said() {
            return Ok(Turn::Answered(answer));
        }
        match waiting.wait(location.patience)? {
            Some(flock) => self.after(Some(slip), flock, growth),
            None => match slip.said() {
                Said::Committed(answer) => Ok(Turn::Answered(answer)),
                _ => Err(waiting.unanswered()),
            },
        }
    }

    fn ask(&self, waiting: &Waiting, what: impl FnOnce() -> What) -> Option<Slip> {
        let room = Room::make(self.room()?, waiting.identity().ok()?)?;
        mortal::step();
        Slip::leave(room, &Ask { policy: self.policy().clone(), what: what() })
    }

    fn own(&self, flock: Flock, growth: Growth) -> Result<Turn, Error> {
        self.location().open_locked(Lock::of(flock), growth).map(Turn::Own)
    }

    /// What to do with the lock: nothing, if another holder has answered.
    fn after(&self, slip: Option<Slip>, flock: Flock, growth: Growth) -> Result<Turn, Error> {
        mortal::step();
        let Some(slip) = slip else { return self.own(flock, growth) };
        match slip.said() {
            Said::Committed(answer) => {
                slip.forget();
                mortal::step();
                Ok(Turn::Answered(answer))
            }
            Said::Nothing => {
                drop(slip);
                mortal::step();
                self.own(flock, growth)
            }
            // The holder has died. What the database says is on the disk once it is open.
            Said::Prepared(group, answer) => {
                let opened = self.location().open_locked(Lock::of(flock), growth)?;
                let is_committed = opened.last_group().is_ok_and(|last| last == Some(group));
                Ok(if is_committed { Turn::Answered(answer) } else { Turn::Own(opened) })
            }
        }
    }

    /// One transaction that decides what this process asks for, about `own`, and what those ask for
    /// who wait. `work` may be done twice; what the first time has written is then gone.
    pub(crate) fn transact_together<T, E: From<Fault>>(
        &self,
        opened: Opened,
        growth: Growth,
        scope: Scope,
        own: &[&Attachment],
        work: impl Fn(&mut Register<'_>, &Stamp) -> Result<Done<T>, E>,
    ) -> Result<T, E> {
        let Some(mut group) = self.gather(&opened, scope, own) else {
            return self.transact(&opened, work);
        };
        mortal::step();
        let mut has_others = false;
        let outcome = self.transact(&opened, |register, now| {
            let Done { answer, changed } = work(register, now)?;
            has_others = true;
            // Later than all who wait have come: nobody's lease is older than its holder.
            has_others = group.join(register, &self.now())?;
            Ok::<_, E>(Done { answer, changed: changed || has_others })
        });
        match outcome {
            Ok(answer) => {
                group.confirm();
                Ok(answer)
            }
            Err(error) if !has_others => Err(error),
            Err(error) => {
                let Ok(opened) = opened.reopen(self.location(), growth) else { return Err(error) };
                match opened.last_group() {
                    // The disk took neither the end of the commit nor that it be taken back.
                    Ok(last) if last == Some(group.id()) => {
                        group.confirm();
                        Err(error)
                    }
                    Ok(_) => {
                        group.dismiss();
                        self.transact(&opened, work)
                    }
                    Err(_) => Err(error),
                }
            }
        }
    }

    fn gather(&self, opened: &Opened, scope: Scope, own: &[&Attachment]) -> Option<Group> {
        let room = Room::enter(self.room()?, opened.lock().identity().ok()?)?;
        Group::gather(room, own, scope, || opened.last_group())
    }
}
