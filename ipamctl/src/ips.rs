//! `ipamctl get ips`: who holds what, and what rests.

use std::io::Write;
use std::net::IpAddr;

use anyhow::Result;
use ipam_core::{
    AddressRange, IfName, Lease, Moment, NetworkName, Pin, PodRef, PoolName, RangeSet, Reserved,
    RestKind, RestReason, Stamp,
};
use ipam_store::Resting;
use serde_json::{Value, json};

use crate::inventory::Inventory;
use crate::occupancy::{Occupancy, State};
use crate::sync::gone_since;
use crate::table::{Format, write_list, write_rows};

mod filter;

pub(crate) use filter::{Filter, is_pod};

const HEADER: [&str; 8] =
    ["IP", "POOL", "NAMESPACE", "POD", "NETWORK", "INTERFACE", "AGE", "STATE"];
const WIDE: [&str; 4] = ["FREE-IN", "CONTAINER", "POD-UID", "NETNS"];

/// Addresses of one row, which is one address but for those of which nothing else is known.
#[derive(Debug)]
struct Row<'a> {
    range: AddressRange,
    pool: &'a PoolName,
    what: What<'a>,
    is_fenced: bool,
    /// Whom it is kept for.
    pin: Option<&'a Pin>,
}

#[derive(Debug)]
enum What<'a> {
    Held(&'a Lease),
    Resting(&'a Resting),
    Nothing(State),
}

pub(crate) fn show(
    inventory: &Inventory,
    filter: &Filter,
    format: Option<Format>,
    out: &mut dyn Write,
) -> Result<()> {
    let rows = rows(inventory, filter)?;
    let now = &inventory.now;
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => write_list(
            &rows.iter().map(|row| row.object(now.moment)).collect::<Vec<_>>(),
            format,
            out,
        ),
        Some(Format::Wide) => {
            let wide = |row: &Row<'_>| [row.cells(now), row.wide_cells(now.moment)].concat();
            let rows: Vec<Vec<String>> = rows.iter().map(wide).collect();
            write_rows(&[&HEADER[..], &WIDE[..]].concat(), &rows, out)
        }
        None => {
            let rows: Vec<Vec<String>> = rows.iter().map(|row| row.cells(now)).collect();
            write_rows(&HEADER, &rows, out)
        }
    }
}

fn rows<'a>(inventory: &'a Inventory, filter: &Filter) -> Result<Vec<Row<'a>>> {
    let gone = inventory.reserved.iter().filter(|one| gone_since(one).is_some());
    let fenced: RangeSet = gone.flat_map(|fence| fence.ips().ranges()).copied().collect();
    let held = inventory.leases.iter().map(|lease| Row {
        range: lease.address.into(),
        pool: &lease.pool,
        what: What::Held(lease),
        is_fenced: fenced.contains(lease.address),
        pin: pin_of(&inventory.reserved, lease.address).map(|(_, pin)| pin),
    });
    let mut rows: Vec<Row<'_>> = held.collect();
    if filter.wants_more_than_held() {
        for pool in &inventory.pools {
            let Inventory { reserved, leases, rests, .. } = inventory;
            let nobodys = Occupancy::new(pool, reserved, leases, rests).runs.into_iter();
            for run in nobodys {
                let name = pool.name();
                match run.state {
                    State::Free | State::Held | State::HeldFenced => {}
                    State::Cooling | State::Sticky | State::Quarantined => {
                        // By address: those of the run stand together.
                        let from = rests.partition_point(|it| it.address < run.range.first());
                        let of_run =
                            rests[from..].iter().take_while(|it| it.address <= run.range.last());
                        rows.extend(of_run.map(|resting| Row {
                            range: resting.address.into(),
                            pool: name,
                            what: What::Resting(resting),
                            is_fenced: false,
                            pin: None,
                        }));
                    }
                    State::Pinned => rows.extend(pinned(run.range, name, reserved)),
                    state @ (State::Fenced | State::Reserved) => rows.push(Row {
                        range: run.range,
                        pool: name,
                        what: What::Nothing(state),
                        is_fenced: state == State::Fenced,
                        pin: None,
                    }),
                }
            }
        }
    }
    rows.sort_by_key(|row| row.range);
    let pools = filter.pool_names(inventory)?;
    rows.retain(|row| {
        pools.as_ref().is_none_or(|pools| pools.contains(&row.pool))
            && filter.wants_state(row)
            && filter.wants_holder(row)
    });
    Ok(rows)
}

/// The parts of a run that are kept for pods, those of each document for itself.
fn pinned<'a>(
    run: AddressRange,
    pool: &'a PoolName,
    reserved: &'a [Reserved],
) -> impl Iterator<Item = Row<'a>> {
    let mut left = RangeSet::from(run);
    let pins = reserved.iter().filter_map(|one| Some((one.ips(), one.pin()?)));
    pins.flat_map(move |(ips, pin)| {
        let here = left.intersection(ips);
        left = left.difference(&here);
        let row = |range: &AddressRange| Row {
            range: *range,
            pool,
            what: What::Nothing(State::Pinned),
            is_fenced: false,
            pin: Some(pin),
        };
        here.ranges().iter().map(row).collect::<Vec<_>>()
    })
}

/// The document that keeps an address for a pod, and the pod.
pub(crate) fn pin_of(reserved: &[Reserved], address: IpAddr) -> Option<(&Reserved, &Pin)> {
    let mut pins = reserved.iter().filter_map(|one| Some((one, one.pin()?)));
    pins.find(|(one, _)| one.ips().contains(address))
}

