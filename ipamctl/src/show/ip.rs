//! `ipamctl show ip`: the story of one address.

use std::io::Write;
use std::net::IpAddr;

use anyhow::Result;
use ipam_core::{
    IfName, Lease, Moment, NetworkName, Pin, Pool, Reserved, Rest, RestKind, RestReason,
};
use ipam_store::FormerHolder;
use serde_json::{Value, json};

use crate::answer::{Kind, write_object};
use crate::clock::utc;
use crate::history;
use crate::inventory::Inventory;
use crate::ips::{age, lease_object, pin_of};
use crate::liveness::{Liveness, Node};
use crate::occupancy::State;
use crate::sync::gone_since;
use crate::table::{Format, write_facts};

#[derive(Debug, clap::Args)]
pub(crate) struct ShowIp {
    /// The address.
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: IpAddr,

    /// The form of the answer; lines of text when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,

    #[command(flatten)]
    node: Node,
}

/// What is known of an address.
#[derive(Debug)]
struct Story<'a> {
    address: IpAddr,
    pool: Option<&'a Pool>,
    reserved: Vec<&'a Reserved>,
    lease: Option<&'a Lease>,
    rest: Option<&'a Rest>,
    pin: Option<(&'a Reserved, &'a Pin)>,
    history: &'a [FormerHolder],
    now: Moment,
    now_unix_seconds: u64,
}

pub(crate) fn show(
    inventory: &Inventory,
    history: &[FormerHolder],
    options: &ShowIp,
    out: &mut dyn Write,
) -> Result<()> {
    let story = Story::new(inventory, history, options.address);
    // A holder is looked for even where nobody is known: who has an address without holding it is
    // what one wants to know.
    let liveness = Liveness::look(options.node, 0);
    match options.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            write_object(Kind::AddressStory, story.object(&liveness), format, out)
        }
        Some(Format::Wide) | None => write_facts(&story.facts(&liveness), out),
    }
}

impl<'a> Story<'a> {
    fn new(inventory: &'a Inventory, history: &'a [FormerHolder], address: IpAddr) -> Self {
        let Inventory { pools, reserved, leases, rests, now } = inventory;
        let lease = leases.iter().find(|lease| lease.address == address);
        let of_lease = |pool: &&Pool| lease.is_some_and(|lease| lease.pool == *pool.name());
        // An address that is excluded is still one of the pool's.
        let pool = pools.iter().find(of_lease);
        let pool = pool.or_else(|| pools.iter().find(|pool| pool.claims(address)));
        let pool = pool.or_else(|| pools.iter().find(|pool| pool.ips().contains(address)));
        let rest = rests.iter().find(|resting| resting.address == address);
        Self {
            address,
            pool,
            reserved: reserved.iter().filter(|one| one.ips().contains(address)).collect(),
            lease,
            rest: rest.map(|resting| &resting.rest),
            pin: pin_of(reserved, address),
            history,
            now: now.moment,
            now_unix_seconds: now.unix_seconds,
        }
    }

    fn fences(&self) -> impl Iterator<Item = (&'a Reserved, u64)> {
        self.reserved.iter().filter_map(|one| Some((*one, gone_since(one)?)))
    }

