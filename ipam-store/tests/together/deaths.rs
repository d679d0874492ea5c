//! Processes killed at each step of a group, as holders of the lock and as those who wait.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::scene::{Scene, attachment, demand, store, until};
use crate::mortal::LAST_STEP;
use crate::store::Request;

/// Says to a process of this test what to do: verb, container, directory.
const SHARE: &str = "IPAM_TOGETHER_SHARE";
const TEST: &str =
    "together::deaths::whoever_dies_at_any_step_the_others_are_served_and_nothing_is_lost";

/// What the processes do, in the order in which they come for the lock.
const PLAY: [(&str, &str); 4] = [("ADD", "one"), ("ADD", "two"), ("DEL", "old"), ("ADD", "three")];

struct Actor {
    container: &'static str,
    verb: &'static str,
    process: Child,
}

/// How a process ended.
enum End {
    Killed,
    Answered(Option<IpAddr>),
}

impl Actor {
    fn start(scene: &Scene, (verb, container): (&'static str, &'static str)) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([TEST, "--exact", "--nocapture"]);
        command.env(SHARE, format!("{verb} {container} {}", scene.path().display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn end(self) -> End {
        let output = self.process.wait_with_output().unwrap();
        if output.status.signal() == Some(9) {
            return End::Killed;
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let name = format!("{} {}", self.verb, self.container);
        let line = said.lines().find_map(|line| line.split_once("ANSWER "));
        let trouble = String::from_utf8_lossy(&output.stderr);
        let (_, answer) = line.unwrap_or_else(|| panic!("{name}: {said} {trouble}"));
        End::Answered(answer.parse().ok())
    }
}

/// One of the processes.
fn play(share: &str) {
    let words: Vec<&str> = share.splitn(3, ' ').collect();
    let store = store(Path::new(words[2]));
    let answer = if words[0] == "ADD" {
        let grants = store.allocate(&Request { demand: demand(words[1]), netns: None }).unwrap();
        grants[0].lease.address.to_string()
    } else {
        format!("released {}", store.release(&attachment(words[1])).unwrap().len())
    };
    println!("ANSWER {answer}");
}

/// Who is killed at which step; `false` if he lived to his answer.
fn dies(victim: usize, step: usize) -> bool {
    let scene = Scene::new(20);
    scene.add("old").unwrap();
    scene.add("older").unwrap();
    let lock = scene.lock();
    let mut actors = Vec::new();
    for (number, part) in PLAY.into_iter().enumerate() {
        let mut command = Actor::start(&scene, part);
        if number == victim {
            command.env(LAST_STEP, step.to_string());
        }
        let (verb, container) = part;
        let process = command.spawn().unwrap();
        actors.push(Actor { container, verb, process });
        until("all who live wait, each with its slip", || {
            let is_alive = |actor: &mut Actor| actor.process.try_wait().unwrap().is_none();
            let alive = actors.iter_mut().filter_map(|actor| is_alive(actor).then_some(())).count();
            scene.waiters() == alive && scene.names().len() >= alive
        });
    }
    drop(lock);
    let mut told = BTreeMap::new();
    let mut is_killed = false;
    for (number, actor) in actors.into_iter().enumerate() {
        let container = actor.container;
        match actor.end() {
            End::Killed => {
                assert_eq!(number, victim);
                is_killed = true;
            }
            End::Answered(Some(address)) => {
                assert!(told.insert(container.to_owned(), address).is_none());
            }
            End::Answered(None) => {}
        }
    }
    // What a runtime does after a call that failed.
    if is_killed {
        scene.del(PLAY[victim].1).unwrap();
    }
    let held: BTreeMap<String, IpAddr> = scene.held().into_iter().collect();
    told.insert("older".to_owned(), IpAddr::from([10, 0, 0, 2]));
    assert_eq!(held, told, "victim {victim} at step {step}");
    assert!(scene.is_whole());
    for container in held.keys() {
        assert_eq!(scene.del(container).unwrap().len(), 1);
    }
    assert_eq!(scene.held(), []);
    // The last holders have found the room and then found it empty.
    assert_eq!(scene.names(), [""; 0], "victim {victim} at step {step}");
    assert!(!scene.room_path().exists());
    is_killed
}

#[test]
fn whoever_dies_at_any_step_the_others_are_served_and_nothing_is_lost() {
    if let Ok(share) = std::env::var(SHARE) {
        return play(&share);
    }
    for victim in 0..PLAY.len() {
        let steps = (0..1000).find(|step| !dies(victim, *step)).unwrap();
        println!("process {victim} was killed at {steps} steps");
        // Who comes first serves the others: it takes on, prepares and confirms three.
        assert!(steps >= if victim == 0 { 20 } else { 7 }, "{steps}");
    }
}

/// The case that a grant must not survive: nobody would ever give it back.
#[test]
fn a_request_whose_process_was_killed_and_whose_del_has_come_and_gone_is_not_granted() {
    for is_del_first in [true, false] {
        let scene = Scene::new(20);
        let lock = scene.lock();
        let mut waiting = Actor::start(&scene, ("ADD", "gone")).spawn().unwrap();
        until("it waits", || scene.waiters() == 1 && scene.names().len() == 1);
        waiting.kill().unwrap();
        waiting.wait().unwrap();
        assert_eq!(scene.names().len(), 1, "what the dead leave is still there");
        drop(lock);
        if is_del_first {
            assert_eq!(scene.del("gone").unwrap(), []);
        }
        scene.add("next").unwrap();
        if !is_del_first {
            assert_eq!(scene.del("gone").unwrap(), []);
        }
        assert_eq!(scene.held(), [("next".to_owned(), IpAddr::from([10, 0, 0, 1]))]);
        assert_eq!(scene.names(), [""; 0]);
    }
}
