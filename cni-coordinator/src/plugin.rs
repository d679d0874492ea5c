//! The verbs: record, then touch the kernel, and on failure take both back.

use std::path::Path;
use std::time::Duration;

use cni_coordinator::{
    Change, CoordinatorConfig, Ingredient, Need, Place, Plan, PlanError, Scene, Site, Step,
    VethPair, WantedMode, Wiring, apply, apply_each, first_difference, plan, survey, unplan,
};
use cni_net::{Netlink, Netns};
use cni_proto::{
    AddRequest, AddResult, CheckRequest, Code, DelRequest, Error, GcRequest, NetworkConfig, Plugin,
    StatusRequest,
};
use ipam_core::Attachment;
use ipam_store::Wirings;

use crate::failure::{DIFFERS, KERNEL, NO_PLAN, kernel, no_plan, of_recording, store};
use crate::status;

/// The name of this program.
const NAME: &str = "cni-coordinator";

/// How long another process that records is waited for; it takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Joins the pods of a chain's main plugin with their node.
pub(crate) struct Coordinator;

impl Plugin for Coordinator {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        let config = CoordinatorConfig::new(&request.config)?;
        telemetry::part("parse");
        let result = chained(&request.config)?.clone();
        if config.mode == WantedMode::Disabled {
            return Ok(result);
        }
        let pod = cni_ipam::netns_of(request, &Netns::current().map_err(kernel)?)?;
        let mut site = Site::open(Some(&pod)).map_err(kernel)?;
        let attachment = attachment(&request.config.name, &request.container, &request.ifname)?;
        let mut scene = look(&mut site, &attachment, &request.netns)?;
        telemetry::part("survey");
        let wirings = Wirings::new(&config.state_dir, PATIENCE);
        let (mut planned, mut was_recorded) = (Plan::default(), false);
        let recorded = wirings.wire(&attachment, |known| {
            scene.wirings = known.iter().filter_map(read).collect();
            was_recorded = known.iter().any(|known| known.attachment == attachment);
            planned = plan(&config, &scene)?;
            Ok::<_, PlanError>(planned.wiring.as_ref().map(Wiring::to_json).unwrap_or_default())
        });
        recorded.map_err(of_recording)?;
        telemetry::part("record");
        let planned = complete(planned)?;
        for warning in &planned.warnings {
            warn(warning);
        }
        if config.debug {
            for step in &planned.steps {
                eprintln!("{NAME}: {step}");
            }
        }
        let applied = apply(&planned.steps, &mut site);
        telemetry::part("apply");
        match applied {
            Ok(warnings) => {
                for warning in &warnings {
                    warn(warning);
                }
                Ok(result)
            }
            Err(failed) => {
                let mut left = failed.left.clone();
                // With something left the record stays: the DEL that follows needs it.
                if left.is_empty() && !was_recorded {
                    left.extend(wirings.unwire(&[attachment]).err().map(|it| it.to_string()));
                }
                let error = Error::new(KERNEL, failed.to_string());
                let details = left.join("; ");
                Err(if details.is_empty() { error } else { error.with_details(details) })
            }
        }
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        let config = &request.config;
        let attachment = attachment(&config.name, &request.container, &request.ifname)?;
        let wirings = Wirings::new(CoordinatorConfig::state_dir_of_del(config), PATIENCE);
        // Without records there is the alias: a DEL must not wait for a file that is gone.
        let known = wirings.of(&attachment.container).unwrap_or_else(|error| {
            warn(&error.to_string());
            Vec::new()
        });
        let known: Vec<Wiring> = known.iter().filter_map(read).collect();
        let is_own = |wiring: &Wiring| wiring.attachment == attachment;
        let (own, others): (Vec<_>, Vec<_>) = known.into_iter().partition(is_own);
        let pod = request.netns.as_deref().map(Netns::find).transpose().map_err(kernel)?.flatten();
        let here = Netns::current().map_err(kernel)?.id();
        let pod = pod.filter(|pod| request.netns_override || pod.id() != here);
        let mut site = Site::open(pod.as_ref()).map_err(kernel)?;
        let steps = match own.first() {
            Some(wiring) => unplan(wiring, &others),
            None => by_alias(&attachment)?,
        };
        all_or_retry(&steps, &mut site)?;
        let container = attachment.container.clone();
        if let Err(error) = wirings.unwire(&[attachment]) {
            // What is recorded of what is gone is taken away by a GC, or with the boot.
            warn(&error.to_string());
            return Ok(());
        }
        match own.first() {
            // The others went meanwhile, and each DEL left the pair to the other.
            Some(wiring)
                if !others.is_empty() && wirings.of(&container).is_ok_and(|it| it.is_empty()) =>
            {
                all_or_retry(&on_node(unplan(wiring, &[])), &mut site)
            }
            _ => Ok(()),
        }
    }

    fn check(&self, request: &CheckRequest) -> Result<(), Error> {
        let config = CoordinatorConfig::new(&request.config)?;
        chained(&request.config)?;
        if config.mode == WantedMode::Disabled {
            return Ok(());
        }
        let pod = cni_ipam::netns_of(request, &Netns::current().map_err(kernel)?)?;
        let mut site = Site::open(Some(&pod)).map_err(kernel)?;
        let attachment = attachment(&request.config.name, &request.container, &request.ifname)?;
        let mut scene = look(&mut site, &attachment, &request.netns)?;
        let known = Wirings::new(&config.state_dir, PATIENCE).of(&attachment.container);
        scene.wirings = known.map_err(store)?.iter().filter_map(read).collect();
        let own = scene.wirings.iter().find(|wiring| wiring.attachment == attachment);
        let Some(own) = own else {
            let msg = format!("nothing is recorded for {attachment}: DEL it and ADD it again");
            return Err(Error::new(DIFFERS, msg));
        };
        scene.node.keep(&own.node_addresses);
        let planned = plan(&config, &scene).map_err(no_plan)?;
        match first_difference(&planned.steps, &mut site).map_err(kernel)? {
            None => Ok(()),
            Some(difference) => Err(Error::new(DIFFERS, difference)),
        }
    }

    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        let config = CoordinatorConfig::new(&request.config)?;
        let Some(valid) = &request.valid_attachments else {
            return Ok(());
        };
        let wirings = Wirings::new(&config.state_dir, PATIENCE);
        let known: Vec<Wiring> = wirings.all().map_err(store)?.iter().filter_map(read).collect();
        let network = request.config.name.as_str();
        let is_dead = |wiring: &Wiring| {
            let Attachment { network: of, container, ifname } = &wiring.attachment;
            of.as_str() == network
                && !valid.iter().any(|valid| {
                    valid.container.as_str() == container.as_str()
                        && valid.ifname.as_str() == ifname.as_str()
                })
        };
        let (dead, mut alive): (Vec<_>, Vec<_>) = known.into_iter().partition(is_dead);
        let mut site = Site::open(None).map_err(kernel)?;
        let (mut ended, mut failed) = (Vec::new(), Vec::new());
        for wiring in dead {
            let of_container =
                |it: &&Wiring| it.attachment.container == wiring.attachment.container;
            let others: Vec<_> = alive.iter().filter(of_container).cloned().collect();
            let steps = on_node(unplan(&wiring, &others));
            match all_or_retry(&steps, &mut site) {
                Ok(()) => ended.push(wiring.attachment),
                Err(error) => {
                    failed.push(error.to_string());
                    alive.push(wiring);
                }
            }
        }
        wirings.unwire(&ended).map_err(store)?;
        if failed.is_empty() { Ok(()) } else { Err(Error::new(KERNEL, failed.join("; "))) }
    }

    fn status(&self, request: &StatusRequest) -> Result<(), Error> {
        status::status(request)
    }
}

