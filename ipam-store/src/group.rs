//! A group: one transaction for the holder of the lock and those who wait for it.
//!
//! Two syncs make all their decisions durable. What is decided is as if they had come one after the
//! other, the holder first; what cannot be decided so is left to who asked for it. No failure of
//! the group is the holder's: it then decides alone.

use std::collections::BTreeMap;

use ipam_core::{Attachment, Stamp};
use redb::ReadableDatabase;

use crate::ask::Pools;
use crate::codec::slip::encode_answer;
use crate::database::Opened;
use crate::fault::{Fault, Outcome};
use crate::mortal;
use crate::register::Register;
use crate::room::Room;
use crate::rows;
use crate::schema::{NOTES, NOTES_GROUP};
use crate::slip::{Found, Name, Stage, key_of, settle};

/// The most who are served by one transaction: some milliseconds, in which the others wait.
const MOST: usize = 64;

/// Whom a holder can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    /// A release may use the last space of a full disk, and what is given out may not.
    Releases,
}

/// Those who wait, and what became of them.
#[derive(Debug)]
pub(crate) struct Group {
    id: u128,
    room: Room,
    waiting: Vec<Found>,
    served: Vec<Found>,
}

impl Group {
    /// Those who can be served together with a decision about `own`; `None` if nobody waits.
    ///
    /// First it ends what a dead holder has left, by `last`, the group that was committed last.
    pub(crate) fn gather(
        room: Room,
        own: &[&Attachment],
        scope: Scope,
        last: impl FnOnce() -> Outcome<Option<u128>>,
    ) -> Option<Self> {
        let names = room.names().ok()?;
        if names.is_empty() {
            room.remove();
            return None;
        }
        let slips: Vec<_> = names.iter().filter_map(|name| Name::parse(name)).collect();
        let of = |stage| move |slip: &&(Name, Stage)| slip.1 == stage;
        if slips.iter().any(|slip| slip.1 == Stage::Taken) {
            let last = last().ok()?;
            for (name, _) in slips.iter().filter(of(Stage::Taken)) {
                settle(&room, name, last).ok()?;
            }
        }
        let asked: Vec<_> = slips.iter().filter(of(Stage::Asked)).map(|slip| &slip.0).collect();
        let waiting = once_each(&room, asked, own);
        let waiting = waiting.iter().filter_map(|name| Found::open(&room, name));
        let is_in_scope = |found: &Found| scope == Scope::All || found.ask().is_release();
        let waiting: Vec<_> = waiting.filter(is_in_scope).take(MOST).collect();
        if waiting.is_empty() {
            return None;
        }
        Some(Self { id: random()?, room, waiting, served: Vec::new() })
    }

    /// Decides for those who wait and writes their answers, which stand with the commit that is to
    /// follow. `false` if there is none.
    ///
    /// # Errors
    ///
    /// Any [`Fault`]: what is in the register now must not be committed.
    pub(crate) fn join(&mut self, register: &mut Register<'_>, now: &Stamp) -> Outcome<bool> {
        let pools = Pools::stored(register)?;
        if !pools.are_short() {
            return Ok(false);
        }
        let mut answers = Vec::new();
        for found in self.waiting.drain(..) {
            if !found.ask().fits(&pools) || !found.take(&self.room).map_err(failed)? {
                continue;
            }
            mortal::step();
            match found.ask().decide(register, &pools, now) {
                Ok(Some(outcome)) => {
                    answers.push(encode_answer(self.id, outcome));
                    self.served.push(found);
                }
                // Its reasons are found again by who asked.
                Ok(None) => found.dismiss(&self.room),
                Err(fault) => {
                    self.served.push(found);
                    return Err(fault);
                }
            }
        }
        if self.served.is_empty() {
            return Ok(false);
        }
        register.notes.insert(NOTES_GROUP, text_of(self.id).as_str())?;
        for (found, answer) in self.served.iter().zip(&answers) {
            mortal::step();
            found.prepare(answer).map_err(failed)?;
        }
        mortal::step();
        Ok(true)
    }

    /// After the commit: tells those who wait.
    pub(crate) fn confirm(self) {
        for found in &self.served {
            mortal::step();
            // Who is not told finds the group in the database.
            drop(found.confirm(&self.room));
        }
        mortal::step();
    }

    /// After a commit that failed, or none: those who wait decide for themselves.
    pub(crate) fn dismiss(self) {
        for found in &self.served {
            found.dismiss(&self.room);
        }
    }

    pub(crate) fn id(&self) -> u128 {
        self.id
    }
}

impl Opened {
    /// The group of decisions that was committed last, if there ever was one.
    pub(crate) fn last_group(&self) -> Outcome<Option<u128>> {
        let notes = match self.database().begin_read()?.open_table(NOTES) {
            // Of format 1.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other?,
        };
        let id = rows::text(&notes, NOTES_GROUP)?;
        Ok(id.and_then(|id| u128::from_str_radix(&id, 16).ok()))
    }
}

/// The names of requests about attachments that nobody else in the room, and not the holder, asks
/// about, in the order of their arrival. A runtime never asks twice at once: one of two is of a dead
/// process. They are let go, and whoever lives decides for himself.
fn once_each(room: &Room, mut asked: Vec<&Name>, own: &[&Attachment]) -> Vec<Name> {
    let mut count: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    let own = own.iter().map(|attachment| Some(key_of(attachment)));
    for key in own.chain(asked.iter().map(|name| name.key())) {
        *count.entry(key).or_default() += 1;
    }
    asked.sort();
    let mut once = Vec::new();
    for name in asked {
        if count.get(&name.key()) == Some(&1) {
            once.push(name.clone());
        } else {
            let _ = name.remove(room, Stage::Asked);
        }
    }
    once
}

pub(crate) fn text_of(id: u128) -> String {
    format!("{id:032x}")
}

/// Another number for each group.
fn random() -> Option<u128> {
    let mut bytes = [0; 16];
    let read = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    (read == Ok(bytes.len())).then(|| u128::from_le_bytes(bytes))
}

fn failed(error: impl Into<std::io::Error>) -> Fault {
    Fault::note(error.into())
}
