//! On a kernel without ipvlan the operator is told so.

use cni_net::{IpvlanFlag, IpvlanMode, NewIpvlan};
use rustix::io::Errno;

mod namespace;
use namespace::{TestNetns, errno};

/// `ip` is the judge of whether this kernel has ipvlan: where it has, the answer must not be
/// that it has none.
#[test]
fn a_kernel_without_ipvlan_is_named_with_the_remedy() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    let refused = host.ip_error("link add link up0 name probe type ipvlan mode l2");
    let mut netlink = host.netlink();
    let parent = netlink.link("up0").unwrap().unwrap().index;
    let result = netlink.add_ipvlan(&NewIpvlan {
        name: "eth0",
        parent,
        mode: IpvlanMode::L2,
        flag: IpvlanFlag::Bridge,
        mtu: None,
        netns: &pod.open(),
        index: None,
    });
    let Some(refused) = refused else {
        result.unwrap();
        return;
    };
    assert!(refused.contains("Unknown device type"), "{refused}");
    assert_eq!(errno(&result), Errno::OPNOTSUPP);
    assert_eq!(
        result.unwrap_err().to_string(),
        format!(
            "create ipvlan eth0 on parent {parent}: Operation not supported (errno 95): \
             Unknown device type; \
             this kernel has no ipvlan: `modprobe ipvlan` (Ubuntu has it in package \
             linux-modules-extra-$(uname -r)), or a kernel with CONFIG_IPVLAN"
        )
    );
}
