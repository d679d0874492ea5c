//! What an ADD answers.

use cni_net::Link;
use cni_proto::{AddRequest, AddResult, Interface};

use crate::apply::Made;
use crate::config::{Ipam, IpvlanConfig};

/// The result of the chain so far with this plugin's interface and addresses behind it.
pub(crate) fn result(
    request: &AddRequest,
    config: &IpvlanConfig,
    master: &Link,
    made: Made,
    mut given: AddResult,
) -> AddResult {
    let mut result = request.config.prev_result.clone().unwrap_or_default();
    if config.ipam == Ipam::Previous {
        // What was given are its own.
        result.ips.clear();
        result.routes.clear();
    }
    let index = result.interfaces.len();
    result.interfaces.push(Interface {
        name: request.ifname.as_str().to_owned(),
        // As an ipvlan link is made (`ipvlan_link_new` in `drivers/net/ipvlan/ipvlan_main.c`).
        mac: master.mac.map(|mac| mac.to_string()),
        mtu: Some(config.mtu.unwrap_or(master.mtu)),
        sandbox: Some(request.netns.display().to_string()),
        ..Interface::default()
    });
    for ip in &mut given.ips {
        ip.interface = Some(index);
    }
    for (position, metric) in made.metrics {
        given.routes[position].priority = Some(metric);
    }
    result.ips.append(&mut given.ips);
    result.routes.append(&mut given.routes);
    if let Some(dns) = &config.dns {
        result.dns = dns.clone();
    } else if given.dns != cni_proto::Dns::default() {
        result.dns = given.dns;
    }
    result
}
