//! Whether somebody else has an address that a pod is about to get, on a real ipvlan kernel. As
//! root.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::deployment::{Deployment, INTERFACE, PLUGIN, addresses};
use e2e::{
    Answer, Call, Capture, Cloud, Cluster, Lab, Meter, Node, Pod, PodSpec, Trace, plugin_dir, seed,
};
use serde_json::{Value, json};

/// For a frame that was sent to be shown.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the plugin allows itself for all questions of one ADD, in milliseconds.
const BUDGET_MS: f64 = 200.0;

/// An emulated machine with busy neighbours is that much slower.
const SLACK: f64 = 20.0;

/// Where the plugin remembers what a NIC's segment is like.
const SEGMENTS: &str = "/run/node-ipam/segments";

/// How many pods one NIC gets.
const MANY: u8 = 100;

/// The pools by their names: of one address, of two, and of many.
fn pools() -> String {
    let four = "subnet: 172.31.192.0/20\n  gateway: 172.31.207.253";
    let six = "subnet: fd00:172::/64\n  gateway: fd00:172::fd";
    let nobody = "subnet: 172.31.192.0/20\n  gateway: 172.31.207.252";
    let pools = [
        ("many", four, "172.31.200.1-172.31.200.100"),
        ("two", four, "172.31.201.1-172.31.201.2"),
        ("slow", four, "172.31.201.11-172.31.201.12"),
        ("one", four, "172.31.201.21"),
        ("free", four, "172.31.201.31-172.31.201.39"),
        ("several", four, "172.31.201.41-172.31.201.47"),
        ("lost", nobody, "172.31.201.51"),
        ("six", six, "fd00:172::201-fd00:172::202"),
    ];
    let document = |(name, subnet, ips)| {
        format!(
            "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\n\
             metadata: {{name: {name}}}\nspec:\n  {subnet}\n  ips: [\"{ips}\"]\n"
        )
    };
    pools.map(document).join("---\n")
}

/// Two nodes with one NIC each in one `VSwitch`. The first has the tests' pods.
fn cluster(cloud: Cloud) -> Cluster {
    let mut cluster = seed::services();
    cluster.cloud = cloud;
    cluster.nat = None;
    cluster.vswitches.truncate(1);
    cluster.nodes.truncate(2);
    for node in &mut cluster.nodes {
        node.nics.truncate(1);
    }
    cluster.nodes[0].nics[0].secondary =
        (1..=MANY).map(|last| IpAddr::from([172, 31, 200, last])).collect();
    cluster
}

/// A node and its neighbour, both on one segment.
struct Segment<'lab> {
    lab: &'lab Lab,
    deployment: Deployment<'lab>,
    node: &'lab Node,
    neighbour: &'lab Node,
}

/// A configuration of [`PLUGIN`], as far as it differs.
#[derive(Clone, Copy)]
struct Wish {
    detect: &'static str,
    gateway: bool,
    pool: &'static str,
}

impl Wish {
    fn new(detect: &'static str, pool: &'static str) -> Self {
        Self { detect, gateway: false, pool }
    }

    fn with_gateway(self) -> Self {
        Self { gateway: true, ..self }
    }

    fn write(self, configuration: &mut Value) {
        configuration["detect"] = json!(self.detect);
        configuration["detectGateway"] = json!(self.gateway);
        configuration["debug"] = json!(true);
        configuration["ipam"]["cooldownSeconds"] = json!(0);
        let family = if self.pool == "six" { "ipv6" } else { "ipv4" };
        configuration["ipam"][format!("default_{family}_ippool")] = json!([self.pool]);
    }
}

impl<'lab> Segment<'lab> {
    fn start(lab: &'lab Lab) -> Result<Self> {
        let deployment = Deployment::start(lab, &pools())?;
        let segment =
            Self { lab, deployment, node: lab.node("master")?, neighbour: lab.node("worker")? };
        // Another lab's node may have had this one's number.
        for file in segment.remembered()? {
            fs::remove_file(file)?;
        }
        Ok(segment)
    }

    fn pods(&self, prefix: &str, count: u8) -> Result<Vec<Pod>> {
        let name = |number| format!("{prefix}{number}");
        let spec = |number| PodSpec::new("default", &name(number), "master", seed::IPVLAN_ETH0);
        self.lab.run_pods(&(0..count).map(spec).collect::<Vec<_>>())
    }

