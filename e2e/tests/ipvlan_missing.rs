//! An ADD on a kernel without ipvlan. As root.

use anyhow::{Context, Result};
use e2e::deployment::Deployment;
use e2e::{Lab, Trace, seed};

#[test]
fn the_error_says_how_to_get_ipvlan_and_nothing_is_left() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let pod = &lab.pods()[0];
    let before = Trace::of(&lab, &deployment, pod)?;
    let answer = deployment.add(pod)?;
    assert_eq!(answer.error_code(), Some(121), "{answer:?}");
    let message = answer.json.context("an error object")?["msg"].to_string();
    // The words before the number are the C library's: glibc and musl differ in them.
    let expected = "not supported (errno 95): Unknown device type; this kernel has no ipvlan: \
                    `modprobe ipvlan` (Ubuntu has it in package linux-modules-extra-$(uname -r)), \
                    or a kernel with CONFIG_IPVLAN";
    assert!(message.to_lowercase().contains(&expected.to_lowercase()), "{message}");
    assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());
    Ok(())
}
