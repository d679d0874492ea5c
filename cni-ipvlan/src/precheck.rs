//! What must be right about the master before anything is reserved or made.

use cni_net::{IpvlanFlag, IpvlanMode, Link};
use cni_proto::{Code, Error};

use crate::config::IpvlanConfig;
use crate::failure::KERNEL;

/// The mode and flag that the ipvlan links of a NIC have. Both belong to the NIC: a new link with
/// others would change them for all (`ipvlan_link_new` in `drivers/net/ipvlan/ipvlan_main.c`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) mode: IpvlanMode,
    pub(crate) flag: IpvlanFlag,
    /// A link that has them, and where.
    pub(crate) seen: String,
}

/// Answers a warning, if there is anything to say about a master that will do.
///
/// # Errors
/// Code 7: the configuration has to change. Code 11: the master is down.
pub(crate) fn check(
    config: &IpvlanConfig,
    master: &Link,
    port: Option<&Port>,
) -> Result<Option<String>, Error> {
    let Link { name, mtu: of_master, .. } = master;
    let invalid = |msg: String| Err(Error::new(Code::INVALID_CONFIG, msg));
    if !master.up {
        let msg = format!("master {name} is down: `ip link set {name} up`");
        return Err(Error::new(Code::TRY_AGAIN, msg));
    }
    if let Some(mtu) = config.mtu.filter(|mtu| mtu > of_master) {
        return invalid(format!(
            "mtu {mtu} is above the {of_master} of master {name}, which would drop what is \
             longer: leave mtu out, or raise the master's"
        ));
    }
    if let Some(Port { mode, flag, seen }) = port {
        if *mode != config.mode {
            return invalid(format!(
                "mode {}: the ipvlan links on master {name} have mode {mode} ({seen}), and a NIC \
                 has one mode for all of them: give every network on {name} the same",
                config.mode
            ));
        }
        if *flag != config.flag {
            return invalid(format!(
                "flag {}: the ipvlan links on master {name} have flag {flag} ({seen}), and a NIC \
                 has one flag for all of them: give every network on {name} the same",
                config.flag
            ));
        }
    }
    Ok((!master.carrier).then(|| {
        format!("master {name} has no carrier: pods on it reach nobody until its cable is in")
    }))
}

/// The error for a master that the kernel calls busy (`EBUSY`): something else receives its
/// packets. `macvlans` are those in the master's own namespace, `port_of` the link whose port it
/// is.
pub(crate) fn busy(master: &Link, macvlans: &[Link], port_of: Option<&Link>) -> Error {
    let name = &master.name;
    let on_it =
        macvlans.iter().filter(|it| it.parent == Some(master.index) && it.parent_netns.is_none());
    let on_it: Vec<_> = on_it.map(|link| link.name.as_str()).collect();
    let user = match port_of {
        Some(link) => {
            let kind = link.kind.as_deref().unwrap_or("link");
            format!("it is a port of the {kind} {}: use that as master", link.name)
        }
        None if on_it.is_empty() => "macvlan links in other namespaces, or a packet filter like \
                                     openvswitch, have it: give ipvlan a NIC of its own"
            .to_owned(),
        None => format!(
            "it carries the macvlan links [{}], and a NIC carries either kind: give ipvlan a NIC \
             of its own, or delete them",
            on_it.join(", ")
        ),
    };
    Error::new(KERNEL, format!("master {name} is busy: {user}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Ipam;

    pub(crate) fn link(index: u32, name: &str) -> Link {
        let name = name.into();
        Link { index, name, mtu: 1500, up: true, carrier: true, ..Link::default() }
    }

    pub(crate) fn config() -> IpvlanConfig {
        IpvlanConfig {
            masters: Vec::new(),
            mode: IpvlanMode::L2,
            flag: IpvlanFlag::Bridge,
            mtu: None,
            link_in_container: false,
            ipam: Ipam::Own,
            dns: None,
            detect: crate::detect::Detection::Off,
            detect_gateway: false,
            detect_endpoint: None,
            debug: false,
        }
    }

    fn refused(config: &IpvlanConfig, master: &Link, port: Option<&Port>) -> (u32, String) {
        let error = check(config, master, port).unwrap_err();
        (error.code.number(), error.to_string())
    }

    #[test]
    fn a_good_master_is_silent() {
        let config = IpvlanConfig { mtu: Some(1500), ..config() };
        let seen = "eth0 in /run/netns/a".into();
        let port = Port { mode: config.mode, flag: config.flag, seen };
        assert_eq!(check(&config, &link(2, "eth0"), Some(&port)), Ok(None));
    }

    #[test]
    fn a_master_that_is_down() {
        let down = Link { up: false, carrier: false, ..link(2, "eth0") };
        let text = "master eth0 is down: `ip link set eth0 up`";
        assert_eq!(refused(&config(), &down, None), (11, text.into()));
    }

    #[test]
    fn a_master_without_carrier_is_a_warning() {
        let unplugged = Link { carrier: false, ..link(2, "eth0") };
        let text = "master eth0 has no carrier: pods on it reach nobody until its cable is in";
        assert_eq!(check(&config(), &unplugged, None), Ok(Some(text.into())));
    }

    #[test]
    fn an_mtu_above_the_masters() {
        let config = IpvlanConfig { mtu: Some(9000), ..config() };
        let text = "mtu 9000 is above the 1500 of master eth0, which would drop what is longer: \
                    leave mtu out, or raise the master's";
        assert_eq!(refused(&config, &link(2, "eth0"), None), (7, text.into()));
    }

    #[test]
    fn another_mode_or_flag_on_the_same_master() {
        let (mode, flag) = (IpvlanMode::L3, IpvlanFlag::Bridge);
        let port = Port { mode, flag, seen: "eth0 in /run/netns/a".into() };
        let text = "mode l2: the ipvlan links on master eth0 have mode l3 (eth0 in /run/netns/a), \
                    and a NIC has one mode for all of them: give every network on eth0 the same";
        assert_eq!(refused(&config(), &link(2, "eth0"), Some(&port)), (7, text.into()));
        let port = Port { mode: IpvlanMode::L2, flag: IpvlanFlag::Vepa, ..port };
        let text = "flag bridge: the ipvlan links on master eth0 have flag vepa (eth0 in \
                    /run/netns/a), and a NIC has one flag for all of them: give every network on \
                    eth0 the same";
        assert_eq!(refused(&config(), &link(2, "eth0"), Some(&port)), (7, text.into()));
    }

    #[test]
    fn a_busy_master_names_its_user() {
        let eth0 = link(2, "eth0");
        let macvlan = Link { parent: Some(2), ..link(5, "mv0") };
        let elsewhere = Link { parent_netns: Some(0), ..macvlan.clone() };
        let other = Link { parent: Some(3), ..link(6, "mv1") };
        assert_eq!(
            busy(&eth0, &[macvlan, other], None).to_string(),
            "master eth0 is busy: it carries the macvlan links [mv0], and a NIC carries either \
             kind: give ipvlan a NIC of its own, or delete them"
        );
        assert_eq!(
            busy(&eth0, &[elsewhere], None).to_string(),
            "master eth0 is busy: macvlan links in other namespaces, or a packet filter like \
             openvswitch, have it: give ipvlan a NIC of its own"
        );
        let bridge = Link { kind: Some("bridge".into()), ..link(9, "br0") };
        assert_eq!(
            busy(&eth0, &[], Some(&bridge)).to_string(),
            "master eth0 is busy: it is a port of the bridge br0: use that as master"
        );
    }
}
