//! STATUS: whether a pod could be joined with the node as the node is now.

use cni_coordinator::{
    CoordinatorConfig, Ingredient, Marks, POD_END, Site, Step, WantedMode, Wiring,
    first_difference, host_steps, numbers, reply_marks,
};
use cni_net::{Netlink, Nftables, sysctl};
use cni_proto::{Code, Error, StatusRequest};
use ipam_core::Family;
use ipam_store::Wirings;

use crate::failure::{kernel, store};
use crate::plugin::{PATIENCE, read};

/// Answers the first reason why not.
pub(crate) fn status(request: &StatusRequest) -> Result<(), Error> {
    let config = CoordinatorConfig::new(&request.config)?;
    if config.mode == WantedMode::Disabled {
        return Ok(());
    }
    let not_available = |msg: String| Err(Error::new(Code::NOT_AVAILABLE, msg));
    let has = |family| config.hijacked.iter().any(|it| Family::of(it.cidr.addr()) == family);
    for (family, key) in [(Family::V4, "ipv4/ip_forward"), (Family::V6, "ipv6/conf/all/forwarding")]
    {
        let is_needed = family == Family::V4 || has(family);
        if is_needed && sysctl::read(key).map_err(kernel)?.is_some_and(|it| it == "0") {
            return not_available(format!(
                "net/{key} is 0, so that nothing reaches a pod by its node: set it to 1"
            ));
        }
    }
    let mut outside = Netlink::open().map_err(kernel)?;
    let table = config.host_table;
    let is_foreign = |route: &&cni_net::Route| route.protocol != Some(numbers::PROTOCOL);
    let routes = outside.routes(Some(table)).map_err(kernel)?;
    if let Some(route) = routes.iter().find(is_foreign) {
        return not_available(format!(
            "hostRuleTable {table} is somebody else's too: it has {route} of protocol {}: \
             choose another table",
            route.protocol.unwrap_or(0)
        ));
    }
    let marks = reply_marks(&Marks { link: POD_END.to_owned(), mark: config.mark });
    if let Err(error) = Nftables::open().and_then(|mut it| it.check_reply_marks(&marks)) {
        return not_available(format!("pods' replies cannot be marked: {error}"));
    }
    let known = Wirings::new(&config.state_dir, PATIENCE).all().map_err(store)?;
    let known: Vec<Wiring> = known.iter().filter_map(read).collect();
    let rules: Vec<Step> = host_steps(&known)
        .into_iter()
        .filter(|step| step.ingredient == Ingredient::HostRule)
        .collect();
    let mut site = Site::open(None).map_err(kernel)?;
    match first_difference(&rules, &mut site).map_err(kernel)? {
        None => Ok(()),
        Some(difference) => {
            Err(Error::new(Code::LIMITED, format!("{difference}: `ipamctl repair` makes it again")))
        }
    }
}