    fn pod(&self, name: &str) -> Result<Pod> {
        self.pods(name, 1)?.pop().context("one pod")
    }

    fn add(&self, pod: &Pod, wish: Wish) -> Result<Answer> {
        self.deployment.call("ADD", pod, |configuration| wish.write(configuration))
    }

    fn del(&self, pod: &Pod, wish: Wish) -> Result<()> {
        self.deployment.call("DEL", pod, |configuration| wish.write(configuration))?.success()?;
        Ok(())
    }

    /// An ADD that must fail with code 11, and without a trace; its error object.
    fn refused(&self, pod: &Pod, wish: Wish) -> Result<(Answer, String)> {
        let before = Trace::of(self.lab, &self.deployment, pod)?;
        let answer = self.add(pod, wish)?;
        assert_eq!(answer.error_code(), Some(11), "{answer:?}");
        let after = Trace::of(self.lab, &self.deployment, pod)?;
        assert_eq!(before.changes(&after), Vec::<String>::new());
        let object = answer.json.as_ref().context("an error object")?.to_string();
        Ok((answer, object))
    }

    /// The NIC's other end says that it has this address.
    fn neighbour_has(&self, address: &str) -> Result<()> {
        self.neighbour.ip(&format!("address add {address} dev eth0 nodad\n"))
    }

    fn neighbours_mac(&self) -> String {
        self.neighbour.spec().nics[0].mac.to_string()
    }

    /// Who rests in quarantine, and for how many seconds.
    fn quarantine(&self) -> Result<Vec<(String, u64)>> {
        let export = self.deployment.ipamctl(&["master"], &["export"])?.success()?;
        let export: Value = serde_json::from_str(&export)?;
        let rests = export["rests"].as_array().context("rests")?;
        let quarantined = rests.iter().filter(|rest| !rest["reason"]["quarantine"].is_null());
        let one = |rest: &Value| {
            let seconds = |field: &str| rest[field].as_u64().context("a moment");
            let address = rest["address"].as_str().context("an address")?.to_owned();
            Ok((address, seconds("untilSeconds")? - seconds("sinceSeconds")?))
        };
        quarantined.map(one).collect()
    }