/// What the plugins before this one made. It has no interface of its own to speak of.
fn chained(config: &NetworkConfig) -> Result<&AddResult, Error> {
    config.required_prev_result().map_err(|error| {
        error.with_details("cni-coordinator stands behind a main plugin in a list of plugins")
    })
}

fn attachment(
    network: &cni_proto::NetworkName,
    container: &cni_proto::ContainerId,
    ifname: &cni_proto::IfName,
) -> Result<Attachment, Error> {
    let invalid = |error: ipam_core::NameError| Error::new(NO_PLAN, error.to_string());
    Ok(Attachment {
        network: network.as_str().parse().map_err(invalid)?,
        container: container.as_str().parse().map_err(invalid)?,
        ifname: ifname.as_str().parse().map_err(invalid)?,
    })
}

fn look(site: &mut Site<'_>, attachment: &Attachment, netns: &Path) -> Result<Scene, Error> {
    let gone = || Error::new(Code::INVALID_NETNS, format!("{} is gone", netns.display()));
    survey(site, attachment, netns).map_err(kernel)?.ok_or_else(gone)
}

/// A record. One of a later program is not understood, and is left to that.
pub(crate) fn read(recorded: &ipam_store::Wiring) -> Option<Wiring> {
    Wiring::from_json(&recorded.document)
        .inspect_err(|error| warn(&format!("{}: {error}", recorded.attachment)))
        .ok()
}

