//! Looks at the node; nothing is changed, but that the database's lock is taken for a moment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cni_net::{Census, CensusOptions, OpenFiles};
use ipam_core::Lease;
use ipam_store::{Error, Store};

use super::configurations;
use super::examined::{Database, Examined, Networkd, Nic, NoDatabase, Place, PoolFound, Presence};
use super::{Doctor, plugins};
use crate::sync::gone_since;

/// Each module, and the setting of the kernel's configuration that it comes of.
const MODULES: [(&str, &str); 5] = [
    ("ipvlan", "CONFIG_IPVLAN"),
    ("veth", "CONFIG_VETH"),
    ("nf_tables", "CONFIG_NF_TABLES"),
    ("nft_ct", "CONFIG_NFT_CT"),
    ("nf_conntrack", "CONFIG_NF_CONNTRACK"),
];
const SYSCTLS: [&str; 4] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
];
const PLUGINS: [&str; 3] = telemetry::PLUGINS;
/// For looking at every namespace of the node.
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn examine(store: &Store, options: &Doctor) -> Examined {
    let root = Root(&options.root);
    let is_here = options.root == Path::new("/");
    let kernel = root.text("proc/sys/kernel/osrelease");
    let net_dir = root.at(&options.net_dir);
    let (configurations, broken_files) = configurations::read(&net_dir);
    let host_name = || root.text("proc/sys/kernel/hostname").map(|name| name.to_lowercase());
    let leases = store.contents().map(|contents| contents.leases).unwrap_or_default();
    let mut places: Vec<PathBuf> = [
        store.directory().to_path_buf(),
        store.directory().join("ipam.redb"),
        store.directory().join("lock"),
        root.at("run/node-ipam"),
    ]
    .into();
    places
        .extend(configurations.iter().filter_map(|it| it.log_file.as_ref()).map(|it| root.at(it)));
    places.sort();
    places.dedup();
    let directories: Vec<_> = options.cni_path.iter().map(|it| root.at(it)).collect();
    Examined {
        modules: root.modules(kernel.as_deref().unwrap_or_default()),
        sysctls: SYSCTLS.map(|key| (key, root.text(Path::new("proc/sys").join(key)))).into(),
        networkd: root.networkd(),
        random_mac_files: root.random_mac_files(),
        network_manager_spares_veths: root.network_manager(),
        own_version: env!("CARGO_PKG_VERSION"),
        plugins: PLUGINS.map(|name| (name, plugins::find(name, &directories))).into(),
        places: places.iter().filter_map(|path| place(path)).collect(),
        nics: root.nics(),
        node: options.node_name.clone().or_else(host_name),
        database: Some(database(store)),
        dead_leases: is_here.then(|| dead(&leases)),
        has_boot_id: root.text("proc/sys/kernel/random/boot_id").is_some(),
        unix_seconds: ipam_store::now().unix_seconds,
        has_room: is_here.then(|| ipam_store::default_room().is_some()),
        kernel,
        configurations,
        broken_files,
    }
}

/// The directory below which the node's files are.
struct Root<'a>(&'a Path);

