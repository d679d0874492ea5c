//! Who has a prepared answer opens the database and reads which group was committed last: what he
//! then tells his runtime survives loss of power, wherever the holder was killed.

use redb::ReadableDatabase as _;

use super::kills::Mortal;
use super::refusals::lived_in;
use super::step::{Note, Operation, Step, contents, examine, perform, stamp};
use crate::contents::Contents;
use crate::group::text_of;
use crate::phased::Phased;
use crate::power::disk::Disk;
use crate::power::image::Policy;
use crate::power::sweep;
use crate::power::tape::Tape;
use crate::rows;
use crate::schema::{NOTES, NOTES_GROUP};

const GROUP: u128 = 7;

/// What stands in the room is gone with the power, and so is everybody who could read it.
#[test]
fn an_answer_found_in_doubt_is_durable() {
    let (file, first) = lived_in();
    let containers = vec![900, 901, 902];
    let operation = Operation::Group { id: GROUP, containers };
    let step = Step { operation, now: stamp(1, 5000), killed: false };
    let done = {
        let disk = Disk::of(file.clone());
        perform(disk.clone(), &step, &Note::settled(first.revision), |_, _| ()).unwrap();
        let phased = Phased::open(disk, true).unwrap();
        contents(phased.database()).unwrap()
    };
    let (mut total, mut committed) = (sweep::Outcome::default(), 0);
    for call in 0.. {
        let doubt = die_and_ask(&file, &first, &done, &step, call);
        assert_eq!(doubt.outcome.failures, 0, "killed at call {call}: {}", doubt.outcome);
        total.images += doubt.outcome.images;
        total.cut_points += doubt.outcome.cut_points;
        committed += usize::from(doubt.is_committed);
        if !doubt.is_killed {
            break;
        }
    }
    println!("{committed} times committed: {total}");
    // Killed within the commit after its header is written, and after the whole of it.
    assert!(committed > 1, "{committed}");
}

struct Doubt {
    is_killed: bool,
    is_committed: bool,
    outcome: sweep::Outcome,
}

fn die_and_ask(file: &[u8], first: &Contents, done: &Contents, step: &Step, call: usize) -> Doubt {
    let (tape, note) = (Tape::new(file.to_vec()), Note::settled(first.revision));
    tape.begin(0);
    let holder = perform(Mortal::new(&tape, call), step, &note, |_, _| {
        // Killed before it could note that it is done.
    });
    let is_killed = holder.is_err();
    if !is_killed {
        note.is_settled.set(false);
    }
    tape.begin(1);
    let phased = Phased::open(tape.device(), note.is_settled.get()).unwrap();
    let notes = phased.database().begin_read().unwrap().open_table(NOTES).unwrap();
    let last = rows::text(&notes, NOTES_GROUP).unwrap();
    let is_committed = last == Some(text_of(GROUP));
    tape.acknowledge(1);
    drop(phased);
    let outcome = sweep::sweep(&tape.recording(), &Policy::DEFAULT, |disk, progress| {
        let found = examine(disk)?;
        let is_answered = progress.acknowledged == [1];
        let is_right = match (is_answered, is_committed) {
            (true, true) => found == *done,
            (true, false) => found == *first,
            (false, _) => found == *first || found == *done,
        };
        if is_right { Ok(()) } else { Err("other contents".into()) }
    });
    Doubt { is_killed, is_committed, outcome }
}
