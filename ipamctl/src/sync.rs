//! `ipamctl sync`: pools from what the cloud gave to this node's NICs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cloud::{Provider, ProviderName};
use ipam_store::{Contents, Error, Revision, Store};
use serde_json::{Value, json};

use crate::answer::{Answer, Kind};
use crate::apply::in_use;
use crate::evidence::Sources;
use crate::exit::Exit;
use crate::holder;
use crate::plain;
use crate::progress::Progress;

mod fence;
mod plan;
mod report;
mod settings;
mod wanted;

pub(crate) use fence::gone_since;
use plan::{Plan, Rules, plan};
use settings::Settings;
use wanted::{Node, Wanted, wanted};

/// What the verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Options {
    /// Whose machine this is: `auto`, `alibaba` or `aws`.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,

    /// Another metadata service than the provider's own: `http://ADDRESS[:PORT]`.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// The network that uses a NIC, which is named by MAC, the cloud's id, or its link. May be given
    /// several times. `kube-system/ipvlan-LINK` without it.
    #[arg(long = "network", value_name = "NIC=NAMESPACE/NAME")]
    networks: Vec<String>,

    /// A file with these settings; /etc/node-ipam/sync.yaml without it, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// This node as pods name it; the host name in lower case without it.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,

    /// An address that the cloud does not give any more is removed when a reading that is younger
    /// by so much agrees, and nobody holds it; 60 without it.
    #[arg(long, value_name = "SECONDS")]
    confirm_seconds: Option<u64>,

    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// Remove pools too of which the cloud does not give a single address any more.
    #[arg(long)]
    prune: bool,

    /// Do it again and again, with so much time between. Only changes and faults are said, and
    /// faults do not end it.
    #[arg(
        long,
        value_name = "SECONDS",
        conflicts_with = "dry_run",
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    watch: Option<u64>,

    /// How long the metadata service may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    deadline: u64,

    /// Do not look for added addresses that are in use on this node already.
    #[arg(long)]
    no_node_scan: bool,

    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    answer: Answer,
}

