//! The verbs: decide, then touch the kernel, and on failure take both back.

use cni_net::{Link, Netlink, Netns};
use cni_proto::{AddRequest, AddResult, Code, DelRequest, Error, Interface, Plugin};

use crate::apply::{apply, open_if_there, remove};
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
        remove(&mut inside, &temporary).map_err(kernel)?;

        let given = cni_ipam::add(request)?.to_result();
        let steps = plan(&config, &parent, &temporary, ifname, &given);
        match apply(&steps, &mut host, &pod, &mut inside, |error| {
            eprintln!("{error}");
        }) {
            Ok(link) => Ok(result(request, link, given)),
            Err(error) => {
                let error = kernel(error);
                match cni_ipam::cancel(request) {
                    Ok(()) => Err(error),
                    // The runtime's DEL will release it: what counts is why the ADD failed.
                    Err(kept) => Err(error.with_details(format!("the lease stays: {kept}"))),
                }
            }
        }
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
}

/// The result of the chain so far with this plugin's interface and addresses behind it.
fn result(request: &AddRequest, link: Option<Link>, mut given: AddResult) -> AddResult {
    let mut result = request.config.prev_result.clone().unwrap_or_default();
    let index = result.interfaces.len();
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
    result.ips.append(&mut given.ips);
    result.routes.append(&mut given.routes);
    result
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn kernel(error: cni_net::Error) -> Error {
    Error::new(KERNEL, error.to_string())
}
