//! Waiting until links carry: the kernel tells a link's end that the other one is up, and a
//! bridge that its port is, some time after both were set up. Until then frames are lost.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::namespace::Namespace;

const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(2);

/// Waits until every veth in the namespace, and every bridge that has one as its port, carries.
///
/// # Errors
///
/// One does not after ten seconds: the error names it.
pub(crate) fn wait(namespace: &Namespace) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut show = Command::new("ip");
        show.args(["-json", "-details", "link", "show"]);
        let text = namespace.feed(&mut show, "")?.success()?;
        let links: Vec<Value> = serde_json::from_str(&text).context("ip -json link show")?;
        let late = without_carrier(&links);
        if late.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "no carrier in namespace {} after {PATIENCE:?}: {late:?}",
            namespace.name()
        );
        thread::sleep(INTERVAL);
    }
}

fn without_carrier(links: &[Value]) -> Vec<&str> {
    let late = links.iter().filter(|link| {
        let info = &link["linkinfo"];
        let carries = link["operstate"] == "UP";
        match info["info_kind"].as_str() {
            Some("veth") => {
                let port = info["info_slave_kind"] == "bridge";
                !carries || (port && info["info_slave_data"]["state"] != "forwarding")
            }
            Some("bridge") => !carries && links.iter().any(|port| port["master"] == link["ifname"]),
            _ => false,
        }
    });
    late.filter_map(|link| link["ifname"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::without_carrier;

    #[test]
    fn a_port_that_does_not_forward_yet_is_waited_for() {
        let port = |operstate: &str, state: &str| {
            json!({"ifname": "port", "master": "bridge", "operstate": operstate, "linkinfo":
                {"info_kind": "veth", "info_slave_kind": "bridge",
                 "info_slave_data": {"state": state}}})
        };
        let bridge = |operstate: &str| {
            json!({"ifname": "bridge", "operstate": operstate, "linkinfo":
                {"info_kind": "bridge"}})
        };
        let lo = json!({"ifname": "lo", "operstate": "UNKNOWN"});
        let links = [lo, bridge("UP"), port("UP", "forwarding")];
        assert_eq!(without_carrier(&links), Vec::<&str>::new());
        assert_eq!(without_carrier(&[bridge("DOWN")]), Vec::<&str>::new());
        assert_eq!(without_carrier(&[bridge("DOWN"), port("UP", "forwarding")]), ["bridge"]);
        assert_eq!(without_carrier(&[bridge("UP"), port("UP", "disabled")]), ["port"]);
        assert_eq!(without_carrier(&[port("LOWERLAYERDOWN", "forwarding")]), ["port"]);
    }
}