/// What a DEL without a record can know: the pair is this interface's if its alias says so, or if it
/// has none.
fn by_alias(attachment: &Attachment) -> Result<Vec<Step>, Error> {
    let VethPair { host, alias, host_mac, .. } = VethPair::of(attachment);
    let mut outside = Netlink::open().map_err(kernel)?;
    let found = outside.link(&host).map_err(kernel)?;
    // One without an alias a killed ADD left: the step looks at its MAC.
    if found.and_then(|link| link.alias).is_some_and(|found| found != alias) {
        return Ok(Vec::new());
    }
    let change = Change::DeleteLink { link: host, alias, mac: host_mac };
    let (place, need, ingredient) = (Place::Node, Need::Must, Ingredient::Veth);
    Ok(vec![Step { place, change, need, ingredient }])
}

fn on_node(steps: Vec<Step>) -> Vec<Step> {
    steps.into_iter().filter(|step| step.place == Place::Node).collect()
}

/// Everything that can be undone is; what has to be and could not makes the runtime ask again.
fn all_or_retry(steps: &[Step], site: &mut Site<'_>) -> Result<(), Error> {
    let (must, should): (Vec<_>, Vec<_>) =
        steps.iter().cloned().partition(|step| step.need == Need::Must);
    for text in apply_each(&should, site) {
        warn(&text);
    }
    let failed = apply_each(&must, site);
    if failed.is_empty() { Ok(()) } else { Err(Error::new(KERNEL, failed.join("; "))) }
}

#[cfg(not(feature = "omit-ingredients"))]
#[expect(clippy::unnecessary_wraps, reason = "the other build reads a text")]
fn complete(plan: Plan) -> Result<Plan, Error> {
    Ok(plan)
}

/// The plan without what a test leaves out.
#[cfg(feature = "omit-ingredients")]
fn complete(plan: Plan) -> Result<Plan, Error> {
    let omitted = std::env::var("NODE_IPAM_OMIT").unwrap_or_default();
    omitted.split(',').filter(|name| !name.is_empty()).try_fold(plan, |plan, name| {
        let ingredient: Ingredient =
            name.parse().map_err(|error| Error::new(NO_PLAN, format!("{error}")))?;
        Ok(plan.without(ingredient))
    })
}

/// What a person should know and the protocol has no place for.
fn warn(text: &str) {
    tracing::warn!(target: NAME, "{text}");
}
