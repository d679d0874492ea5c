//! The lab: a description, running.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, panic, process, thread};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::carrier;
use crate::description::{Cluster, PodSpec};
use crate::namespace::{self, Namespace};
use crate::nat;
use crate::node::{self, Node};
use crate::orphan;
use crate::pod::{self, Pod};
use crate::step::{self, Step};
use crate::vpc::{self, Vpc};

/// What the names of all labs' namespaces begin with; the process's id follows.
pub(crate) const PREFIX: &str = "ipamlab";

/// Distinguishes the labs of one process.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The first lab of a process clears away what killed processes left.
static ORPHANS: Once = Once::new();

/// A running cluster in its VPC. Dropping it removes every namespace and file that it made.
#[derive(Debug)]
pub struct Lab {
    cluster: Cluster,
    prefix: String,
    vpc: Vpc,
    nat: Option<Namespace>,
    outside: Vec<Namespace>,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    data: TempDir,
}

impl Lab {
    /// Builds everything that the description names. Any number of labs can run side by side.
    /// A process's first lab removes the [orphans](crate::remove_orphans) of others before.
    ///
    /// # Errors
    ///
    /// The description cannot be built ([`Cluster::check`]), this is not root, `ip`, `bridge` or
    /// `nft` is missing or refuses a line, which the error shows. Nothing is left behind.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        cluster.check().context("the lab's description")?;
        ORPHANS.call_once(orphan::remove_and_say);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{}-{number}", process::id());
        let outside_specs = cluster.nat.iter().flat_map(|nat| &nat.outside);

        let mut names = vec![format!("{prefix}-vpc")];
        names.extend(cluster.nat.iter().map(|_| format!("{prefix}-nat")));
        names.extend(outside_specs.map(|host| format!("{prefix}-outside-{}", host.name)));
        names.extend(cluster.nodes.iter().map(|node| format!("{prefix}-node-{}", node.name)));
        names.extend(cluster.pods.iter().map(|spec| pod_name(&prefix, spec)));
        // An earlier process with this one's id may have been killed.
        names.iter().try_for_each(|name| namespace::delete(name))?;
        let mut made = Namespace::create(&names)?.into_iter();

        let vpc = made.next().context("the vpc's namespace is the first of those made")?;
        let nat: Option<Namespace> = made.by_ref().take(usize::from(cluster.nat.is_some())).next();
        let outside_count = cluster.nat.as_ref().map_or(0, |nat| nat.outside.len());
        let outside: Vec<_> = made.by_ref().take(outside_count).collect();
        let data = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let mut nodes = Vec::new();
        for (spec, namespace) in cluster.nodes.iter().zip(made.by_ref()) {
            let data_dir = data.path().join(&spec.name);
            fs::create_dir(&data_dir)?;
            nodes.push(Node::new(spec.clone(), namespace, data_dir));
        }
        let pods = cluster.pods.iter().zip(made);
        let pods = pods.map(|(spec, namespace)| Pod::new(spec.clone(), namespace)).collect();

        let vpc = Vpc::new(vpc, cluster);
        let cluster = cluster.clone();
        let lab = Self { cluster, prefix, vpc, nat, outside, nodes, pods, data };
        lab.set_up()?;
        Ok(lab)
    }

    /// What it was made from.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the names of all its namespaces begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The VPC: its counters and its namespace.
    pub fn vpc(&self) -> &Vpc {
        &self.vpc
    }

    /// The namespace of the NAT gateway; `None` if the description has none.
    pub fn nat(&self) -> Option<&Namespace> {
        self.nat.as_ref()
    }

    /// The nodes, in the order of the description.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The pods of the description, in its order.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// A directory for all nodes' files, removed with the lab.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The node with this name.
    ///
    /// # Errors
    ///
    /// It is not in the description.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.spec().name == name);
        node.with_context(|| format!("no node {name:?} in the lab's description"))
    }

    /// The pod of the description with this Kubernetes namespace and name.
    ///
    /// # Errors
    ///
    /// It is not in the description.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<&Pod> {
        let mut pods = self.pods.iter();
        pods.find(|pod| pod.spec().namespace == namespace && pod.spec().name == name)
            .with_context(|| format!("no pod {namespace}/{name} in the lab's description"))
    }

    /// The host outside with this name.
    ///
    /// # Errors
    ///
    /// It is not in the description.
    pub fn outside(&self, name: &str) -> Result<&Namespace> {
        let specs = self.cluster.nat.iter().flat_map(|nat| &nat.outside);
        let host = specs.zip(&self.outside).find(|(spec, _)| spec.name == name);
        let (_, namespace) =
            host.with_context(|| format!("no outside host {name:?} in the lab's description"))?;
        Ok(namespace)
    }

    /// Runs more pods. They are the caller's: dropping one removes it.
    ///
    /// # Errors
    ///
    /// A pod's node is not here, a pod of this name runs already, or a namespace could not be
    /// made. None of these pods is left behind.
    pub fn run_pods(&self, specs: &[PodSpec]) -> Result<Vec<Pod>> {
        for spec in specs {
            self.cluster.check_pod(spec)?;
        }
        let names: Vec<_> = specs.iter().map(|spec| pod_name(&self.prefix, spec)).collect();
        let namespaces = Namespace::create(&names)?;
        in_parallel(namespaces.iter().map(|namespace| vec![(namespace, pod::steps())]).collect())?;
        Ok(specs.iter().cloned().zip(namespaces).map(|(s, n)| Pod::new(s, n)).collect())
    }

    /// First the links of the VPC, since they end in the other namespaces; then all at once, but
    /// for the hosts outside, which wait for the NAT gateway's links.
    fn set_up(&self) -> Result<()> {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.name()).collect();
        let nat = self.nat.as_ref().map(Namespace::name);
        let vpc = self.vpc.namespace();
        step::perform(vpc, &vpc::link_steps(&self.cluster, &nodes, nat)?)?;
        let mut jobs = vec![vec![(vpc, vpc::steps(&self.cluster))]];
        if let (Some(namespace), Some(spec)) = (&self.nat, &self.cluster.nat) {
            let names: Vec<_> = self.outside.iter().map(Namespace::name).collect();
            let steps = nat::steps(spec, &self.cluster.vswitches, &names);
            let hosts = self.outside.iter().zip(spec.outside.iter().map(nat::outside_steps));
            jobs.push([(namespace, steps)].into_iter().chain(hosts).collect());
        }
        for node in &self.nodes {
            jobs.push(vec![(&**node, node::steps(&self.cluster, node.spec())?)]);
        }
        jobs.extend(self.pods.iter().map(|pod| vec![(&**pod, pod::steps())]));
        in_parallel(jobs)?;
        // The other ends of these links were set up second, and so carried at once.
        [vpc].into_iter().chain(&self.nat).try_for_each(carrier::wait)
    }
}

fn pod_name(prefix: &str, spec: &PodSpec) -> String {
    format!("{prefix}-pod-{}-{}", spec.namespace, spec.name)
}

/// Does all jobs at once, each namespace of a job after the one before it; the first error of all.
fn in_parallel(jobs: Vec<Vec<(&Namespace, Vec<Step>)>>) -> Result<()> {
    let perform = |job: Vec<(&Namespace, Vec<Step>)>| {
        job.iter().try_for_each(|(namespace, steps)| step::perform(namespace, steps))
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            jobs.into_iter().map(|job| scope.spawn(move || perform(job))).collect();
        let results: Vec<Result<()>> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect();
        results.into_iter().collect()
    })
}
