//! Slips of every kind, and what a holder makes of them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;

use super::scene::{Scene, addition, attachment, release};
use crate::ask::{Answer, What};
use crate::codec::slip::{Outcome, encode_answer};
use crate::slip::{Found, Name, Said, Slip, Stage};

fn granted(slip: &Slip) -> Option<IpAddr> {
    match slip.said() {
        Said::Committed(Answer::Granted(grants)) => Some(grants[0].lease.address),
        _ => None,
    }
}

fn at(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn files(scene: &Scene) -> Vec<std::path::PathBuf> {
    fs::read_dir(scene.room_path()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn one_transaction_decides_for_all_who_wait_in_the_order_of_their_arrival() {
    let scene = Scene::new(20);
    scene.add("old").unwrap();
    let revision = scene.revision();
    let slips: Vec<Slip> = (1..=16).map(|n| scene.leave(addition(&format!("c{n}")))).collect();
    let gone = scene.leave(release("old"));
    assert_eq!(scene.add("own").unwrap(), at(2));
    assert_eq!(scene.revision(), revision + 1);
    for (slip, last) in slips.iter().zip(3..) {
        assert_eq!(granted(slip), Some(at(last)));
    }
    let Said::Committed(Answer::Released(leases)) = gone.said() else { panic!("no answer") };
    assert_eq!((leases.len(), leases[0].address), (1, at(1)));
    assert_eq!(scene.names(), [""; 0]);
    assert_eq!(scene.held().len(), 17);
    assert!(scene.is_whole());
}

#[test]
fn an_answer_is_what_the_process_itself_would_have_been_told() {
    use crate::declared::Declared;
    use ipam_core::{Reserved, ReservedSpec};
    let scene = Scene::new(20);
    let spec = ReservedSpec { ip_version: None, ips: vec!["10.0.0.2".into()] };
    let reserved = vec![Reserved::new("r", &spec).unwrap()];
    scene.store().apply(&Declared { pools: Vec::new(), reserved }).unwrap();
    let slip = scene.leave(addition("waits"));
    scene.add("own").unwrap();
    let Said::Committed(Answer::Granted(grants)) = slip.said() else { panic!("no answer") };
    let contents = scene.store().contents().unwrap();
    assert_eq!(grants[0].lease.address, at(3));
    assert!(contents.leases.contains(&grants[0].lease));
    assert_eq!(grants[0].pool, contents.effective_pools()[0]);
}

#[test]
fn the_dead_are_not_served_and_what_they_left_is_removed() {
    let scene = Scene::new(20);
    scene.leave(addition("dead")).forget();
    assert_eq!(scene.names().len(), 1);
    scene.add("own").unwrap();
    assert_eq!(scene.held().len(), 1);
    assert_eq!(scene.names(), [""; 0]);
}

#[test]
fn two_requests_about_one_attachment_are_left_to_who_made_them() {
    let scene = Scene::new(20);
    scene.add("old").unwrap();
    let twice = [scene.leave(addition("twice")), scene.leave(addition("twice"))];
    let (old, own) = (scene.leave(addition("old")), scene.leave(release("own")));
    let other = scene.leave(addition("other"));
    scene.add("own").unwrap();
    assert!(twice.iter().chain([&own]).all(|slip| slip.said() == Said::Nothing));
    assert_eq!(old.said(), Said::Nothing, "what is refused has no answer");
    assert_eq!(granted(&other), Some(at(3)));
    // Its DEL has come: whatever lies there about it is of the dead.
    let late = scene.leave(addition("late"));
    scene.del("late").unwrap();
    assert_eq!((late.said(), scene.names()), (Said::Nothing, Vec::new()));
    assert_eq!(scene.held().len(), 3);
}

#[test]
fn a_refused_request_spoils_no_other() {
    let scene = Scene::new(2);
    let slips = ["first", "second"].map(|name| scene.leave(addition(name)));
    scene.add("own").unwrap();
    assert_eq!([granted(&slips[0]), granted(&slips[1])], [Some(at(2)), None]);
    assert_eq!(slips[1].said(), Said::Nothing);
    // And the holder's refusal decides nothing for anybody.
    let gone = scene.leave(release("own"));
    scene.add("third").unwrap_err();
    assert_eq!(gone.said(), Said::Nothing);
    assert!(gone.withdraw(), "it is still asked");
}

/// The last space of a full disk is for releases.
#[test]
fn a_release_serves_releases_only() {
    let scene = Scene::new(20);
    for name in ["a", "b"] {
        scene.add(name).unwrap();
    }
    let (waits, gone) = (scene.leave(addition("c")), scene.leave(release("b")));
    scene.del("a").unwrap();
    assert!(matches!(gone.said(), Said::Committed(Answer::Released(leases)) if leases.len() == 1));
    assert_eq!(waits.said(), Said::Nothing);
    assert_eq!(scene.names().len(), 1, "the next may serve it");
    assert_eq!(scene.held(), []);
}

#[test]
fn pools_that_come_with_a_request_must_be_the_stored_ones() {
    let scene = Scene::new(20);
    let demands = vec![super::scene::demand("c")];
    let pools = Some(vec![vec![1, 2, 3]]);
    let slip = scene.leave(What::Allocate { demands, netns: None, pools });
    scene.add("own").unwrap();
    assert_eq!((slip.said(), scene.names().len()), (Said::Nothing, 1));
}

#[test]
fn a_group_is_bounded_and_the_longest_waiting_come_first() {
    let scene = Scene::new(200);
    let slips: Vec<Slip> = (0..70).map(|n| scene.leave(addition(&format!("c{n}")))).collect();
    scene.add("own").unwrap();
    let served: Vec<bool> = slips.iter().map(|slip| granted(slip).is_some()).collect();
    assert!(served[..64].iter().all(|is| *is) && !served[64..].iter().any(|is| *is));
    assert_eq!(scene.names().len(), 6);
}

/// The holder died before its commit, or after it.
#[test]
fn an_answer_that_was_only_prepared_stands_with_its_group() {
    for is_committed in [false, true] {
        let scene = Scene::new(20);
        let slip = scene.leave(addition("waits"));
        let (room, group) = (scene.room(), 7);
        let (name, stage) = Name::parse(&scene.names()[0]).unwrap();
        assert_eq!(stage, Stage::Asked);
        let found = Found::open(&room, &name).unwrap();
        assert!(found.take(&room).unwrap());
        let answer = Outcome::released(&[]);
        found.prepare(&encode_answer(group, answer)).unwrap();
        assert_eq!(slip.said(), Said::Prepared(group, Answer::Released(Vec::new())));
        if is_committed {
            note_group(&scene, group);
        }
        // A new group is made, and overwrites the old one: not before that has been settled.
        let other = scene.leave(addition("other"));
        scene.add("own").unwrap();
        assert!(granted(&other).is_some());
        assert_eq!(matches!(slip.said(), Said::Committed(_)), is_committed);
        assert_eq!(scene.names(), [""; 0]);
    }
}

fn note_group(scene: &Scene, group: u128) {
    let database = redb::Database::open(scene.path().join("ipam/ipam.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let text = crate::group::text_of(group);
    transaction
        .open_table(crate::schema::NOTES)
        .unwrap()
        .insert(crate::schema::NOTES_GROUP, text.as_str())
        .unwrap();
    transaction.commit().unwrap();
}

#[test]
fn damaged_slips_and_other_files_are_left_alone() {
    let scene = Scene::new(20);
    let slip = scene.leave(addition("waits"));
    let file = files(&scene).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut number = 0;
    let mut holds = |expected: usize| {
        number += 1;
        let own = format!("own-{number}");
        scene.add(&own).unwrap();
        assert_eq!(scene.held().len(), 1 + expected);
        scene.del(&own).unwrap();
    };
    // The first byte only says that there is no answer. The kind is the version.
    for place in 1..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x40;
        fs::write(&file, &damaged).unwrap();
        holds(0);
    }
    for length in [0, 1, 4, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        holds(0);
    }
    let long = [&whole[..], &vec![0; 512 << 10]].concat();
    fs::write(&file, long).unwrap();
    holds(0);
    assert_eq!(slip.said(), Said::Nothing);

    let elsewhere = scene.path().join("elsewhere");
    fs::write(&elsewhere, &whole).unwrap();
    let room = scene.room_path();
    symlink(&elsewhere, room.join("0-00000001-1.req")).unwrap();
    symlink(&elsewhere, room.join("0-00000002-1.taken")).unwrap();
    fs::create_dir(room.join("0-00000003-1.req")).unwrap();
    fs::write(room.join("README"), "").unwrap();
    holds(0);
    assert_eq!(fs::read(&elsewhere).unwrap(), whole);
    // What cannot be settled stops groups, and nothing else.
    fs::write(&file, &whole).unwrap();
    holds(0);
    fs::remove_file(room.join("0-00000002-1.taken")).unwrap();
    holds(1);
    assert_eq!(granted(&slip), Some(at(2)));
}

#[test]
fn only_requests_about_one_attachment_become_a_slip() {
    let scene = Scene::new(20);
    let demands = ["a", "b"].map(super::scene::demand).to_vec();
    let what = What::Allocate { demands, netns: None, pools: None };
    let policy = scene.store().policy().clone();
    assert!(Slip::leave(scene.room(), &crate::ask::Ask { policy, what }).is_none());
    assert_eq!(scene.store().release(&attachment("a")).unwrap(), []);
}
