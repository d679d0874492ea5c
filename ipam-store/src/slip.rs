//! A slip: the file by which a waiting process asks the holder of the lock to decide for it.
//!
//! Who waits makes it without a name, locks it by `flock(2)` for as long as he lives, and gives it
//! the name `<what>.req` when it is whole. The holder of the node-wide lock takes it on by renaming
//! it to `<what>.taken`, writes the answer behind the request before he commits, sets the first
//! byte after, and takes the name away. Who waits keeps the file open: it needs no name to be read.
//!
//! - One of two renamings succeeds: a slip that was withdrawn is not decided, one that was taken on
//!   is not withdrawn.
//! - A slip without an answer that is whole was not decided: all answers are written before the
//!   commit.
//! - An answer whose first byte is not set stands if its group is the one that the database has
//!   noted last (`notes`, `group`), and else it never happened.
//! - A slip that is not locked is of the dead. The lock goes with the process, before its parent
//!   can learn of its end, and so before a DEL that follows.
//!
//! `<what>` begins with the time, so that names sort by arrival, and has a checksum of the
//! attachment, so that two requests about one attachment are seen without being read.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use ipam_core::Attachment;
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::time::{ClockId, clock_gettime};

use crate::ask::{Answer, Ask};
use crate::codec::slip::{decode_answer, decode_ask, encode_ask};
use crate::mortal;
use crate::room::Room;
use crate::schema::attachment_key;

/// The longest slip in bytes that is written or read, with its answer.
const LONGEST: usize = 256 << 10;

/// The longest request in bytes.
const LONGEST_ASK: usize = 64 << 10;

/// What the first byte says.
const ASKED: u8 = 0;
const COMMITTED: u8 = 1;

/// The first byte, and the length of the request in four (little-endian). The answer has its length
/// in front too.
const HEAD: usize = 5;

/// A name without its ending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

/// How far a slip is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `.req`
    Asked,
    /// `.taken`
    Taken,
}

