//! Groups and single decisions, from the same operations.

use super::scene::{Scene, addition, release};
use crate::power::image::Dice;
use crate::slip::{Said, Slip};

/// Some of the operations ask for what is refused: a full pool, what is held already.
#[test]
fn a_group_is_as_if_its_requests_had_come_one_after_the_other() {
    for seed in 0..12 {
        let mut dice = Dice::new(seed, 0);
        let (together, alone) = (Scene::new(12), Scene::new(12));
        let mut number = 0;
        for round in 0..12 {
            let mut names: Vec<usize> = (0..24).collect();
            let mut draw = || names.remove(dice.below(names.len()));
            let operations: Vec<(bool, String)> =
                (0..6).map(|_| draw()).map(|name| (name % 3 > 0, format!("c{name}"))).collect();
            let slips: Vec<(Slip, &(bool, String))> = operations
                .iter()
                .map(|operation| {
                    let (is_addition, name) = operation;
                    let what = if *is_addition { addition(name) } else { release(name) };
                    (together.leave(what), operation)
                })
                .collect();
            number += 1;
            let own = format!("own-{number}");
            let is_done = together.add(&own).is_ok();
            assert_eq!(alone.add(&own).is_ok(), is_done, "seed {seed} round {round}");
            for (slip, (is_addition, name)) in slips {
                let is_answered = matches!(slip.said(), Said::Committed(_));
                assert!(is_done || !is_answered);
                // Who has no answer decides for himself, later: here, not at all.
                if !is_answered {
                    continue;
                }
                if *is_addition {
                    alone.add(name).unwrap();
                } else {
                    alone.del(name).unwrap();
                }
            }
            if dice.below(2) == 0 {
                assert_eq!(together.del(&own).unwrap().len(), alone.del(&own).unwrap().len());
            }
            assert_eq!(together.held(), alone.held(), "seed {seed} round {round}");
        }
        let [mut one, mut other] =
            [&together, &alone].map(|scene| scene.store().contents().unwrap());
        assert!(one.revision < other.revision);
        (one.revision, other.revision) = (0, 0);
        assert_eq!(one, other);
        assert!(together.is_whole());
    }
}