    /// The files in which the plugin has what it knows of this node's NIC.
    fn remembered(&self) -> Result<Vec<PathBuf>> {
        let Ok(folder) = fs::read_dir(SEGMENTS) else { return Ok(Vec::new()) };
        let prefix = format!("{}-", fs::metadata(self.node.path())?.ino());
        let mut files = Vec::new();
        for entry in folder {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    /// Counts the questions that leave the node's NIC: not what pods announce, nor what the
    /// neighbour asks.
    fn questions(&self) -> Result<Meter<'lab>> {
        let own = self.node.spec().nics[0].primary;
        let question = format!("arp operation request arp saddr ip {{ 0.0.0.0, {own} }}");
        Meter::start(self.node, &["eth0"], &question)
    }
}

fn sent(meter: &Meter<'_>) -> Result<u64> {
    Ok(meter.passed()?.get("eth0").context("a counter")?.sent)
}

/// How long an ADD asked the segment, in milliseconds; `None` if it has no such phase.
fn detect_ms(answer: &Answer) -> Result<Option<f64>> {
    let stderr = &answer.outcome.stderr;
    let phases = stderr.lines().find(|line| line.contains("phases:")).context("phases")?;
    let Some((_, rest)) = phases.split_once(", detect ") else { return Ok(None) };
    let (figure, _) = rest.split_once(" ms").context("a figure")?;
    Ok(Some(figure.parse()?))
}

/// The same of an ADD that must have asked, and not for too long; printed.
fn asked_within_budget(what: &str, answer: &Answer) -> Result<()> {
    let took = detect_ms(answer)?.with_context(|| format!("{answer:?}"))?;
    eprintln!("{what}: the segment was asked for {took:.1} ms");
    ensure!(took < BUDGET_MS * SLACK, "{what}: {took} ms");
    Ok(())
}

#[test]
fn on_a_proxied_segment_only_a_second_owner_is_a_conflict() -> Result<()> {
    let lab = Lab::start(&cluster(Cloud::default()))?;
    let segment = Segment::start(&lab)?;
    a_hundred_pods_have_no_false_conflict(&segment)?;
    a_gateway_that_nobody_has_is_no_failure_behind_a_proxy(&segment)?;
    an_owner_beside_the_proxy_is_found_if_asked_for(&segment)
}

fn a_hundred_pods_have_no_false_conflict(segment: &Segment<'_>) -> Result<()> {
    let pods = segment.pods("many", MANY)?;
    assert_eq!(segment.remembered()?, Vec::<PathBuf>::new());
    // After the first, `auto` asks nothing that could be answered in a wrong way.
    for (detect, count) in [("auto", 20), ("arp", pods.len())] {
        let (wish, mut given, mut took) = (Wish::new(detect, "many"), BTreeSet::new(), Vec::new());
        let meter = segment.questions()?;
        let mut of_first = 0;
        for pod in &pods[..count] {
            let answer = segment.add(pod, wish)?;
            given.extend(addresses(&answer)?);
            let said = &answer.outcome.stderr;
            assert!(said.lines().count() == 1 && said.contains("phases:"), "{said}");
            took.extend(detect_ms(&answer)?);
            if given.len() == 1 {
                of_first = sent(&meter)?;
                let file = segment.remembered()?.pop().context("what was found is remembered")?;
                let text = fs::read_to_string(file)?;
                assert!(text.contains(r#""proxy":"ee:ff:ff:ff:ff:ff""#), "{text}");
            }
        }
        assert_eq!(given.len(), count);
        assert_eq!(segment.quarantine()?, []);
        let all = sent(&meter)?;
        took.sort_by(f64::total_cmp);
        let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
        eprintln!(
            "detect {detect}, {count} pods: {all} questions, {of_first} of the first; asked for \
             {median:.1} ms, at most {longest:.1} ms"
        );
        match detect {
            "auto" => assert_eq!((of_first > 0, all), (true, of_first), "asked once for all"),
            _ => assert!(all >= 3 * u64::from(MANY), "asked for each: {all}"),
        }
        if detect == "auto" {
            pods[..count].iter().try_for_each(|pod| segment.del(pod, wish))?;
        }
    }
    Ok(())
}

fn a_gateway_that_nobody_has_is_no_failure_behind_a_proxy(segment: &Segment<'_>) -> Result<()> {
    let pod = segment.pod("gateway")?;
    for detect in ["off", "auto", "arp"] {
        let wish = Wish::new(detect, "lost").with_gateway();
        segment.add(&pod, wish)?.success()?;
        segment.del(&pod, wish)?;
    }
    Ok(())
}

/// No cloud lets its customer's answers through beside its own; a private one may.
fn an_owner_beside_the_proxy_is_found_if_asked_for(segment: &Segment<'_>) -> Result<()> {
    let vpc = segment.lab.vpc().namespace();
    vpc.bridge("link set dev worker-eth0 bcast_flood on\n")?;
    vpc.nft("insert rule bridge vpc prerouting ether type arp arp operation reply accept\n")?;
    segment.neighbour_has("172.31.201.1/32")?;
    let pod = segment.pod("beside")?;
    let auto = Wish::new("auto", "two");
    assert_eq!(addresses(&segment.add(&pod, auto)?)?, ["172.31.201.1"], "auto does not look");
    segment.del(&pod, auto)?;

    let mac = segment.neighbours_mac();
    let mut replies = Capture::start(segment.node, "eth0", "arp and arp[6:2] = 2")?;
    let arp = Wish::new("arp", "two");
    let answer = segment.add(&pod, arp)?;
    for mac in ["ee:ff:ff:ff:ff:ff", &mac] {
        replies.wait_for(&["Reply 172.31.201.1 is-at", mac], PATIENCE)?;
    }
    assert_eq!(addresses(&answer)?, ["172.31.201.2"], "{answer:?}");
    let said = &answer.outcome.stderr;
    assert!(said.contains(&format!("172.31.201.1 is in use: {mac} answers")), "{said}");
    assert_eq!(segment.quarantine()?, [("172.31.201.1".to_owned(), 60)]);
    asked_within_budget("two replies", &answer)
}

#[test]
fn on_a_plain_segment_whoever_has_the_address_is_found() -> Result<()> {
    let lab = Lab::start(&cluster(Cloud::PLAIN))?;
    let segment = Segment::start(&lab)?;
    without_detect_nobody_is_asked(&segment)?;
    a_second_owner_is_stepped_over(&segment)?;
    an_ipv6_owner_is_stepped_over(&segment)?;
    the_only_address_is_error_11_and_works_once_its_owner_is_gone(&segment)?;
    too_many_owners_are_error_11_before_time_is_up(&segment)?;
    an_owner_who_takes_his_time_is_found(&segment)?;
    a_gateway_is_missed_where_it_is_wanted(&segment)?;
    a_plugin_that_may_not_ask_says_so_and_goes_on(&segment)?;
    a_master_that_is_down_is_refused_before_anybody_is_asked(&segment)
}

fn without_detect_nobody_is_asked(segment: &Segment<'_>) -> Result<()> {
    let (pod, meter) = (segment.pod("free")?, segment.questions()?);
    // Two impossible addresses twice, then the pod's and the gateway three times each.
    for (detect, expected) in [("off", 0), ("arp", 4 + 3 + 3)] {
        let wish = Wish::new(detect, "free");
        let answer = segment.add(&pod, wish)?;
        answer.success()?;
        segment.del(&pod, wish)?;
        assert_eq!(detect_ms(&answer)?.is_some(), detect == "arp");
        assert_eq!(sent(&meter)?, expected);
        if detect == "arp" {
            asked_within_budget("nobody has it", &answer)?;
        }
    }
    Ok(())
}

fn a_second_owner_is_stepped_over(segment: &Segment<'_>) -> Result<()> {
    segment.neighbour_has("172.31.201.1/32")?;
    let (pod, wish) = (segment.pod("second")?, Wish::new("auto", "two"));
    let answer = segment.add(&pod, wish)?;
    assert_eq!(addresses(&answer)?, ["172.31.201.2"], "{answer:?}");
    let said = &answer.outcome.stderr;
    let mac = segment.neighbours_mac();
    let expected =
        format!("cni-ipvlan: 172.31.201.1 is in use: {mac} answers for it on the segment\n");
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(segment.quarantine()?, [("172.31.201.1".to_owned(), 60)]);
    let leases = segment.deployment.leases("master")?;
    assert_eq!(leases.len(), 1, "{leases:?}");
    asked_within_budget("a second owner, and the next address", &answer)?;
    segment.del(&pod, wish)
}

fn an_ipv6_owner_is_stepped_over(segment: &Segment<'_>) -> Result<()> {
    segment.neighbour_has("fd00:172::201/128")?;
    let (pod, wish) = (segment.pod("six")?, Wish::new("auto", "six").with_gateway());
    let answer = segment.add(&pod, wish)?;
    assert_eq!(addresses(&answer)?, ["fd00:172::202"], "{answer:?}");
    let said = &answer.outcome.stderr;
    let mac = segment.neighbours_mac();
    assert!(said.contains(&format!("fd00:172::201 is in use: {mac} answers")), "{said}");
    asked_within_budget("an IPv6 owner, and the next address", &answer)?;
    segment.del(&pod, wish)
}

fn the_only_address_is_error_11_and_works_once_its_owner_is_gone(
    segment: &Segment<'_>,
) -> Result<()> {
    segment.neighbour_has("172.31.201.21/32")?;
    let (pod, wish) = (segment.pod("only")?, Wish::new("arp", "one"));
    let (answer, object) = segment.refused(&pod, wish)?;
    assert!(object.contains("172.31.201.21 is free in the pools, but in use:"), "{object}");
    assert!(object.contains(&segment.neighbours_mac()), "{object}");
    asked_within_budget("the only address has an owner", &answer)?;
    // Named, and asked about again by the next ADD.
    let expected = ("172.31.201.21".to_owned(), 0);
    assert!(segment.quarantine()?.contains(&expected), "{:?}", segment.quarantine()?);
    segment.refused(&pod, wish)?;
    segment.neighbour.ip("address del 172.31.201.21/32 dev eth0\n")?;
    assert_eq!(addresses(&segment.add(&pod, wish)?)?, ["172.31.201.21"]);
    segment.del(&pod, wish)
}

/// Each costs 50 ms at least, of 200, and none is given that was asked about for less.
fn too_many_owners_are_error_11_before_time_is_up(segment: &Segment<'_>) -> Result<()> {
    for last in 41..=47 {
        segment.neighbour_has(&format!("172.31.201.{last}/32"))?;
    }
    let (pod, wish) = (segment.pod("several")?, Wish::new("auto", "several"));
    let (answer, _) = segment.refused(&pod, wish)?;
    asked_within_budget("every address has an owner", &answer)?;
    let resting = segment.quarantine()?;
    let of_pool =
        |(address, seconds): &&(String, u64)| address.starts_with("172.31.201.4") && *seconds == 60;
    let stepped_over = resting.iter().filter(of_pool).count();
    eprintln!("{stepped_over} addresses in use, then error 11");
    assert!((1..=4).contains(&stepped_over), "{resting:?}");
    Ok(())
}

fn an_owner_who_takes_his_time_is_found(segment: &Segment<'_>) -> Result<()> {
    segment.neighbour_has("172.31.201.11/32")?;
    let late = segment.neighbour;
    late.run(["tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "80ms"])?.success()?;
    let (pod, wish) = (segment.pod("slow")?, Wish::new("auto", "slow"));
    let answer = segment.add(&pod, wish)?;
    late.run(["tc", "qdisc", "del", "dev", "eth0", "root"])?.success()?;
    assert_eq!(addresses(&answer)?, ["172.31.201.12"], "{answer:?}");
    asked_within_budget("an owner who answers after 80 ms, and the next address", &answer)?;
    segment.del(&pod, wish)
}

fn a_gateway_is_missed_where_it_is_wanted(segment: &Segment<'_>) -> Result<()> {
    let pod = segment.pod("gateway")?;
    for detect in ["off", "auto"] {
        let wish = Wish::new(detect, "free").with_gateway();
        let answer = segment.add(&pod, wish)?;
        answer.success()?;
        segment.del(&pod, wish)?;
        asked_within_budget(&format!("the gateway, with detect {detect}"), &answer)?;
    }
    let vpc = segment.lab.vpc().namespace();
    vpc.ip("address del 172.31.207.253/20 dev vsw0\n")?;
    for detect in ["off", "auto"] {
        let wish = Wish::new(detect, "free");
        segment.add(&pod, wish)?.success()?;
        segment.del(&pod, wish)?;
        let (answer, object) = segment.refused(&pod, wish.with_gateway())?;
        assert!(object.contains("gateway 172.31.207.253 does not answer on eth0"), "{object}");
        asked_within_budget(&format!("no gateway, with detect {detect}"), &answer)?;
    }
    vpc.ip("address add 172.31.207.253/20 dev vsw0\n")
}

fn a_plugin_that_may_not_ask_says_so_and_goes_on(segment: &Segment<'_>) -> Result<()> {
    let folder = segment.lab.data_dir().join("without-net-raw");
    fs::create_dir(&folder)?;
    let (unprivileged, plugin) = (folder.join(PLUGIN), plugin_dir()?.join(PLUGIN));
    let plugin = plugin.display();
    fs::write(
        &unprivileged,
        format!("#!/bin/sh\nexec setpriv --bounding-set -net_raw {plugin}\n"),
    )?;
    fs::set_permissions(&unprivileged, fs::Permissions::from_mode(0o755))?;
    let (pod, wish) = (segment.pod("raw")?, Wish::new("arp", "free").with_gateway());
    let mut configuration = segment.deployment.configuration_of(&pod)?;
    wish.write(&mut configuration);
    let call = Call::of("ADD", PLUGIN, &configuration.to_string(), &pod, INTERFACE);
    let answer = segment.node.runtime()?.with_plugin_dir(folder).start(&call)?.wait()?;
    assert_eq!(addresses(&answer)?.len(), 1, "{answer:?}");
    let said = &answer.outcome.stderr;
    assert!(said.contains("packet socket on eth0"), "{said}");
    eprintln!("{}", said.lines().next().context("a warning")?);
    segment.del(&pod, wish)
}

fn a_master_that_is_down_is_refused_before_anybody_is_asked(segment: &Segment<'_>) -> Result<()> {
    segment.node.ip("link set eth0 down\n")?;
    let (_, object) = segment.refused(&segment.pod("down")?, Wish::new("arp", "free"))?;
    assert!(object.contains("master eth0 is down"), "{object}");
    Ok(())
}
