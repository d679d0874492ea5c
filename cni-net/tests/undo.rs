//! A link made, then taken back or kept; and sysctls beside it.

use cni_net::{NewMacvlan, Undo, sysctl};

mod namespace;
use namespace::TestNetns;

fn attach(host: &TestNetns, pod: &TestNetns, succeed: bool) -> cni_net::Result<()> {
    let netns = &pod.open();
    let (mut outside, mut inside) = (host.netlink(), pod.netlink());
    let parent = outside.link("up0")?.unwrap().index;
    let mut undo = Undo::new(|error| panic!("{error}"));
    outside.add_macvlan(&NewMacvlan { name: "tmp0", parent, mtu: None, netns })?;
    let index = inside.link("tmp0")?.unwrap().index;
    undo.push("create link", move || netns.netlink()?.delete_link(index).map(|_| ()));
    let name = if succeed { "eth0" } else { "lo" };
    inside.rename_link(index, name)?;
    undo.commit();
    Ok(())
}

#[test]
fn a_failure_leaves_nothing_and_success_everything() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    let mut inside = pod.netlink();
    let error = attach(&host, &pod, false).unwrap_err();
    assert!(error.to_string().contains("to lo: "), "{error}");
    assert_eq!(inside.links().unwrap().len(), 1, "only lo is left");
    attach(&host, &pod, true).unwrap();
    assert!(inside.link("eth0").unwrap().is_some());
}

#[test]
fn a_sysctl_is_written_in_the_namespace_only_where_it_differs() {
    let (pod, other) = (TestNetns::with_parent(), TestNetns::with_parent());
    let key = "ipv4/conf/up0/arp_notify";
    let write = |value: &str| pod.open().run(|| sysctl::write(key, value)).unwrap().unwrap();
    assert_eq!(write("1"), sysctl::Written::Changed { previous: "0".into() });
    assert_eq!(write("1"), sysctl::Written::Unchanged);
    let read = |test: &TestNetns| test.open().run(|| sysctl::read(key)).unwrap().unwrap();
    assert_eq!(read(&pod).as_deref(), Some("1"));
    assert_eq!(read(&other).as_deref(), Some("0"));
    let range = "ipv4/ip_local_port_range";
    let again = pod.open().run(|| {
        let value = sysctl::read(range)?.unwrap().replace('\t', " ");
        sysctl::write(range, &value)
    });
    assert_eq!(again.unwrap().unwrap(), sysctl::Written::Unchanged);
    let error = pod.open().run(|| sysctl::write(range, "none")).unwrap().unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("write sysctl ipv4/ip_local_port_range = none: "), "{text}");
}
