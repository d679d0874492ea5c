//! What the fuzz targets ask of this crate; compiled for them alone.

use std::fs::File;
use std::path::Path;

pub use crate::codec::fuzzing::{KINDS, record, unsealed};
use crate::codec::slip::{decode_answer, decode_ask};
use crate::declared::Declared;
use crate::error::Error;
use crate::header::{self, LENGTH};
use crate::lock::Note;
use crate::schema::{
    address_at_end, address_of, attachment_key, attachment_of, wiring_key, wiring_of,
};
use crate::slip::{Contents, Name};

/// The file of what was applied: what is read and written is read again.
///
/// # Errors
/// As for who opens the store.
pub fn declared(path: &Path) -> Result<Option<Declared>, Error> {
    let found = Declared::read(path)?;
    if let Some(found) = &found {
        found.write(path)?;
        assert_eq!(Declared::read(path)?.as_ref(), Some(found));
    }
    Ok(found)
}

/// The note in the lock's file, from its text with the right checksum behind it and as it is.
pub fn note(text: &str) {
    let sealed = format!("{text} {:08x}", crc32fast::hash(text.as_bytes()));
    for line in [text, &sealed] {
        if let Some(note) = Note::parse(line) {
            let written = note.line();
            assert_eq!(Note::parse(written.trim_end()), Some(note), "{line:?}");
        }
    }
}

/// The length that the header of a database claims.
pub fn header(bytes: &[u8]) -> Option<u64> {
    header::claimed(bytes.first_chunk::<LENGTH>()?)
}

/// The name of a file in the room.
pub fn slip_name(name: &str) {
    if let Some((parsed, _)) = Name::parse(name) {
        let _ = parsed.key();
    }
}

/// The contents of a slip.
pub fn slip(file: &File) {
    if let Some(Contents { ask, answer, .. }) = Contents::read(file) {
        let _ = decode_ask(&ask);
        let _ = answer.map(|answer| decode_answer(&answer).is_ok());
    }
}

/// A key of any table.
pub fn key(bytes: &[u8]) {
    for (read, write) in [
        (attachment_of as fn(&[u8]) -> _, attachment_key as fn(&_) -> Vec<u8>),
        (wiring_of, wiring_key),
    ] {
        if let Some(attachment) = read(bytes) {
            assert_eq!(write(&attachment), bytes);
        }
    }
    if let Some(key) = bytes.first_chunk().copied() {
        let written = address_of(key).map(crate::schema::address_key);
        assert!(written.is_none_or(|written| written == key));
    }
    let _ = address_at_end(bytes);
}