impl Row<'_> {
    fn is_resting(&self, kind: RestKind) -> bool {
        matches!(self.what, What::Resting(resting) if resting.rest.kind() == kind)
    }

    /// Whose it is, or for whom it waits: namespace and name.
    fn pod(&self) -> Option<(&str, &str)> {
        match self.what {
            What::Held(lease) => {
                let PodRef { namespace, name, .. } = lease.pod.as_ref()?;
                Some((namespace, name))
            }
            What::Resting(Resting { rest, .. }) => match &rest.reason {
                RestReason::Sticky { key } => Some((&key.namespace, &key.name)),
                _ => None,
            },
            What::Nothing(_) => self.pin.map(|pin| (pin.namespace.as_str(), pin.name.as_str())),
        }
    }

    /// The network and the interface.
    fn place(&self) -> (Option<&str>, Option<&str>) {
        match self.what {
            What::Held(Lease { attachment, .. }) => {
                (Some(attachment.network.as_str()), Some(attachment.ifname.as_str()))
            }
            What::Resting(Resting { rest, .. }) => match &rest.reason {
                RestReason::Sticky { key } => {
                    (Some(key.network.as_str()), Some(key.ifname.as_str()))
                }
                _ => (None, None),
            },
            What::Nothing(_) => (
                self.pin.and_then(|pin| pin.network.as_ref()).map(NetworkName::as_str),
                self.pin.and_then(|pin| pin.ifname.as_ref()).map(IfName::as_str),
            ),
        }
    }

    fn state(&self) -> &'static str {
        match self.what {
            What::Held(_) => "live",
            What::Resting(resting) => State::of_rest(resting.rest.kind()).key(),
            What::Nothing(state) => state.key(),
        }
    }

    fn free_in_seconds(&self, now: Moment) -> Option<u64> {
        match self.what {
            What::Resting(resting) => Some(resting.rest.until.seconds_since(now)),
            _ => None,
        }
    }

    fn cells(&self, now: &Stamp) -> Vec<String> {
        let (namespace, name) = self.pod().unzip();
        let (network, ifname) = self.place();
        let age = match self.what {
            What::Held(lease) => Some(age(lease.since.unix_seconds, now.unix_seconds)),
            What::Resting(resting) => Some(age(resting.rest.since.0, now.moment.0)),
            What::Nothing(_) => None,
        };
        let mut state = self.state().to_owned();
        if let What::Held(_) = self.what {
            let more = [(self.is_fenced, ",fenced"), (self.pin.is_some(), ",pinned")];
            state.extend(more.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word));
        }
        let or_none = |text: Option<&str>| or_none(text.map(str::to_owned));
        vec![
            self.range.to_string(),
            self.pool.to_string(),
            or_none(namespace),
            or_none(name),
            or_none(network),
            or_none(ifname),
            or_none(age.as_deref()),
            state,
        ]
    }

    fn wide_cells(&self, now: Moment) -> Vec<String> {
        let free_in = self.free_in_seconds(now).map(|seconds| age(0, seconds));
        let What::Held(lease) = self.what else {
            return vec![or_none(free_in), or_none(None), or_none(None), or_none(None)];
        };
        let uid = lease.pod.as_ref().and_then(|pod| pod.uid.clone());
        vec![
            or_none(free_in),
            lease.attachment.container.to_string(),
            or_none(uid),
            or_none(lease.netns.as_ref().map(|netns| netns.path.clone())),
        ]
    }

    fn object(&self, now: Moment) -> Value {
        let lease = match self.what {
            What::Held(lease) => Some(lease),
            _ => None,
        };
        let seen = match self.what {
            What::Resting(Resting { rest, .. }) => match &rest.reason {
                RestReason::Quarantine { seen } => Some(seen),
                _ => None,
            },
            _ => None,
        };
        let (namespace, name) = self.pod().unzip();
        let (network, ifname) = self.place();
        let pod = lease.and_then(|lease| lease.pod.as_ref());
        json!({
            "ip": self.range.to_string(),
            "pool": self.pool.as_str(),
            "network": network,
            "containerID": lease.map(|lease| lease.attachment.container.as_str()),
            "interface": ifname,
            "podNamespace": namespace,
            "podName": name,
            "podUID": pod.and_then(|pod| pod.uid.as_ref()),
            "netns": lease.and_then(|lease| lease.netns.as_ref()).map(|netns| &netns.path),
            "sinceUnixSeconds": lease.map(|lease| lease.since.unix_seconds),
            "state": self.state(),
            "fenced": self.is_fenced,
            "pinnedTo": self.pin.map(|pin| format!("{}/{}", pin.namespace, pin.name)),
            "freeInSeconds": self.free_in_seconds(now),
            "seen": seen,
        })
    }
}

/// A lease with its holder.
pub(crate) fn lease_object(lease: &Lease) -> Value {
    let pod = lease.pod.as_ref();
    json!({
        "ip": lease.address,
        "pool": lease.pool.as_str(),
        "network": lease.attachment.network.as_str(),
        "containerID": lease.attachment.container.as_str(),
        "interface": lease.attachment.ifname.as_str(),
        "podNamespace": pod.map(|pod| &pod.namespace),
        "podName": pod.map(|pod| &pod.name),
        "podUID": pod.and_then(|pod| pod.uid.as_ref()),
        "netns": lease.netns.as_ref().map(|netns| &netns.path),
        "sinceUnixSeconds": lease.since.unix_seconds,
    })
}

pub(crate) fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "<none>".into())
}

/// The largest whole unit, as `kubectl` shows an age.
pub(crate) fn age(since: u64, now: u64) -> String {
    let seconds = now.saturating_sub(since);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_is_one_number_and_one_unit() {
        let ages = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(|now| age(0, now));
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
        assert_eq!(age(100, 50), "0s", "a clock that was set back");
    }
}
