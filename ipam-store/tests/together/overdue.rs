//! Those who have waited for too long.

use std::thread;
use std::time::Duration;

use super::scene::{Scene, attachment, demand, until};
use crate::codec::slip::{Outcome, encode_answer};
use crate::error::{AllocateError, Error};
use crate::slip::{Found, Name, Stage};
use crate::store::{Request, Store};

/// The same store for who has little patience.
fn hasty(scene: &Scene) -> Store {
    let patient = scene.store();
    Store::new(patient.directory(), Duration::from_millis(300)).with_room(scene.rooms())
}

/// Takes the one request in the room on, as a holder does.
fn taken(scene: &Scene) -> Found {
    until("a request", || scene.names().len() == 1);
    let (name, stage) = Name::parse(&scene.names()[0]).unwrap();
    assert_eq!(stage, Stage::Asked);
    let found = Found::open(&scene.room(), &name).unwrap();
    assert!(found.take(&scene.room()).unwrap());
    found
}

#[test]
fn who_was_not_taken_on_withdraws_and_nothing_changes() {
    let scene = Scene::new(20);
    let lock = scene.lock();
    let request = Request { demand: demand("c"), netns: None };
    let error = hasty(&scene).allocate(&request).unwrap_err();
    assert!(matches!(error, AllocateError::Store(Error::Busy { .. })), "{error}");
    assert_eq!(scene.names(), [""; 0]);
    drop(lock);
    scene.add("own").unwrap();
    assert_eq!(scene.held().len(), 1);
}

#[test]
fn who_was_taken_on_says_that_nobody_knows() {
    let scene = Scene::new(20);
    let lock = scene.lock();
    let store = hasty(&scene);
    let waiting = thread::spawn(move || store.release(&attachment("c")));
    let found = taken(&scene);
    let error = waiting.join().unwrap().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unanswered { .. }), "{text}");
    assert!(text.contains("DEL frees what it may get"), "{text}");
    // What the holder still writes is read by nobody, and does not disturb the next.
    found.prepare(&encode_answer(1, Outcome::released(&[]))).unwrap();
    found.confirm(&scene.room()).unwrap();
    drop(lock);
    assert_eq!(scene.names(), [""; 0]);
    scene.add("own").unwrap();
}

/// The holder lives and is busy with others.
#[test]
fn who_has_its_answer_needs_no_lock() {
    let scene = Scene::new(20);
    let lock = scene.lock();
    let store = hasty(&scene);
    let waiting = thread::spawn(move || store.release(&attachment("c")));
    let found = taken(&scene);
    found.prepare(&encode_answer(1, Outcome::released(&[]))).unwrap();
    found.confirm(&scene.room()).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), []);
    drop(lock);
}
