//! Addresses that a dead pod's link still has, on a real ipvlan kernel. As root.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::deployment::{Deployment, INTERFACE, PLUGIN, addresses};
use e2e::{Call, Lab, Pod, PodSpec, Trace, seed};
use serde_json::{Value, json};

/// For the kernel to take a namespace away after its last user; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

fn pool(last: u8) -> String {
    format!(
        "\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {{name: small}}
spec:
  default: true
  subnet: 172.31.192.0/20
  ips: [172.31.200.1-172.31.200.{last}]
  gateway: 172.31.207.253
"
    )
}

fn at_once(configuration: &mut Value) {
    configuration["ipam"]["cooldownSeconds"] = json!(0);
}

/// A pod whose sandbox is gone for everybody but for who holds the returned file: its link lives,
/// and its lease is released.
fn dead_pod(lab: &Lab, deployment: &Deployment<'_>) -> Result<File> {
    let spec = PodSpec::new("default", "dead", "master", seed::IPVLAN_ETH0);
    let dead: Pod = lab.run_pods(&[spec])?.pop().context("one pod")?;
    assert_eq!(addresses(&deployment.call("ADD", &dead, at_once)?)?, ["172.31.200.1"]);
    let keeper = File::open(dead.path())?;
    let mut configuration = deployment.configuration_of(&dead)?;
    at_once(&mut configuration);
    let mut call = Call::of("DEL", PLUGIN, &configuration.to_string(), &dead, INTERFACE);
    call.netns.clear();
    lab.node("master")?.runtime()?.start(&call)?.wait()?.success()?;
    assert_eq!(deployment.leases("master")?, Vec::<Value>::new());
    Ok(keeper)
}

#[test]
fn a_dynamic_add_steps_over_an_address_that_a_dead_namespace_keeps() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, &pool(2))?;
    let keeper = dead_pod(&lab, &deployment)?;
    let pod = &lab.pods()[0];
    let answer = deployment.call("ADD", pod, at_once)?;
    assert_eq!(addresses(&answer)?, ["172.31.200.2"], "{answer:?}");
    let said = &answer.outcome.stderr;
    assert!(said.contains("172.31.200.1 is in use: by eth0 in net:["), "{said}");
    assert!(said.contains("which only an open file keeps"), "{said}");
    let leases = deployment.leases("master")?;
    assert_eq!(leases.len(), 1, "{leases:?}");
    drop(keeper);
    Ok(())
}

#[test]
fn the_only_address_is_error_11_with_its_place_and_works_once_the_namespace_is_gone() -> Result<()>
{
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, &pool(1))?;
    let keeper = dead_pod(&lab, &deployment)?;
    let pod = &lab.pods()[0];
    let before = Trace::of(&lab, &deployment, pod)?;
    let began = Instant::now();
    let answer = deployment.call("ADD", pod, at_once)?;
    assert_eq!(answer.error_code(), Some(11), "{answer:?}");
    assert!(began.elapsed() >= Duration::from_millis(500), "it was tried again for a while");
    let object = answer.json.context("an error object")?.to_string();
    assert!(object.contains("172.31.200.1 is free in the pools, but in use: by eth0"), "{object}");
    assert!(object.contains("which only an open file keeps"), "{object}");
    assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());

    drop(keeper);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = deployment.call("ADD", pod, at_once)?;
        if answer.is_success() {
            assert_eq!(addresses(&answer)?, ["172.31.200.1"]);
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{answer:?}");
    }
}
