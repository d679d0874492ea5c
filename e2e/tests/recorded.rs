//! What real runtimes have sent, word for word, sent again to the IPAM plugin: on any kernel, as
//! root. `e2e/tests/recorded/README.md` says where the recordings come from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::ipam::{IPAM, Ipam};
use e2e::runtimes::recording::{CONTAINER, NETNS, RECORDED};
use e2e::runtimes::setting::POOLS;
use e2e::sandbox::namespaces;
use e2e::{Answer, Call};
use serde_json::{Value, json};

/// A recorded call as it is sent now: with a namespace that is there, and a database of the test's.
fn call(recorded: &Value, netns: &Path, database: &Path) -> Result<Call> {
    let variable = |name: &str| {
        let value = recorded["environment"][name].as_str();
        anyhow::Ok(value.with_context(|| format!("{name} in {recorded}"))?.to_owned())
    };
    let mut conf = recorded["stdin"].clone();
    conf["ipam"]["dataDir"] = json!(database);
    Ok(Call {
        container_id: variable("CNI_CONTAINERID")?,
        netns: variable("CNI_NETNS")?.replace(NETNS, &netns.to_string_lossy()),
        interface: variable("CNI_IFNAME")?,
        args: variable("CNI_ARGS")?,
        ..Call::without_pod(&variable("CNI_COMMAND")?, IPAM, &conf.to_string())
    })
}

/// The result that the runtime got from the main plugin, as it sent it back with a DEL, without
/// what is the main plugin's own.
fn result_then(calls: &[Value]) -> Result<Value> {
    let kept = calls.iter().map(|call| &call["stdin"]["prevResult"]).find(|kept| kept.is_object());
    let mut result = kept.context("a DEL has the result of the ADD")?.clone();
    let object = result.as_object_mut().context("an object")?;
    // libcni's encoder writes `dns` always.
    ensure!(object.remove("dns") == Some(json!({})));
    object.remove("interfaces");
    for ip in result["ips"].as_array_mut().context("ips")? {
        ip.as_object_mut().context("an object")?.remove("interface");
    }
    Ok(result)
}

fn verb(call: &Value) -> &str {
    call["environment"]["CNI_COMMAND"].as_str().unwrap_or_default()
}

#[test]
fn what_runtimes_send_gets_the_result_that_they_kept_and_leaves_nothing() -> Result<()> {
    for (number, (name, text)) in (0..).zip(RECORDED) {
        let recorded: Value = serde_json::from_str(text)?;
        let calls = recorded.as_array().context("a list of calls")?;
        ensure!(verb(&calls[0]) == "ADD" && calls.len() > 1, "{name} has {} calls", calls.len());
        ensure!(calls[1..].iter().all(|call| verb(call) == "DEL"), "{name}");
        let folder = tempfile::tempdir()?;
        let ipam = Ipam::new(folder.path())?;
        let pools = folder.path().join("pools.yaml");
        fs::write(&pools, POOLS)?;
        ipam.ipamctl(&["apply", "--no-node-scan", "-f", &pools.to_string_lossy()])?.success()?;
        let netns = namespaces(number, 1)?.pop().context("one namespace")?;
        let send = |recorded: &Value| -> Result<Answer> {
            ipam.start(&call(recorded, &netns.path(), folder.path())?)?.wait()
        };

        let answer = send(&calls[0]).with_context(|| name)?;
        ensure!(*answer.success()? == result_then(calls)?, "{name}: {answer:?}");
        // With ranges, the network has a database of its own.
        let ranges = calls[0]["stdin"]["ipam"]["ranges"].is_array();
        let network = calls[0]["stdin"]["name"].as_str().context("a name")?;
        let held =
            Ipam::new(if ranges { folder.path().join(network) } else { folder.path().into() })?;
        let holders = held.held()?;
        ensure!(!holders.is_empty() && holders.values().all(|id| id == CONTAINER), "{holders:?}");
        // Runtimes do not send an ADD twice; if one did, nothing would change.
        ensure!(send(&calls[0])?.error_code() == Some(102), "{name}");
        ensure!(held.held()? == holders, "{name}");
        for del in &calls[1..] {
            let answer = send(del)?;
            ensure!(*answer.success()? == Value::Null, "{name}: {answer:?}");
            ensure!(held.held()?.is_empty(), "{name}: {:?}", held.held()?);
        }
    }
    Ok(())
}
