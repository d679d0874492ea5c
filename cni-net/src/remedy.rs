//! What can be done about a refusal.

use rustix::io::Errno;

use crate::Operation;

/// What the operator or the caller can do; `None` where that is not known.
///
/// Sources: `drivers/net/ipvlan/ipvlan_main.c`, `net/core/rtnetlink.c`, `net/ipv4/fib_semantics.c`,
/// `net/ipv6/{route,addrconf}.c`.
pub(crate) fn remedy(operation: Operation, errno: i32) -> Option<&'static str> {
    use Operation as Op;
    Some(match (operation, Errno::from_raw_os_error(errno)) {
        (Op::FindNetns | Op::OpenNetns, Errno::PERM | Errno::ACCESS) => {
            "looking into other processes needs root (CAP_SYS_PTRACE)"
        }
        (Op::EnterNetns, Errno::PERM) => "entering a namespace needs CAP_SYS_ADMIN",
        (Op::OpenNetns, Errno::NOENT) => "the namespace is gone, or its mount is not visible here",
        (Op::WriteSysctl, Errno::PERM | Errno::ACCESS | Errno::ROFS) => {
            "writing needs root and a writable /proc/sys"
        }
        (Op::OpenPacketSocket, Errno::PERM) => "asking a segment needs CAP_NET_RAW",
        (_, Errno::PERM) => "this needs CAP_NET_ADMIN in the network namespace it is done in",
        (Op::CreateIpvlan, Errno::OPNOTSUPP) => {
            "this kernel has no ipvlan: `modprobe ipvlan` (Ubuntu has it in package \
             linux-modules-extra-$(uname -r)), or a kernel with CONFIG_IPVLAN"
        }
        (Op::CreateMacvlan, Errno::OPNOTSUPP) => {
            "this kernel has no macvlan: `modprobe macvlan`, or a kernel with CONFIG_MACVLAN"
        }
        (Op::CreateVeth, Errno::OPNOTSUPP) => {
            "this kernel has no veth: `modprobe veth`, or a kernel with CONFIG_VETH"
        }
        (Op::CreateVeth, Errno::EXIST) => "a link of one of the names is there already",
        (Op::CreateVeth | Op::SetLinkMac, Errno::ADDRNOTAVAIL) => {
            "a link's address must be a unicast one (even first byte) and not zero"
        }
        (
            Op::OpenSocket | Op::PutNftTable | Op::CheckNftTable | Op::ReadNftTable,
            Errno::PROTONOSUPPORT | Errno::OPNOTSUPP | Errno::INVAL,
        ) => {
            "this kernel has no nf_tables: `modprobe nf_tables`, or a kernel with CONFIG_NF_TABLES \
             and CONFIG_NF_TABLES_INET"
        }
        (Op::PutNftTable | Op::CheckNftTable, Errno::NOENT) => {
            "this kernel has nf_tables without connection tracking: `modprobe nft_ct`, or a kernel \
             with CONFIG_NFT_CT"
        }
        (Op::CreateIpvlan, Errno::BUSY) => {
            "the parent is already used by macvlan, a bridge, a bond or the like: give ipvlan a \
             network card of its own"
        }
        (Op::CreateMacvlan, Errno::BUSY) => {
            "the parent is already used by ipvlan, a bridge, a bond or the like"
        }
        (Op::CreateIpvlan | Op::CreateMacvlan, Errno::EXIST) => {
            "the name is taken, in the target namespace or (the kernel looks there too) in this \
             one: create under a name that nothing has, then rename"
        }
        (Op::CreateIpvlan | Op::CreateMacvlan, Errno::NODEV) => "the parent link does not exist",
        (Op::CreateIpvlan | Op::CreateMacvlan, Errno::INVAL | Errno::RANGE) => {
            "check the link's name (1 to 15 bytes) and that the mtu is not above the parent's"
        }
        (Op::RenameLink, Errno::EXIST) => "a link of that name already exists in this namespace",
        (Op::AddAddress, Errno::EXIST) => "the link already has this address",
        (Op::AddAddress, Errno::ADDRINUSE) => {
            "another ipvlan link of the same parent still has this address, in whatever \
             namespace: remove that link, or give another address"
        }
        (Op::AddAddress, Errno::ACCESS) => {
            "IPv6 is disabled on this link: net.ipv6.conf.<link>.disable_ipv6 must be 0"
        }
        (
            Op::AddAddress | Op::AddRoute | Op::ReplaceRoute | Op::AddRule,
            Errno::OPNOTSUPP | Errno::AFNOSUPPORT,
        ) => "this kernel was started without that address family (ipv6.disable=1)",
        (Op::AddRoute, Errno::EXIST) => "a route to this destination already exists in the table",
        (Op::AddRoute | Op::ReplaceRoute, Errno::NETUNREACH | Errno::HOSTUNREACH) => {
            "the gateway is not in a subnet of this link: add a route to it first, or mark the \
             route onlink"
        }
        (Op::AddRoute | Op::ReplaceRoute, Errno::NETDOWN) => {
            "the link must be up before it can have routes"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_depends_on_the_operation() {
        let remedy = |operation, errno: Errno| remedy(operation, errno.raw_os_error()).unwrap();
        let ipvlan = remedy(Operation::CreateIpvlan, Errno::BUSY);
        assert!(ipvlan.contains("used by macvlan"), "{ipvlan}");
        let macvlan = remedy(Operation::CreateMacvlan, Errno::BUSY);
        assert!(macvlan.contains("used by ipvlan"), "{macvlan}");
        let address = remedy(Operation::AddAddress, Errno::ADDRINUSE);
        assert!(address.contains("same parent"), "{address}");
        let enter = remedy(Operation::EnterNetns, Errno::PERM);
        assert!(enter.contains("CAP_SYS_ADMIN"), "{enter}");
        let link = remedy(Operation::SetLinkUp, Errno::PERM);
        assert!(link.contains("CAP_NET_ADMIN"), "{link}");
    }
}