impl Root<'_> {
    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = fs::read_to_string(self.at(path)).ok()?;
        Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
    }

    fn modules(&self, kernel: &str) -> BTreeMap<&'static str, Presence> {
        let file = |name: &str| self.text(format!("lib/modules/{kernel}/{name}"));
        let (builtin, loadable) = (file("modules.builtin"), file("modules.dep"));
        let config = self.text(format!("boot/config-{kernel}")).or_else(|| self.running_config());
        let presence = |module: &str, setting: &str| {
            let is_listed = |list: &Option<String>| {
                let files = list.iter().flat_map(|list| list.lines());
                let names = files.map(|line| line.split(':').next().unwrap_or_default());
                let stem = |path: &str| {
                    let file = path.rsplit('/').next().unwrap_or_default();
                    file.split('.').next().unwrap_or_default().replace('-', "_")
                };
                names.map(stem).any(|name| name == module)
            };
            let states = |value: &str| {
                let line = format!("{setting}={value}");
                config.iter().any(|config| config.lines().any(|it| it == line))
            };
            if self.at(format!("sys/module/{module}")).exists()
                || is_listed(&builtin)
                || states("y")
            {
                Presence::There
            } else if is_listed(&loadable) {
                Presence::Loadable
            } else if loadable.is_some() || (config.is_some() && !states("m")) {
                Presence::Missing
            } else {
                Presence::Unknown
            }
        };
        MODULES.map(|(module, setting)| (module, presence(module, setting))).into()
    }

    /// The configuration of the kernel that runs, where it shows it.
    fn running_config(&self) -> Option<String> {
        let file = fs::File::open(self.at("proc/config.gz")).ok()?;
        let mut gzip = Command::new("gzip");
        gzip.arg("-dc").stdin(file).stderr(Stdio::null());
        let output = gzip.output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    }

    /// `None` unless it runs. A file in /etc counts before one of the same name in /run and
    /// /usr/lib, and what is later in the order of names counts (systemd.unit(5) as networkd.conf(5)
    /// says).
    fn networkd(&self) -> Option<Networkd> {
        self.at("run/systemd/netif").is_dir().then_some(())?;
        let mut found = Networkd { manages_routes: true, manages_rules: true };
        let main = self.text("etc/systemd/networkd.conf");
        let others = self.by_name(&["usr/lib", "run", "etc"], "systemd/networkd.conf.d", "conf");
        let others = others.into_iter().filter_map(|path| fs::read_to_string(path).ok());
        for text in main.into_iter().chain(others) {
            for (key, value) in settings_of(&text, "Network") {
                match key {
                    "ManageForeignRoutes" => found.manages_routes = is_true(value),
                    "ManageForeignRoutingPolicyRules" => found.manages_rules = is_true(value),
                    _ => {}
                }
            }
        }
        Some(found)
    }

    fn random_mac_files(&self) -> Vec<PathBuf> {
        let files = self.by_name(&["run", "etc"], "systemd/network", "link");
        let gives_another = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            settings_of(&text, "Link").any(|it| it == ("MACAddressPolicy", "random"))
        };
        files.into_iter().filter(gives_another).collect()
    }

    /// `None` unless it runs.
    fn network_manager(&self) -> Option<bool> {
        self.at("run/NetworkManager").is_dir().then_some(())?;
        let files = self.by_name(&["usr/lib", "run", "etc"], "NetworkManager/conf.d", "conf");
        let texts = files.iter().filter_map(|path| fs::read_to_string(path).ok());
        let texts = texts.chain(self.text("etc/NetworkManager/NetworkManager.conf"));
        let spares = |text: String| {
            text.lines().any(|line| {
                let line = line.trim();
                line.starts_with("unmanaged-devices") && line.contains("veth")
            })
        };
        Some(texts.into_iter().any(spares))
    }

    /// The files of a folder in several places, by name, each the last of its name.
    fn by_name(&self, places: &[&str], folder: &str, extension: &str) -> Vec<PathBuf> {
        let mut files = BTreeMap::new();
        for place in places {
            let directory = self.at(place).join(folder);
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|found| found == extension) {
                    files.insert(entry.file_name(), entry.path());
                }
            }
        }
        files.into_values().collect()
    }

    fn nics(&self) -> Vec<Nic> {
        let directory = self.at("sys/class/net");
        let mut nics = Vec::new();
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let text = |file: &str| self.text(format!("sys/class/net/{name}/{file}"));
            let Some(flags) = text("flags") else { continue };
            let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
            let port_of = fs::read_link(directory.join(&name).join("master")).ok();
            let port_of = port_of.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
            nics.push(Nic {
                mac: text("address").unwrap_or_default(),
                // IFF_UP of <linux/if.h>.
                up: flags & 1 == 1,
                mtu: text("mtu").and_then(|mtu| mtu.parse().ok()).unwrap_or(0),
                port_of,
                name,
            });
        }
        nics.sort_by(|one, other| one.name.cmp(&other.name));
        nics
    }
}

/// Keys and values of a section of systemd's files, without comments.
fn settings_of<'a>(text: &'a str, section: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut within = false;
    text.lines().map(str::trim).filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[') {
            within = name.strip_suffix(']') == Some(section);
        }
        let (key, value) = line.split_once('=').filter(|_| within && !line.starts_with('#'))?;
        Some((key.trim(), value.trim()))
    })
}

/// As systemd reads a boolean (systemd.syntax(7)).
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "yes" | "true" | "on")
}

fn place(path: &Path) -> Option<Place> {
    let found = fs::symlink_metadata(path).ok()?;
    Some(Place {
        path: path.to_path_buf(),
        mode: found.permissions().mode() & 0o7777,
        uid: found.uid(),
        is_link: found.is_symlink(),
        is_directory: found.is_dir(),
    })
}

fn database(store: &Store) -> Result<Database, NoDatabase> {
    let none = |error: Error| match error {
        Error::Missing { .. } => NoDatabase::NeverMade(error.to_string()),
        Error::Busy { .. } => NoDatabase::Busy(error.to_string()),
        error => NoDatabase::Unusable(error.to_string()),
    };
    let verdict = store.verify(false).map_err(none)?;
    if !verdict.faults.is_empty() {
        return Ok(Database { faults: verdict.faults, ..Database::default() });
    }
    let contents = store.contents().map_err(none)?;
    let counters = contents.counters();
    let found = contents.pools.iter().zip(&counters.pools);
    let pools = found.map(|(pool, counters)| {
        let counts = counters.counts;
        let taken = counts.held + counts.cooling + counts.quarantined + counts.sticky;
        PoolFound { pool: pool.clone(), size: counters.size, taken }
    });
    let fences: Vec<_> = contents.reserved.iter().filter(|it| gone_since(it).is_some()).collect();
    let is_fenced = |lease: &&Lease| fences.iter().any(|it| it.ips().contains(lease.address));
    Ok(Database {
        pools: pools.collect(),
        faults: Vec::new(),
        revision: contents.revision,
        leases: contents.leases.len(),
        held_fences: contents.leases.iter().filter(is_fenced).count(),
    })
}

fn dead(leases: &[Lease]) -> Result<usize, String> {
    let options =
        CensusOptions { open_files: OpenFiles::Readable, ..CensusOptions::within(DEADLINE) };
    let census = Census::take(&options);
    let whole = census.whole().map_err(ToString::to_string)?;
    let namespaces = cni_ipam::live_namespaces(whole);
    let is_dead = |lease: &&Lease| lease.netns.as_ref().is_some_and(|it| !namespaces.has(it));
    Ok(leases.iter().filter(is_dead).count())
}
