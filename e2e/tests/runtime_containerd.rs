//! containerd with its CRI plugin, on a real ipvlan kernel. As root.

use std::thread;

use anyhow::{Context, Result, ensure};
use e2e::runtimes::lease::{leased, leases};
use e2e::runtimes::setting::{self, GATEWAY_V4, GATEWAY_V6, NODE, OTHER_NODE};
use e2e::runtimes::{
    Addresses, Boot, Conflist, Containerd, Disk, Image, PodSandboxConfig, PortMapping, Recorder,
    Remains, recording,
};
use e2e::{Lab, seed};

const DUAL: Addresses = Addresses::Pools { v4: &["v4"], v6: &["v6"] };
const SECOND: Addresses = Addresses::Pools { v4: &["second"], v6: &[] };

/// What a container's `ip address` says, in lines of its addresses without link-local ones.
fn shown(containerd: &Containerd<'_>, container: &str, interface: &str) -> Result<Vec<String>> {
    let said = containerd.cri().exec(container, &["ip", "address", "show", "dev", interface])?;
    let lines = said.lines().map(str::trim).filter(|line| line.contains(" scope global"));
    let address = |line: &str| Some(line.split_whitespace().nth(1)?.split_once('/')?.0.to_owned());
    let mut addresses: Vec<_> = lines.filter_map(address).collect();
    addresses.sort();
    Ok(addresses)
}

#[test]
fn the_documented_list_serves_containerd_in_a_strict_cloud() -> Result<()> {
    let lab = Lab::start(&setting::strict_cloud())?;
    let node = lab.node(NODE)?;
    let boot = setting::boot(node, seed::POOLS)?;
    Conflist::install_example(&boot)?;
    let containerd = Containerd::start(&boot, 1)?;
    containerd.import(&Image::make()?)?;
    let before = Remains::of(&boot)?;
    let cri = containerd.cri();

    let pod = PodSandboxConfig::new("web-0");
    let sandbox = cri.run_pod_sandbox(&pod).with_context(|| containerd.log())?;
    let container = cri.run_container(&sandbox, &pod)?;
    let address = leased(&boot, &sandbox, "eth0")?;
    ensure!(address == ["172.31.199.185"], "{:?}", leases(&boot)?);
    ensure!(cri.addresses(&sandbox)? == address);
    ensure!(shown(&containerd, &container, "eth0")? == address);
    cri.exec(&container, &["ping", "-c", "1", "-W", "9", "172.31.207.253"])?;
    ensure!(lab.node(OTHER_NODE)?.ping(&address[0], 2)?.all_received());

    // As the kubelet replaces a sandbox that has died: the new one of the same pod first ...
    cri.stop_container(&container)?;
    cri.stop_pod_sandbox(&sandbox)?;
    let next = cri.run_pod_sandbox(&pod.next_attempt())?;
    cri.remove_pod_sandbox(&sandbox)?;
    // ... whose predecessor's address rests.
    ensure!(cri.addresses(&next)? == ["172.31.199.186"], "{:?}", leases(&boot)?);
    ensure!(leases(&boot)?.len() == 1, "{:?}", leases(&boot)?);
    cri.end_pod_sandbox(&next)?;
    before.ensure_unchanged(&boot)
}

/// Not a default: only who names it gets its address.
const NAMED_POOL: &str = "
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: named}
spec: {subnet: 172.31.192.0/20, gateway: 172.31.207.253, ips: [172.31.201.9]}
";