impl Name {
    fn new(attachment: &Attachment) -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let nanoseconds = now.tv_sec * 1_000_000_000 + now.tv_nsec;
        let (key, pid) = (key_of(attachment), std::process::id());
        let thread = rustix::thread::gettid().as_raw_nonzero();
        Self(format!("{nanoseconds:016x}-{key:08x}-{pid}-{thread}"))
    }

    /// The name in a directory's entry; `None` if the file is no slip.
    pub(crate) fn parse(file: &str) -> Option<(Self, Stage)> {
        let (name, ending) = file.split_once('.')?;
        let stage = match ending {
            "req" => Stage::Asked,
            "taken" => Stage::Taken,
            _ => return None,
        };
        Some((Self(name.to_owned()), stage))
    }

    /// The checksum of the attachment.
    pub(crate) fn key(&self) -> Option<u32> {
        u32::from_str_radix(self.0.split('-').nth(1)?, 16).ok()
    }

    fn at(&self, stage: Stage) -> String {
        match stage {
            Stage::Asked => format!("{}.req", self.0),
            Stage::Taken => format!("{}.taken", self.0),
        }
    }

    /// Takes the name away; whether it was there.
    pub(crate) fn remove(&self, room: &Room, stage: Stage) -> Result<bool, Errno> {
        match unlinkat(room.directory(), self.at(stage), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// A checksum of an attachment, as names have it.
pub(crate) fn key_of(attachment: &Attachment) -> u32 {
    crc32fast::hash(&attachment_key(attachment))
}

/// What a slip says to who waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// No answer: it was not decided.
    Nothing,
    /// This, if the group was committed.
    Prepared(u128, Answer),
    /// This.
    Committed(Answer),
}

/// The slip of a process that waits, withdrawn when it is dropped.
#[derive(Debug)]
pub(crate) struct Slip {
    room: Room,
    name: Name,
    file: File,
    /// Whether it has to be removed.
    is_named: bool,
}

impl Slip {
    /// Leaves a request in the room. `None` for any reason: nobody is asked.
    pub(crate) fn leave(room: Room, ask: &Ask) -> Option<Self> {
        let name = Name::new(ask.attachment()?);
        let record = encode_ask(ask);
        let length = u32::try_from(record.len()).ok()?;
        if record.len() > LONGEST_ASK {
            return None;
        }
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = openat(room.directory(), ".", flags, Mode::RUSR | Mode::WUSR).ok()?;
        mortal::step();
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        mortal::step();
        let file = File::from(file);
        let bytes = [&[ASKED][..], &length.to_le_bytes(), &record].concat();
        file.write_all_at(&bytes, 0).ok()?;
        mortal::step();
        // A file without a name has one there (open(2), O_TMPFILE).
        let unnamed = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let named = name.at(Stage::Asked);
        linkat(CWD, unnamed, room.directory(), named, AtFlags::SYMLINK_FOLLOW).ok()?;
        mortal::step();
        Some(Self { room, name, file, is_named: true })
    }

    /// Takes the request back; `false` if somebody has taken it on, or has said no.
    pub(crate) fn withdraw(&self) -> bool {
        self.name.remove(&self.room, Stage::Asked) == Ok(true)
    }

    /// What it says. Final for who has the node-wide lock; else only an answer is.
    pub(crate) fn said(&self) -> Said {
        let Some(Contents { state, answer: Some(answer), .. }) = Contents::read(&self.file) else {
            return Said::Nothing;
        };
        match decode_answer(&answer) {
            Ok((_, answer)) if state == COMMITTED => Said::Committed(answer),
            Ok((group, answer)) => Said::Prepared(group, answer),
            Err(_) => Said::Nothing,
        }
    }

    /// Ends it without a word: whoever has committed it has taken its name away.
    pub(crate) fn forget(mut self) {
        self.is_named = false;
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        for stage in [Stage::Asked, Stage::Taken].into_iter().filter(|_| self.is_named) {
            let _ = self.name.remove(&self.room, stage);
        }
    }
}

/// A slip as the holder of the lock finds it.
#[derive(Debug)]
pub(crate) struct Found {
    name: Name,
    file: File,
    ask: Ask,
    /// Where the answer belongs.
    end: u64,
}

impl Found {
    /// Of who waits. `None` if he is dead, and then it is removed, or if it cannot be read.
    pub(crate) fn open(room: &Room, name: &Name) -> Option<Self> {
        let file = open(room, name, Stage::Asked).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            let _ = name.remove(room, Stage::Asked);
            return None;
        }
        let Contents { ask, .. } = Contents::read(&file)?;
        let end = u64::try_from(HEAD + ask.len()).ok()?;
        Some(Self { name: name.clone(), file, ask: decode_ask(&ask).ok()?, end })
    }

    pub(crate) fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Takes it on; `false` if it was withdrawn.
    pub(crate) fn take(&self, room: &Room) -> Result<bool, Errno> {
        let [from, to] = [Stage::Asked, Stage::Taken].map(|stage| self.name.at(stage));
        match renameat(room.directory(), from, room.directory(), to) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Lets it go without an answer.
    pub(crate) fn dismiss(&self, room: &Room) {
        let _ = self.name.remove(room, Stage::Taken);
    }

    /// Writes the answer, which stands if its group is committed.
    pub(crate) fn prepare(&self, answer: &[u8]) -> io::Result<()> {
        let length = u32::try_from(answer.len()).map_err(io::Error::other)?;
        if HEAD + LONGEST_ASK + HEAD + answer.len() > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let bytes = [&length.to_le_bytes()[..], answer].concat();
        self.file.write_all_at(&bytes, self.end)
    }

    /// Says that the group is committed.
    pub(crate) fn confirm(&self, room: &Room) -> io::Result<()> {
        self.file.write_all_at(&[COMMITTED], 0)?;
        mortal::step();
        self.name.remove(room, Stage::Taken)?;
        Ok(())
    }
}

/// Ends a slip that a holder has taken on and left: `group` is the one that was committed last.
///
/// # Errors
/// What became of it is not written down: the noted group has to stay.
pub(crate) fn settle(room: &Room, name: &Name, group: Option<u128>) -> io::Result<()> {
    let file = match open(room, name, Stage::Taken) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let answer = Contents::read(&file).and_then(|contents| contents.answer);
    let prepared = answer.and_then(|answer| decode_answer(&answer).ok()).map(|(group, _)| group);
    if prepared.is_some() && prepared == group {
        file.write_all_at(&[COMMITTED], 0)?;
    }
    name.remove(room, Stage::Taken)?;
    Ok(())
}

/// A regular file of this user.
fn open(room: &Room, name: &Name, stage: Stage) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(room.directory(), name.at(stage), flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(file)
}

/// The parts of a slip, not decoded.
pub(crate) struct Contents {
    state: u8,
    pub(crate) ask: Vec<u8>,
    /// As far as it is whole.
    pub(crate) answer: Option<Vec<u8>>,
}

impl Contents {
    /// `None` if it is too long, or has no whole request.
    pub(crate) fn read(file: &File) -> Option<Self> {
        let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
        if length > LONGEST {
            return None;
        }
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (&state, rest) = bytes.split_first()?;
        let (ask, rest) = counted(rest)?;
        let answer = counted(rest).map(|(answer, _)| answer.to_vec());
        Some(Self { state, ask: ask.to_vec(), answer })
    }
}

/// So many bytes as the first four say, and the rest.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
