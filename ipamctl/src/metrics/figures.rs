//! What is counted on a node, and under which names.
//!
//! The peer's names (Spiderpool, docs/reference/metrics.md) are used as documented where ours means
//! the same: how many ADDs and DELs there were and failed, how many pools there are and how many
//! addresses each has and has left. Its durations are of its agent alone, its conflicts and retries
//! are of the API server: nothing here is that.

use cni_proto::Verb;
use ipam_core::{Pool, PoolName};
use ipam_store::Contents;
use telemetry::{BUCKETS_NANOS, Failure, Measured};

use super::exposition::{Exposition, Type};
use crate::inventory::left_of_rests;
use crate::occupancy::{Occupancy, State};
use crate::sync::gone_since;

/// What an address that nobody holds can be in, but for those that nobody gets.
const STATES: [State; 6] =
    [State::Free, State::Cooling, State::Sticky, State::Pinned, State::Quarantined, State::Fenced];

/// Everything that the metrics are made of.
pub(super) struct Figures<'a> {
    /// `None` if the database could not be read.
    pub(super) contents: Option<&'a Contents>,
    /// `None` if there is no file.
    pub(super) database: Option<Database>,
    /// Empty if nothing was counted.
    pub(super) measured: &'a [Measured],
}

/// The database's file.
pub(super) struct Database {
    pub(super) bytes: u64,
    pub(super) written_unix_seconds: u64,
}

impl Figures<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = Exposition::default();
        self.database(&mut text);
        if let Some(contents) = self.contents {
            pools(contents, &mut text);
        }
        self.operations(&mut text);
        self.peers(&mut text);
        text.into_text()
    }

    fn database(&self, text: &mut Exposition) {
        let mut gauge = |name: &str, help: &str, value: u64| {
            text.family(name, Type::Gauge, help);
            text.sample(name, &[], value);
        };
        let up = u64::from(self.contents.is_some());
        gauge("node_ipam_database_up", "Whether the database could be read.", up);
        if let Some(Database { bytes, written_unix_seconds }) = self.database {
            gauge("node_ipam_database_bytes", "Length of the database's file.", bytes);
            let help = "When the database's file was last written to, by the wall clock.";
            gauge("node_ipam_database_last_write_timestamp_seconds", help, written_unix_seconds);
        }
        let Some(contents) = self.contents else { return };
        let name = "node_ipam_database_commits_total";
        text.family(name, Type::Counter, "Changes of the database since it was made.");
        text.sample(name, &[], contents.revision);
    }

    fn operations(&self, text: &mut Exposition) {
        if self.measured.is_empty() {
            return;
        }
        let name = "node_ipam_operation_duration_seconds";
        text.family(name, Type::Histogram, "How long calls of plugins took since the boot.");
        for measured in self.measured {
            let Measured { plugin, verb, failed, sum_nanos, buckets, .. } = measured;
            let outcome = if *failed { "failed" } else { "done" };
            let labels = [("plugin", *plugin), ("verb", verb.as_str()), ("outcome", outcome)];
            let mut below = 0;
            let bounds = BUCKETS_NANOS.iter().map(|nanos| seconds(*nanos));
            for (count, bound) in buckets.iter().zip(bounds.chain(["+Inf".to_owned()])) {
                below += count;
                let labels: Vec<_> = labels.into_iter().chain([("le", bound.as_str())]).collect();
                text.sample(&format!("{name}_bucket"), &labels, below);
            }
            text.sample(&format!("{name}_sum"), &labels, seconds(*sum_nanos));
            text.sample(&format!("{name}_count"), &labels, below);
        }
        let name = "node_ipam_operation_failures_total";
        text.family(name, Type::Counter, "Calls of plugins that failed since the boot.");
        for measured in self.measured.iter().filter(|measured| measured.failed) {
            for (failure, count) in Failure::ALL.iter().zip(measured.failures) {
                if count > 0 {
                    let verb = measured.verb.as_str();
                    let reason = failure.as_str();
                    let labels = [("plugin", measured.plugin), ("verb", verb), ("reason", reason)];
                    text.sample(name, &labels, count);
                }
            }
        }
    }

    fn peers(&self, text: &mut Exposition) {
        let calls = |verb: Verb, failed: &[bool]| -> u64 {
            // Those that allocate and release; the coordinator does neither.
            let allocates = |it: &&Measured| it.plugin != "cni-coordinator" && it.verb == verb;
            let all = self.measured.iter().filter(allocates);
            all.filter(|it| failed.contains(&it.failed)).map(Measured::count).sum()
        };
        let no_pool = self.measured.iter().filter(|it| it.verb == Verb::Add);
        let no_pool = no_pool.map(|it| it.failures[Failure::NoPool as usize]).sum();
        for (name, help, value) in [
            ("ipam_allocation_counts", "ADDs.", calls(Verb::Add, &[false, true])),
            ("ipam_allocation_failure_counts", "ADDs that failed.", calls(Verb::Add, &[true])),
            (
                "ipam_allocation_err_no_available_pool_counts",
                "ADDs that found no pool for their node, network and namespace.",
                no_pool,
            ),
            ("ipam_release_counts", "DELs.", calls(Verb::Del, &[false, true])),
            ("ipam_release_failure_counts", "DELs that failed.", calls(Verb::Del, &[true])),
        ] {
            if !self.measured.is_empty() {
                let name = format!("spiderpool_{name}");
                text.family(&name, Type::Counter, help);
                text.sample(&name, &[], value);
            }
        }
    }
}