/// containerd hands a pod's annotations to the plugin: no API server is asked.
#[test]
fn a_pods_annotation_names_its_pool() -> Result<()> {
    let lab = Lab::start(&setting::strict_cloud())?;
    let node = lab.node(NODE)?;
    let boot = setting::boot(node, &format!("{}{NAMED_POOL}", seed::POOLS))?;
    Conflist::install_example(&boot)?;
    let containerd = Containerd::start(&boot, 1)?;
    containerd.import(&Image::make()?)?;
    let cri = containerd.cri();
    let annotated = |name: &str, pools: &str| {
        let mut pod = PodSandboxConfig::new(name);
        pod.annotations.insert("ipam.spidernet.io/ippool".to_owned(), pools.to_owned());
        pod
    };
    let pod = annotated("web-0", r#"{"ipv4":["named"]}"#);
    let sandbox = cri.run_pod_sandbox(&pod).with_context(|| containerd.log())?;
    ensure!(leased(&boot, &sandbox, "eth0")? == ["172.31.201.9"], "{:?}", leases(&boot)?);
    ensure!(cri.addresses(&sandbox)? == ["172.31.201.9"]);
    let plain = cri.run_pod_sandbox(&PodSandboxConfig::new("web-1"))?;
    ensure!(cri.addresses(&plain)? == ["172.31.199.185"], "{:?}", leases(&boot)?);

    let refused = cri.run_pod_sandbox(&annotated("web-2", r#"{"ipv4":"named"}"#));
    let said = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(said.contains("annotation ipam.spidernet.io/ippool: invalid type"), "{said}");
    ensure!(leases(&boot)?.len() == 2, "{:?}", leases(&boot)?);
    for sandbox in [sandbox, plain] {
        cri.end_pod_sandbox(&sandbox)?;
    }
    ensure!(leases(&boot)?.is_empty(), "{:?}", leases(&boot)?);
    Ok(())
}

/// Both families on one network and a second one on the other NIC; the runtime killed and started
/// anew between ADD and DEL; then a power cut.
#[test]
fn two_networks_outlive_the_runtime_and_not_the_node() -> Result<()> {
    let lab = Lab::start(&setting::cluster())?;
    setting::give_gateway(&lab)?;
    let node = lab.node(NODE)?;
    let disk = Disk::of(node)?;
    let image = Image::make()?;
    let pods = [PodSandboxConfig::new("web-0"), PodSandboxConfig::new("web-1")];
    let mut sandboxes = Vec::new();
    {
        let boot = Boot::start(node, &disk)?;
        setting::apply(&boot, setting::POOLS)?;
        Conflist::new("dual", "eth0", DUAL).install(&boot, 10)?;
        Conflist::new("second", "eth1", SECOND).install(&boot, 20)?;
        let mut containerd = Containerd::start(&boot, 2)?;
        containerd.import(&image)?;
        let before = Remains::of(&boot)?;
        let cri = containerd.cri();

        let sandbox = cri.run_pod_sandbox(&pods[0])?;
        let container = cri.run_container(&sandbox, &pods[0])?;
        let (eth0, eth1) = (leased(&boot, &sandbox, "eth0")?, leased(&boot, &sandbox, "eth1")?);
        ensure!(eth0 == ["172.31.200.1", "fd00:172::1"], "{eth0:?}");
        ensure!(eth1 == ["192.168.0.200"], "{eth1:?}");
        ensure!(shown(&containerd, &container, "eth0")? == eth0);
        ensure!(shown(&containerd, &container, "eth1")? == eth1);
        ensure!(cri.addresses(&sandbox)?.iter().all(|address| eth0.contains(address)));
        for gateway in [GATEWAY_V4, GATEWAY_V6] {
            cri.exec(&container, &["ping", "-c", "1", "-W", "9", gateway])?;
        }

        containerd.kill()?;
        drop(containerd);
        let containerd = Containerd::start(&boot, 2)?;
        let cri = containerd.cri();
        ensure!(cri.addresses(&sandbox)?.len() == 2, "it is taken over");
        ensure!(cri.exec(&container, &["ping", "-c", "1", "-W", "9", GATEWAY_V6]).is_ok());
        cri.end_pod_sandbox(&sandbox)?;
        before.ensure_unchanged(&boot)?;

        for pod in &pods {
            sandboxes.push(cri.run_pod_sandbox(pod)?);
        }
        ensure!(leases(&boot)?.len() == 6, "{:?}", leases(&boot)?);
        // The power cut: nobody stops anything.
    }
    let boot = Boot::start(node, &disk)?;
    let containerd = Containerd::start(&boot, 2)?;
    let cri = containerd.cri();
    let mut known = cri.pod_sandboxes()?;
    known.sort();
    sandboxes.sort();
    ensure!(known == sandboxes, "{known:?} {sandboxes:?}");
    // What the kubelet does after a boot: it makes the pods anew, and ends what is left.
    let next = cri.run_pod_sandbox(&pods[0].next_attempt())?;
    ensure!(leases(&boot)?.len() == 3, "the last boot's are free: {:?}", leases(&boot)?);
    for sandbox in &sandboxes {
        cri.end_pod_sandbox(sandbox)?;
    }
    ensure!(leased(&boot, &next, "eth0")?.len() == 2, "a late DEL takes nothing");
    cri.end_pod_sandbox(&next)?;
    ensure!(leases(&boot)?.is_empty(), "{:?}", leases(&boot)?);
    ensure!(boot.namespaces()?.is_empty(), "{:?}", boot.namespaces()?);
    Ok(())
}

/// Then the runtime is killed when our plugin has answered and portmap has not.
#[test]
fn a_mapped_port_comes_and_goes_with_its_pod_also_when_the_runtime_is_killed() -> Result<()> {
    let lab = Lab::start(&setting::cluster())?;
    let node = lab.node(NODE)?;
    let boot = setting::boot(node, setting::POOLS)?;
    Conflist::new("dual", "eth0", DUAL).with_portmap().install(&boot, 10)?;
    let recorder = Recorder::install(&boot)?;
    let mut containerd = Containerd::start(&boot, 1)?;
    containerd.import(&Image::make()?)?;
    let cri = containerd.cri();
    let mut pod = PodSandboxConfig::new("web-0");
    pod.port_mappings = vec![PortMapping { protocol: 0, container_port: 80, host_port: 8080 }];
    let sandbox = cri.run_pod_sandbox(&pod).with_context(|| containerd.log())?;
    let rules = node.run(["nft", "list", "ruleset"])?.success()?;
    ensure!(rules.contains("172.31.200.1:80"), "{rules}");
    cri.end_pod_sandbox(&sandbox)?;
    let rules = node.run(["nft", "list", "ruleset"])?.success()?;
    ensure!(!rules.contains("172.31.200.1:80"), "{rules}");
    ensure!(leases(&boot)?.is_empty(), "{:?}", leases(&boot)?);
    recording::compare("containerd-ports", &recorder.calls(&sandbox, "eth0")?)?;

    let before = Remains::of(&boot)?;
    boot.replace_plugin("portmap", setting::STUCK_PORTMAP)?;
    thread::scope(|scope| {
        let running = scope.spawn(|| cri.run_pod_sandbox(&pod));
        setting::wait_for_stuck_portmap(&boot)?;
        containerd.kill()?;
        boot.kill(&["tail"])?;
        let answer = running.join().expect("it does not panic");
        ensure!(answer.is_err(), "{answer:?}");
        anyhow::Ok(())
    })?;
    drop(containerd);
    let containerd = Containerd::start(&boot, 1)?;
    let cri = containerd.cri();
    let known = cri.pod_sandboxes()?;
    ensure!(known.len() == 1 && leases(&boot)?.len() == 2, "{known:?} {:?}", leases(&boot)?);
    // What the kubelet does with a sandbox that it never asked for, or heard of no more.
    cri.end_pod_sandbox(&known[0])?;
    before.ensure_unchanged(&boot)
}
