//! The verbs: decide, then touch the kernel, and on failure take both back.

use cni_net::{Netlink, Netns};
use cni_proto::{
    AddRequest, AddResult, Code, DelRequest, Error, GcRequest, Interface, Plugin, StatusRequest,
};

use crate::apply::{Failed, Made, apply, open_if_there, remove};
use crate::config::IpvlanConfig;
use crate::plan::{plan, temporary_name};

/// The pod has a link of the requested name already.
const LINK_EXISTS: Code = Code::plugin(20);
/// The kernel refused a change.
const KERNEL: Code = Code::plugin(21);

/// One ipvlan interface on the NIC of the node, addressed from the node's own pools.
pub(crate) struct Ipvlan;

impl Plugin for Ipvlan {
    fn name(&self) -> &'static str {
        "cni-ipvlan"
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        let config = IpvlanConfig::new(&request.config)?;
        let ifname = request.ifname.as_str();
        let pod = Netns::open(&request.netns)
            .map_err(|error| Error::new(Code::INVALID_NETNS, error.to_string()))?;
        if !request.netns_override && Netns::current().map_err(kernel)?.id() == pod.id() {
            let path = request.netns.display();
            let msg = format!("CNI_NETNS {path} is the plugin's own network namespace");
            return Err(Error::new(Code::INVALID_NETNS, msg));
        }
        let mut host = Netlink::open().map_err(kernel)?;
        let Some(parent) = host.link(&config.master).map_err(kernel)? else {
            let msg = format!("master {:?}: this node has no such link", config.master);
            return Err(Error::new(Code::INVALID_CONFIG, msg));
        };
        let mut inside = pod.netlink().map_err(kernel)?;
        if inside.link(ifname).map_err(kernel)?.is_some() {
            let path = request.netns.display();
            let msg = format!("{path} has a link {ifname} already: DEL it first");
            return Err(Error::new(LINK_EXISTS, msg));
        }
        let temporary = temporary_name(request.container.as_str(), ifname);
        let given = cni_ipam::add(request)?.to_result();
        let steps = plan(&config, &parent, &temporary, ifname, &given);
        apply(&steps, &mut host, &pod, &mut inside)
            .map(|made| result(request, made, given))
            .map_err(|failed| take_back(request, failed))
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        let netns = request.netns.as_deref().map(open_if_there);
        if let Some(pod) = netns.transpose().map_err(kernel)?.flatten() {
            // Never the links of the node itself: no ADD made them.
            if request.netns_override || Netns::current().map_err(kernel)?.id() != pod.id() {
                let ifname = request.ifname.as_str();
                let temporary = temporary_name(request.container.as_str(), ifname);
                let mut inside = pod.netlink().map_err(kernel)?;
                for name in [ifname, &temporary] {
                    remove(&mut inside, name).map_err(kernel)?;
                }
            }
        }
        // Last: while the link lives, its address must not be given to another pod.
        cni_ipam::del(request)
    }

    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        cni_ipam::gc(request)
    }

    fn status(&self, request: &StatusRequest) -> Result<(), Error> {
        cni_ipam::status(request)
    }
}

/// The error of an ADD that failed in the kernel, after its lease is released. If anything of the
/// link could not be taken back the lease stays: its address may be alive. The runtime's DEL ends
/// both.
fn take_back(request: &AddRequest, failed: Failed) -> Error {
    let error = kernel(failed.error);
    let mut kept: Vec<String> = failed.left.iter().map(ToString::to_string).collect();
    if kept.is_empty() {
        kept.extend(cni_ipam::cancel(request).err().map(|error| error.to_string()));
    }
    if kept.is_empty() {
        return error;
    }
    error.with_details(format!("the lease stays until DEL: {}", kept.join("; ")))
}

/// The result of the chain so far with this plugin's interface and addresses behind it.
fn result(request: &AddRequest, made: Made, mut given: AddResult) -> AddResult {
    let mut result = request.config.prev_result.clone().unwrap_or_default();
    let index = result.interfaces.len();
    let link = made.link;
    result.interfaces.push(Interface {
        name: request.ifname.as_str().to_owned(),
        mac: link.as_ref().and_then(|link| link.mac).map(|mac| mac.to_string()),
        mtu: link.map(|link| link.mtu),
        sandbox: Some(request.netns.display().to_string()),
        ..Interface::default()
    });
    for ip in &mut given.ips {
        ip.interface = Some(index);
    }
    for (dst, metric) in made.metrics {
        for route in given.routes.iter_mut().filter(|route| route.dst == dst) {
            route.priority = Some(metric);
        }
    }
    result.ips.append(&mut given.ips);
    result.routes.append(&mut given.routes);
    result
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn kernel(error: cni_net::Error) -> Error {
    Error::new(KERNEL, error.to_string())
}
