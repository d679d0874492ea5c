//! A disk that fails while a holder decides for others too.

use super::scene::{Scene, addition, release};
use crate::mortal::Broken;
use crate::slip::{Said, Slip};

/// Once: the holder's own decision is made all the same, alone. Lasting: nobody's is, unless the
/// disk has the commit and fails from then on; then who waits finds it, as does the holder's DEL.
#[test]
fn a_failure_of_the_group_is_not_the_holders_and_an_answer_is_what_is_held() {
    for lasts in [false, true] {
        let (mut failed, mut saved) = (0, 0);
        for call in 0.. {
            let scene = Scene::new(20);
            scene.add("old").unwrap();
            let slips = [addition("a"), release("old"), addition("b")];
            let slips = slips.map(|what| scene.leave(what));
            let broken = Broken::at(call, lasts);
            let own = scene.add("own");
            let has_failed = Broken::has_failed();
            drop(broken);
            if !has_failed {
                own.unwrap();
                break;
            }
            failed += 1;
            saved += usize::from(own.is_ok());
            // Whoever comes next ends what was left.
            scene.add("next").unwrap();
            let is_answered = |slip: &Slip| matches!(slip.said(), Said::Committed(_));
            let held: Vec<String> = scene.held().into_iter().map(|(name, _)| name).collect();
            let is_held = |name: &str| held.iter().any(|held| held == name);
            assert_eq!(is_answered(&slips[0]), is_held("a"), "call {call}, {lasts}");
            assert_eq!(is_answered(&slips[1]), !is_held("old"), "call {call}, {lasts}");
            assert_eq!(is_answered(&slips[2]), is_held("b"), "call {call}, {lasts}");
            assert!(own.is_err() || is_held("own"), "call {call}, {lasts}");
            if !lasts {
                assert_eq!(own.is_ok(), is_held("own"), "call {call}");
            }
            assert!(scene.is_whole());
        }
        println!("{failed} failures, {saved} times the holder has decided all the same");
        assert!(failed > 10 && (lasts || saved > 5), "{failed} {saved}");
    }
}