pub(crate) fn run(store: &Store, options: &Options, out: &mut dyn Write) -> Result<ExitCode> {
    let settings = Settings::new(options)?;
    let progress = Progress::of("looking for the metadata service");
    let provider = connect(options, &settings);
    drop(progress);
    let Some(seconds) = options.watch else {
        let round = round(store, options, &settings, provider?.as_ref())?;
        options.answer.give(Kind::Synchronization, || round.fields(options.dry_run), out)?;
        return round.tell(options.answer, out).map(ExitCode::from);
    };
    let mut provider = provider;
    let mut last: Option<Round> = None;
    loop {
        let outcome = match &provider {
            Ok(provider) => round(store, options, &settings, provider.as_ref()).and_then(|round| {
                let is_news = last.as_ref().is_none_or(|last| round.is_news_after(last));
                // Who reads objects is told of each round, also that nothing came of it.
                let fields = || round.fields(options.dry_run);
                let given = options.answer.give_next(Kind::Synchronization, fields, out);
                let told = if is_news {
                    given.and_then(|()| round.tell(options.answer, out)).map(drop)
                } else {
                    given
                };
                last = Some(round);
                told
            }),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        match outcome {
            Ok(()) => {}
            // Nobody reads what is said any more.
            Err(error) if crate::is_closed_pipe(&error) => return Err(error),
            Err(error) => writeln!(plain::stderr(), "ipamctl: {error:#}")?,
        }
        out.flush()?;
        thread::sleep(Duration::from_secs(seconds));
        // A machine that was only starting may answer now.
        if provider.is_err() {
            provider = connect(options, &settings);
        }
    }
}

fn connect(options: &Options, settings: &Settings) -> Result<Box<dyn Provider>> {
    let asked = cloud::Options::default()
        .with_endpoint(settings.endpoint)
        .with_deadline(Duration::from_secs(options.deadline));
    match settings.provider {
        Some(name) => Ok(cloud::connect(name, &asked)),
        None => Ok(cloud::detect(&asked)?),
    }
}

/// One reading, and what it changed.
struct Round {
    plan: Plan,
    notes: Vec<String>,
    /// Whose reading it is, and how many NICs it has.
    provider: ProviderName,
    nics: usize,
    rules: Rules,
}

fn round(
    store: &Store,
    options: &Options,
    settings: &Settings,
    provider: &dyn Provider,
) -> Result<Round> {
    let progress = Progress::of("waiting for the metadata service");
    let reading = provider.read().context("nothing was changed")?;
    drop(progress);
    let (wanted, notes) = wanted(&reading, settings, &Node::look()?)?;
    let rules = Rules {
        node: settings.node.clone(),
        now_unix_seconds: ipam_store::now().unix_seconds,
        confirm: settings.confirm,
        prune: options.prune,
    };
    let plan = if options.dry_run {
        plan(&wanted, &stored(store)?, &rules)?
    } else {
        revise(store, options, &wanted, &rules)?
    };
    Ok(Round { plan, notes, provider: reading.provider, nics: reading.nics.len(), rules })
}

/// Plans on what is stored, and writes the plan in the same transaction.
fn revise(store: &Store, options: &Options, wanted: &[Wanted], rules: &Rules) -> Result<Plan> {
    // What lives on the node is looked for before, without holding anything.
    let in_use = if options.no_node_scan {
        Vec::new()
    } else {
        let preview = plan(wanted, &stored(store)?, rules)?;
        in_use(store, &options.sources, &preview.revision.put)?
    };
    let mut made = Ok(Plan::default());
    let outcome = store.revise(
        |contents| {
            made = plan(wanted, contents, rules);
            made.as_ref().map(|plan| plan.revision.clone()).unwrap_or_default()
        },
        &in_use,
    );
    let plan = made?;
    outcome.context("nothing was changed")?;
    Ok(plan)
}

/// What is stored; nothing where nothing ever was.
fn stored(store: &Store) -> Result<Contents> {
    match store.contents() {
        Err(Error::Missing { .. }) => Ok(Contents::default()),
        other => Ok(other?),
    }
}

impl Round {
    /// Whether there is more to say than there was after an earlier round.
    fn is_news_after(&self, earlier: &Self) -> bool {
        self.plan.revision != Revision::default()
            || self.plan.conflicts != earlier.plan.conflicts
            || self.notes != earlier.notes
    }

    /// What was done, for programs.
    fn fields(&self, dry_run: bool) -> Value {
        let Self { plan, notes, provider, nics, rules } = self;
        json!({
            "dryRun": dry_run,
            "provider": provider.to_string(),
            "nics": nics,
            "atUnixSeconds": rules.now_unix_seconds,
            "pools": plan.pools.iter().map(report::object).collect::<Vec<_>>(),
            "conflicts": plan.conflicts,
            "notes": notes,
        })
    }

    /// Says what was done. Answers the exit code.
    fn tell(&self, answer: Answer, out: &mut dyn Write) -> Result<Exit> {
        let Self { plan, notes, provider, nics, rules } = self;
        if answer.is_text() {
            if plan.pools.is_empty() && plan.conflicts.is_empty() {
                writeln!(out, "{provider}: {nics} NICs, no address for pods")?;
            }
            report::write(plan, rules.confirm, rules.now_unix_seconds, out)?;
        }
        for line in notes.iter().chain(&plan.conflicts) {
            writeln!(plain::stderr(), "ipamctl: {line}")?;
        }
        let fenced = plan.pools.iter().flat_map(|pool| &pool.fenced);
        let mut is_held = false;
        for lease in fenced.filter_map(|fenced| fenced.holder.as_ref()) {
            is_held = true;
            writeln!(
                plain::stderr(),
                "ipamctl: {} is held by {} and is not for pods of this NIC any more: no frame \
                 reaches it; start the pod anew",
                lease.address,
                holder::of(lease)
            )?;
        }
        Ok(match (plan.conflicts.is_empty(), is_held) {
            (false, _) => Exit::Found,
            (true, true) => Exit::Held,
            (true, false) => Exit::Done,
        })
    }
}

#[cfg(fuzzing)]
pub(crate) fn fuzzing_settings(file: &std::path::Path) -> Result<String> {
    let options = Options { config: Some(file.to_path_buf()), ..Options::default() };
    Ok(format!("{:?}", Settings::new(&options)?))
}

#[cfg(fuzzing)]
pub(crate) fn fuzzing_proposed(
    reading: &cloud::Reading,
    own: &ipam_core::RangeSet,
) -> Result<ipam_core::RangeSet> {
    let settings = Settings::new(&Options::default())?;
    let node = Node { links: Vec::new(), own: own.clone() };
    let (mut wanted, _) = wanted(reading, &settings, &node)?;
    for wanted in &mut wanted {
        wanted.network = Some("kube-system/net".parse()?);
    }
    let rules = Rules {
        node: "n".parse()?,
        now_unix_seconds: 1_700_000_000,
        confirm: Duration::from_secs(60),
        prune: false,
    };
    let plan = plan(&wanted, &Contents::default(), &rules)?;
    let pools = plan.revision.put.pools.iter().map(ipam_core::Pool::claimed);
    Ok(pools.fold(ipam_core::RangeSet::new(), |all, pool| all.union(&pool)))
}
