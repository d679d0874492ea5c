//! The verbs: decide, then touch the kernel, and on failure take both back.

use std::time::{Duration, Instant};

use cni_net::{Netlink, Netns};
use cni_proto::{
    AddRequest, AddResult, CheckRequest, Code, DelRequest, Error, GcRequest, Interface, Plugin,
    StatusRequest,
};

use crate::addresses;
use crate::apply::{Failed, Site, Why, apply};
use crate::check::{Found, differences};
use crate::config::{Ipam, IpvlanConfig, is_debug};
use crate::failure::{
    DIFFERS, LINK_EXISTS, explained, is_master_busy, kernel, master_busy, of_why,
};
use crate::interrupt::Interrupt;
use crate::link::{IPVLAN, remove};
use crate::objection::{Inquiry, Objection};
use crate::place;
use crate::plan::{chosen_index, plan, temporary_name};
use crate::result::result;
use crate::stopwatch::Stopwatch;
use crate::{master, precheck, siblings};

/// The name of this program.
const NAME: &str = "cni-ipvlan";

/// How long the first address that is in use is tried again, and each after it.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_millis(100);

/// How many addresses that turn out to be in use an ADD steps over.
const MOST_BUSY: u32 = 16;

/// One ipvlan interface on the NIC of the node.
pub(crate) struct Ipvlan {
    /// When the process did.
    pub(crate) began: Instant,
}

impl Plugin for Ipvlan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        let interrupt = Interrupt::watch();
        let config = IpvlanConfig::new(&request.config)?;
        let mut stopwatch = Stopwatch::new(self.began);
        stopwatch.end("parse");
        let outcome = attach(&config, request, &interrupt, &mut stopwatch);
        if config.debug {
            debug(&format!("ADD {stopwatch}"));
        }
        outcome
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        let mut stopwatch = Stopwatch::new(self.began);
        stopwatch.end("parse");
        let outcome = detach(request, &mut stopwatch);
        if is_debug(&request.config) {
            debug(&format!("DEL {stopwatch}"));
        }
        outcome
    }

    fn check(&self, request: &CheckRequest) -> Result<(), Error> {
        let config = IpvlanConfig::new(&request.config)?;
        addresses::check(&config.ipam, request)?;
        let result = request.config.required_prev_result()?;
        let ifname = request.ifname.as_str();
        let differs = |what: String| Error::new(DIFFERS, format!("interface {ifname} {what}"));
        let sandbox = request.netns.to_string_lossy();
        let is_it = |it: &&Interface| it.name == ifname && it.sandbox.as_deref() == Some(&*sandbox);
        let interface = result.interfaces.iter().find(is_it).ok_or_else(|| {
            differs(format!("of {sandbox} is not among the interfaces of prevResult"))
        })?;
        let own = Netns::current().map_err(kernel)?;
        let pod = cni_ipam::netns_of(request, &own)?;
        let mut inside = pod.netlink().map_err(kernel)?;
        let Some(link) = inside.link(ifname).map_err(kernel)? else {
            return Err(differs(format!("is missing in {sandbox}")));
        };
        let mut outside = namespace_of_master(&config, &pod)?;
        // What made the interface that is the default master now may be the interface itself.
        let master = if config.masters.is_empty() && link.kind.as_deref() == Some(IPVLAN) {
            outside.link_by_index(link.parent.unwrap_or(0)).map_err(kernel)?
        } else {
            Some(master::find(&config, None, &mut outside)?)
        };
        let Some(master) = master else {
            return Err(differs("has no master any more".to_owned()));
        };
        let addresses = inside.addresses(link.index).map_err(kernel)?;
        let addresses = addresses.into_iter().map(|address| address.net).collect();
        let routes = inside.routes(None).map_err(kernel)?;
        let netns_of_master = if config.link_in_container {
            None
        } else {
            inside.netns_number(&own).map_err(kernel)?
        };
        let found = Found { link, netns_of_master, addresses, routes };
        let all = differences(&config, &master, interface, result, &found);
        if all.is_empty() {
            return Ok(());
        }
        Err(differs(format!("is not as it was made: {}", all.join("; "))))
    }

    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        addresses::gc(&Ipam::new(&request.config)?, request)
    }

    fn status(&self, request: &StatusRequest) -> Result<(), Error> {
        let config = IpvlanConfig::new(&request.config)?;
        addresses::status(&config.ipam, request)?;
        // A master in the pod, or of a chain, is not there before there is a pod.
        let chained = config.masters.is_empty() && config.ipam == Ipam::Previous;
        if config.link_in_container || chained {
            return Ok(());
        }
        let mut outside = Netlink::open().map_err(kernel)?;
        let not_available = |text: String| Error::new(Code::NOT_AVAILABLE, text);
        let master = master::find(&config, None, &mut outside)
            .map_err(|error| not_available(error.to_string()))?;
        precheck::check(&config, &master, None)
            .map(drop)
            .map_err(|error| not_available(error.to_string()))
    }
}

