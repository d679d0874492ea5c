//! A node with a few pools, and who asks there.

use std::convert::Infallible;

use ipam_core::{
    Asker, Attachment, Book, Decision, Demand, Lease, Moment, NotDecided, PodRef, Policy, Pool,
    PoolSpec, Refused, Stamp, Strategy, decide,
};

pub(crate) struct Node {
    pub(crate) pools: Vec<Pool>,
    pub(crate) policy: Policy,
    /// In seconds.
    pub(crate) now: u64,
    pub(crate) book: Book,
}

impl Node {
    /// Released addresses are free at once, unless a test sets it otherwise.
    pub(crate) fn new(pools: impl Into<Vec<Pool>>) -> Self {
        let pools = pools.into();
        let policy = Policy { cooldown_seconds: 0, ..Policy::default() };
        Self { book: Book::new(&pools), pools, policy, now: 1000 }
    }

    pub(crate) fn with(pools: impl Into<Vec<Pool>>, strategy: Strategy, cooldown: u64) -> Self {
        let mut node = Self::new(pools);
        node.policy.strategy = strategy;
        node.policy.cooldown_seconds = cooldown;
        node
    }

    pub(crate) fn change_pools(&mut self, pools: impl Into<Vec<Pool>>) {
        self.pools = pools.into();
        self.book.put_pools(&self.pools);
    }

    pub(crate) fn decide(&self, demands: &[Demand]) -> Result<Decision<'_>, Box<Refused>> {
        let answer = decide(demands, &self.pools, &self.policy, Moment(self.now), &self.book);
        answer.map_err(|error: NotDecided<Infallible>| match error {
            NotDecided::Refused(refused) => refused,
            NotDecided::Ledger(impossible) => match impossible {},
        })
    }

    /// Decides and writes it down; the addresses in the order of the grants.
    pub(crate) fn try_add(&mut self, demands: &[Demand]) -> Result<Vec<String>, Box<Refused>> {
        let answer = decide(demands, &self.pools, &self.policy, Moment(self.now), &self.book);
        let decision = match answer {
            Ok(decision) => decision,
            Err(NotDecided::Refused(refused)) => return Err(refused),
            Err(NotDecided::Ledger(impossible)) => match impossible {},
        };
        let leases = self.book.write(demands, &decision, None, &Stamp::default());
        Ok(leases.iter().map(|lease| lease.address.to_string()).collect())
    }

    /// The only address of a demand that can be met.
    pub(crate) fn add(&mut self, demand: Demand) -> String {
        let mut addresses = self.try_add(&[demand]).unwrap();
        assert_eq!(addresses.len(), 1, "{addresses:?}");
        addresses.remove(0)
    }

    /// The text of the refusal.
    pub(crate) fn refusal(&self, demand: Demand) -> String {
        self.decide(&[demand]).unwrap_err().to_string()
    }

    pub(crate) fn del(&mut self, attachment: &Attachment) -> Vec<String> {
        let leases = self.book.release(attachment, &self.policy, Moment(self.now));
        leases.iter().map(|lease| lease.address.to_string()).collect()
    }

    pub(crate) fn held(&self) -> Vec<String> {
        self.book.leases().map(|lease: &Lease| lease.address.to_string()).collect()
    }
}

/// A default pool for all: in 10.0.0.0/24, or in `fd00::/64` if it has such addresses.
pub(crate) fn pool(name: &str, ips: &str) -> Pool {
    pool_with(name, ips, |_| {})
}

pub(crate) fn pool_with(name: &str, ips: &str, change: impl FnOnce(&mut PoolSpec)) -> Pool {
    let subnet = if ips.contains(':') { "fd00::/64" } else { "10.0.0.0/24" };
    let mut spec = PoolSpec {
        subnet: subnet.into(),
        ips: ips.split(',').map(str::to_owned).collect(),
        default: Some(true),
        ..PoolSpec::default()
    };
    change(&mut spec);
    Pool::new(name, &spec).unwrap()
}

pub(crate) fn attachment(container: &str, ifname: &str) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: ifname.parse().unwrap(),
    }
}

/// The eth0 of a sandbox of which no pod is known.
pub(crate) fn demand(container: &str) -> Demand {
    demand_of(container, "eth0", None)
}

/// The interface of a sandbox of a pod, given as name and uid.
pub(crate) fn demand_of(container: &str, ifname: &str, pod: Option<(&str, &str)>) -> Demand {
    let asker = Asker::new("node".parse().unwrap(), "net".parse().unwrap());
    let mut demand = Demand::new(attachment(container, ifname), asker);
    demand.pod = pod.map(|(name, uid)| PodRef {
        namespace: "default".into(),
        name: name.into(),
        uid: Some(uid.into()),
    });
    demand
}

pub(crate) fn requesting(container: &str, addresses: &[&str]) -> Demand {
    let mut demand = demand(container);
    demand.requested = addresses.iter().map(|address| address.parse().unwrap()).collect();
    demand
}
