//! What IPv6 costs an ADD, beside upstream's plugin in the same run. As root, and alone: what runs
//! beside it would be measured too.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::deployment::{Deployment, INTERFACE, PLUGIN, addresses};
use e2e::{Call, Lab, seed};
use serde_json::{Value, json};

/// Upstream's plugins, of Debian's containernetworking-plugins.
const UPSTREAM: &str = "/usr/lib/cni";

const ROUNDS: usize = 9;

/// IPv4, IPv6, both.
const STACKS: [(bool, bool); 3] = [(true, false), (false, true), (true, true)];

fn ours(base: &Value, (v4, v6): (bool, bool)) -> Value {
    let mut configuration = base.clone();
    for (wanted, field, pool) in
        [(v4, "default_ipv4_ippool", "dual-v4"), (v6, "default_ipv6_ippool", "dual-v6")]
    {
        if wanted {
            configuration["ipam"][field] = json!([pool]);
        }
    }
    configuration
}

fn upstreams(data: &Value, (v4, v6): (bool, bool)) -> Value {
    let (mut ranges, mut routes) = (Vec::new(), Vec::new());
    for (wanted, subnet, gateway, everywhere) in [
        (v4, "10.66.0.0/24", "10.66.0.1", "0.0.0.0/0"),
        (v6, "fd00:66::/64", "fd00:66::fd", "::/0"),
    ] {
        if wanted {
            ranges.push(json!([{"subnet": subnet, "gateway": gateway}]));
            routes.push(json!({"dst": everywhere}));
        }
    }
    json!({
        "cniVersion": "1.0.0", "name": "upstream", "type": "ipvlan", "master": "eth0",
        "ipam": {"type": "host-local", "dataDir": data, "ranges": ranges, "routes": routes},
    })
}

#[test]
fn ipv6_costs_an_add_less_than_fifty_milliseconds() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?.with_cni_version("1.0.0");
    let pod = &lab.pods()[0];
    let runtime = lab.node("master")?.runtime()?;
    let upstream = runtime.clone().with_plugin_dir(UPSTREAM);
    let base = deployment.configuration_of(pod)?;
    let data = json!(lab.data_dir().join("host-local"));
    let mut times = vec![Vec::new(); 2 * STACKS.len()];
    // In turn, so that the machine's mood meets all alike.
    for _ in 0..ROUNDS {
        for (position, stack) in STACKS.into_iter().enumerate() {
            let calls = [
                (&runtime, PLUGIN, ours(&base, stack), position),
                (&upstream, "ipvlan", upstreams(&data, stack), STACKS.len() + position),
            ];
            for (runtime, plugin, configuration, row) in calls {
                let call =
                    |verb| Call::of(verb, plugin, &configuration.to_string(), pod, INTERFACE);
                let began = Instant::now();
                let answer = runtime.start(&call("ADD"))?.wait()?;
                times[row].push(began.elapsed());
                let expected = usize::from(stack.0) + usize::from(stack.1);
                assert_eq!(addresses(&answer)?.len(), expected);
                runtime.start(&call("DEL"))?.wait()?.success()?;
            }
        }
    }
    let medians: Vec<Duration> = times
        .into_iter()
        .map(|mut times| {
            times.sort();
            times[ROUNDS / 2]
        })
        .collect();
    let row = |name: &str, times: &[Duration]| {
        let cells: Vec<_> =
            times.iter().map(|time| format!("{:8.1} ms", time.as_secs_f64() * 1e3)).collect();
        format!("  {name:<28}{}\n", cells.join(""))
    };
    let table = format!(
        "whole ADDs, medians of {ROUNDS}:         IPv4       IPv6       both\n{}{}",
        row("cni-ipvlan", &medians[..3]),
        row("upstream ipvlan, host-local", &medians[3..])
    );
    println!("{table}");
    for time in &medians[1..3] {
        let more = time.saturating_sub(medians[0]);
        assert!(more < Duration::from_millis(50), "{more:?} more than IPv4\n{table}");
    }
    Ok(())
}