fn attach(
    config: &IpvlanConfig,
    request: &AddRequest,
    interrupt: &Interrupt,
    stopwatch: &mut Stopwatch,
) -> Result<AddResult, Error> {
    let ifname = request.ifname.as_str();
    let own = Netns::current().map_err(kernel)?;
    let pod = cni_ipam::netns_of(request, &own)?;
    let mut inside = pod.netlink().map_err(kernel)?;
    let mut outside = namespace_of_master(config, &pod)?;
    let master = master::find(config, request.config.prev_result.as_ref(), &mut outside)?;
    let of_master = if config.link_in_container { &pod } else { &own };
    let port = siblings::port(&master, (&mut outside, of_master), &request.netns);
    if let Some(warning) = precheck::check(config, &master, port.as_ref())? {
        warn(&warning);
    }
    if inside.link(ifname).map_err(kernel)?.is_some() {
        let path = request.netns.display();
        let msg = format!("{path} has a link {ifname} already: DEL it first");
        return Err(Error::new(LINK_EXISTS, msg));
    }
    stopwatch.end("precheck");
    let mut given = addresses::add(&config.ipam, request, interrupt)?;
    stopwatch.end("ipam");
    let container = request.container.as_str();
    let (index, temporary) = (chosen_index(container, ifname), temporary_name(container, ifname));
    let (mut patience, mut busy) = (FIRST_PATIENCE, 0);
    let mut inquiry = Inquiry::open(config, &master, &mut outside, of_master);
    loop {
        if inquiry.asks() {
            let found = inquiry.objection(&given);
            stopwatch.end("detect");
            let found = found.map_err(|error| take_back(config, request, error, Vec::new()))?;
            if let Some(objection) = found {
                warn_of(&objection);
                given = addresses::another(&config.ipam, request, &objection)
                    .map_err(|error| explained(error, &objection))?;
                stopwatch.end("ipam");
                busy += 1;
                if inquiry.is_over() || busy > MOST_BUSY {
                    let error = Error::new(Code::TRY_AGAIN, format!("address {objection}"));
                    return Err(take_back(config, request, error, Vec::new()));
                }
                continue;
            }
        }
        let steps = plan(config, &master, ifname, index, &given);
        let mut site = Site {
            outside: &mut outside,
            pod: &pod,
            inside: &mut inside,
            temporary: &temporary,
            patience,
            interrupt,
            stopwatch: &mut *stopwatch,
        };
        match apply(&steps, &mut site) {
            Ok(made) => return Ok(result(request, config, &master, made, given)),
            Err(Failed { why: Why::Busy(address, _), left })
                if left.is_empty() && busy < MOST_BUSY =>
            {
                let objection = Objection::in_use(address, place::of(address));
                warn_of(&objection);
                given = addresses::another(&config.ipam, request, &objection)
                    .map_err(|error| explained(error, &objection))?;
                (patience, busy) = (PATIENCE, busy + 1);
                stopwatch.end("ipam");
            }
            Err(Failed { why: Why::Refused(error), left })
                if is_master_busy(&error) && left.is_empty() =>
            {
                let error = master_busy(&master, &mut outside);
                return Err(take_back(config, request, error, Vec::new()));
            }
            Err(Failed { why, left }) => {
                let left = left.iter().map(ToString::to_string).collect();
                return Err(take_back(config, request, of_why(why), left));
            }
        }
    }
}

fn detach(request: &DelRequest, stopwatch: &mut Stopwatch) -> Result<(), Error> {
    let netns = request.netns.as_deref().map(Netns::find);
    if let Some(pod) = netns.transpose().map_err(kernel)?.flatten() {
        // Never the links of the node itself: no ADD made them.
        if request.netns_override || own()? != pod.id() {
            let ifname = request.ifname.as_str();
            let temporary = temporary_name(request.container.as_str(), ifname);
            let mut inside = pod.netlink().map_err(kernel)?;
            for name in [ifname, &temporary] {
                remove(&mut inside, name).map_err(kernel)?;
            }
        }
    }
    stopwatch.end("link");
    // Last: while the link lives, its address must not be given to another pod.
    let freed = addresses::del(request);
    stopwatch.end("ipam");
    freed
}

fn own() -> Result<cni_net::NetnsId, Error> {
    Ok(Netns::current().map_err(kernel)?.id())
}

fn namespace_of_master(config: &IpvlanConfig, pod: &Netns) -> Result<Netlink, Error> {
    if config.link_in_container { pod.netlink() } else { Netlink::open() }.map_err(kernel)
}

/// The error of an ADD that failed in the kernel, after its lease is released. If anything of the
/// link could not be taken back the lease stays: its address may be alive. The runtime's DEL ends
/// both.
fn take_back(
    config: &IpvlanConfig,
    request: &AddRequest,
    error: Error,
    mut kept: Vec<String>,
) -> Error {
    if kept.is_empty() {
        let cancelled = addresses::cancel(&config.ipam, request);
        kept.extend(cancelled.err().map(|error| error.to_string()));
    }
    if kept.is_empty() {
        return error;
    }
    error.with_details(format!("the lease stays until DEL: {}", kept.join("; ")))
}

/// What a person should know and the protocol has no place for: a line on stderr, which runtimes
/// log, and in the log.
pub(crate) fn warn(text: &str) {
    tracing::warn!(target: NAME, "{text}");
}

/// Somebody else has an address that was about to be given.
fn warn_of(objection: &Objection) {
    let (event, address) = ("conflict", objection.address);
    tracing::warn!(target: NAME, event, address = %address, "{objection}");
}

/// For who asked for it, on stderr alone.
fn debug(text: &str) {
    eprintln!("{NAME}: {text}");
}