    fn reservations(&self) -> impl Iterator<Item = &'a Reserved> {
        let others = self.reserved.iter().copied().filter(|one| gone_since(one).is_none());
        others.filter(|one| one.pin().is_none())
    }

    /// Why the pool, although it has the address, gives it to nobody.
    fn why_not(&self) -> Option<&'static str> {
        let pool = self.pool?;
        if pool.gateway() == Some(self.address) {
            Some("it is the pool's gateway")
        } else if !pool.ips().contains(self.address) {
            Some("ips of the pool has it no more")
        } else if !pool.claims(self.address) {
            Some("excludeIPs of the pool has it")
        } else if !pool.assignable().contains(self.address) {
            Some("it is the network's or its broadcast address")
        } else {
            None
        }
    }

    fn state(&self) -> Option<State> {
        let is_fenced = self.fences().next().is_some();
        match (self.lease, self.pool, self.rest) {
            (Some(_), ..) if is_fenced => Some(State::HeldFenced),
            (Some(_), ..) => Some(State::Held),
            (None, None, _) => None,
            (None, Some(_), _) if is_fenced => Some(State::Fenced),
            (None, Some(_), _) if self.why_not().is_some() => Some(State::Reserved),
            (None, Some(_), _) if self.reservations().next().is_some() => Some(State::Reserved),
            (None, Some(_), Some(rest)) if rest.kind() == RestKind::Quarantine => {
                Some(State::Quarantined)
            }
            (None, Some(_), _) if self.pin.is_some() => Some(State::Pinned),
            (None, Some(_), Some(rest)) => Some(State::of_rest(rest.kind())),
            (None, Some(_), None) => Some(State::Free),
        }
    }

    fn facts(&self, liveness: &Result<Liveness>) -> Vec<(&'static str, String)> {
        let mut facts = vec![("Address", self.address.to_string())];
        facts.push(match self.pool {
            Some(pool) => ("Pool", format!("{} ({})", pool.name(), pool.subnet())),
            None => ("Pool", "none: no stored pool has it".to_owned()),
        });
        facts.push(match self.state() {
            Some(state) => ("State", state.word().to_owned()),
            None => ("State", "not managed here".to_owned()),
        });
        if let Some(lease) = self.lease {
            facts.extend(self.holder(lease, liveness));
        }
        facts.push(("On interface", on_interface(self.address, liveness)));
        if let Some((document, pin)) = self.pin {
            facts.push(("Pinned", format!("to pod {pin}, by {}", document.name())));
        }
        if let Some(rest) = self.rest.filter(|_| self.lease.is_none()) {
            let seconds = rest.until.seconds_since(self.now);
            facts.push(("Rests", rest.to_string()));
            facts.push(("Free in", format!("{} ({})", age(0, seconds), self.utc_at(rest.until))));
        }
        for (fence, since) in self.fences() {
            let ago = age(since, self.now_unix_seconds);
            let text = format!(
                "{}: the cloud does not give it since {} ({ago} ago)",
                fence.name(),
                utc(since)
            );
            facts.push(("Fenced", text));
        }
        for one in self.reservations() {
            facts.push(("Reserved", format!("{}: on all nodes", one.name())));
        }
        if let Some(why) = self.why_not() {
            facts.push(("Not given", why.to_owned()));
        }
        let lines = self.history.iter().map(|former| history::line(former, self.now_unix_seconds));
        let lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            facts.push(("Before", lines.join("\n")));
        }
        facts
    }

    fn holder(&self, lease: &Lease, liveness: &Result<Liveness>) -> Vec<(&'static str, String)> {
        let attachment = &lease.attachment;
        let mut facts = Vec::new();
        if let Some(pod) = &lease.pod {
            let uid = pod.uid.as_ref().map(|uid| format!(" (uid {uid})")).unwrap_or_default();
            facts.push(("Pod", format!("{pod}{uid}")));
        }
        let since = lease.since.unix_seconds;
        facts.extend([
            ("Container", attachment.container.to_string()),
            ("Network", attachment.network.to_string()),
            ("Interface", attachment.ifname.to_string()),
            ("Held since", format!("{} ({})", utc(since), age(since, self.now_unix_seconds))),
        ]);
        let path = lease.netns.as_ref().map_or("<not told>", |netns| netns.path.as_str());
        let life = match liveness {
            Ok(liveness) => liveness.of(lease).word().to_owned(),
            Err(error) => format!("not looked at: {error:#}"),
        };
        facts.push(("Namespace", format!("{path} ({life})")));
        facts
    }

    /// A moment of the node's clock as the wall's clock has it.
    fn utc_at(&self, moment: Moment) -> String {
        utc(self.now_unix_seconds + moment.seconds_since(self.now))
    }

    fn object(&self, liveness: &Result<Liveness>) -> Value {
        let holder = self.lease.map(|lease| {
            let mut holder = lease_object(lease);
            let life = liveness.as_ref().ok().map(|liveness| liveness.of(lease).word());
            holder["life"] = life.into();
            holder
        });
        let rest = self.rest.filter(|_| self.lease.is_none()).map(|rest| {
            let (waits_for, seen) = match &rest.reason {
                RestReason::Sticky { key } => {
                    (Some(format!("{}/{}", key.namespace, key.name)), None)
                }
                RestReason::Quarantine { seen } => (None, Some(seen)),
                _ => (None, None),
            };
            json!({
                "state": State::of_rest(rest.kind()).key(),
                "freeInSeconds": rest.until.seconds_since(self.now),
                "waitsForPod": waits_for,
                "seen": seen,
            })
        });
        let spot = liveness.as_ref().ok().and_then(|liveness| liveness.spot(self.address));
        let fences = self.fences().map(
            |(fence, since)| json!({ "name": fence.name().as_str(), "sinceUnixSeconds": since }),
        );
        json!({
            "ip": self.address,
            "pool": self.pool.map(|pool| pool.name().as_str()),
            "state": self.state().map(State::key),
            "holder": holder,
            "rest": rest,
            "onInterface": spot.map(|spot| json!({ "interface": spot.ifname, "netns": spot.netns })),
            "nodeSeen": liveness.is_ok(),
            "fences": fences.collect::<Vec<_>>(),
            "reservations": self.reservations().map(|one| one.name().as_str()).collect::<Vec<_>>(),
            "notGiven": self.why_not(),
            "pin": self.pin.map(|(document, pin)| json!({
                "podNamespace": pin.namespace,
                "podName": pin.name,
                "network": pin.network.as_ref().map(NetworkName::as_str),
                "interface": pin.ifname.as_ref().map(IfName::as_str),
                "document": document.name().as_str(),
            })),
            "history": self.history.iter().map(history::object).collect::<Vec<_>>(),
        })
    }
}

fn on_interface(address: IpAddr, liveness: &Result<Liveness>) -> String {
    match liveness.as_ref().map(|liveness| liveness.spot(address)) {
        Ok(Some(spot)) => match spot.netns {
            Some(netns) => format!("{} in {netns}", spot.ifname),
            None => format!("{} of the node itself", spot.ifname),
        },
        Ok(None) => "none on this node".to_owned(),
        Err(_) => "not looked at".to_owned(),
    }
}