fn pools(contents: &Contents, text: &mut Exposition) {
    let fences: Vec<_> = contents.reserved.iter().filter(|it| gone_since(it).is_some()).collect();
    // The same counts as of `ipamctl show pool`.
    let rests = left_of_rests(contents, &ipam_store::now());
    let occupancy =
        |pool: &Pool| Occupancy::new(pool, &contents.reserved, &contents.leases, &rests);
    let pools: Vec<(&PoolName, Occupancy)> =
        contents.pools.iter().map(|pool| (pool.name(), occupancy(pool))).collect();

    let name = "node_ipam_pool_addresses";
    let help =
        "Addresses of a pool by what became of them; those that somebody reserved are in none.";
    text.family(name, Type::Gauge, help);
    for (pool, occupancy) in &pools {
        let states = STATES.map(|state| (state.key(), occupancy.count(state)));
        for (state, count) in [("held", occupancy.held())].into_iter().chain(states) {
            text.sample(name, &[("pool", pool.as_str()), ("state", state)], count);
        }
    }
    let name = "node_ipam_sync_fences";
    text.family(
        name,
        Type::Gauge,
        "Reservations of addresses that the cloud does not tell any more.",
    );
    text.sample(name, &[], fences.len());

    let name = "spiderpool_total_ippool_counts";
    text.family(name, Type::Gauge, "Pools.");
    text.sample(name, &[], pools.len());
    let name = "spiderpool_debug_ippool_total_ip_counts";
    text.family(name, Type::Gauge, "Addresses of a pool.");
    for (pool, occupancy) in &pools {
        text.sample(name, &[("SpiderIPPool", pool.as_str())], occupancy.total());
    }
    let name = "spiderpool_debug_ippool_available_ip_counts";
    let help = "Addresses of a pool that nobody holds, without those that sync has fenced.";
    text.family(name, Type::Gauge, help);
    for (pool, occupancy) in &pools {
        let taken = occupancy.held().saturating_add(occupancy.count(State::Fenced));
        let available = occupancy.total().saturating_sub(taken);
        text.sample(name, &[("SpiderIPPool", pool.as_str())], available);
    }
}

/// Nanoseconds as seconds, exactly.
fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        for (nanos, expected) in
            [(0, "0"), (10_000, "0.00001"), (2_500_000_000, "2.5"), (10_000_000_000, "10")]
        {
            assert_eq!(seconds(nanos), expected);
        }
    }
}
