//! Alibaba Cloud's instance metadata.
//!
//! Source: "Instance metadata" of the ECS user guide, and Terway's `pkg/aliyun/metadata`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_net::MacAddr;
use ipnet::{Ipv4Net, Ipv6Net};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::folder::Folder;
use crate::nic::{Nic, Reading};
use crate::provider::{Options, Provider, ProviderName};
use crate::session::{Deadline, Dialect, Session};
use crate::steady;
use crate::transport::Transport;

/// All IPv4 addresses, the primary one included, as a JSON list.
const IPV4S: &str = "private-ipv4s";
/// All IPv6 addresses, as a list without quotes.
const IPV6S: &str = "ipv6s";
const PREFIXES: [&str; 2] = ["ipv4-prefixes", "ipv6-prefixes"];

/// The metadata service of an ECS instance.
#[derive(Debug)]
pub(crate) struct Alibaba<T> {
    session: Session<T>,
    options: Options,
}

/// Where it is.
pub(crate) const ENDPOINT: Endpoint = Endpoint::at(IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)));

/// How it names what belongs to tokens.
pub(crate) const DIALECT: Dialect = Dialect {
    ttl_header: "X-aliyun-ecs-metadata-token-ttl-seconds",
    token_header: "X-aliyun-ecs-metadata-token",
    // The normal mode, in which a token is not needed.
    is_token_optional: true,
};

impl<T: Transport> Alibaba<T> {
    pub(crate) fn new(session: Session<T>, options: Options) -> Self {
        Self { session, options }
    }

    /// Whether a service of this cloud answers.
    pub(crate) fn answers(&self) -> bool {
        let deadline = self.session.within(self.options.deadline);
        self.session.text("region-id", deadline).is_ok_and(|region| region.is_some())
    }

    fn folder(&self, mac: MacAddr, deadline: Deadline) -> Folder<'_, T> {
        Folder { session: &self.session, mac, id: "network-interface-id", deadline }
    }

    fn nic(&self, mac: MacAddr, deadline: Deadline) -> Result<Nic, Error> {
        let folder = self.folder(mac, deadline);
        let because = "every NIC has one";
        let id = folder.id()?;
        let primary: Ipv4Addr = folder.value("primary-ip-address", "an IPv4 address", because)?;
        // Absent is as good as empty: the primary address is missing then too.
        let all: Vec<Ipv4Addr> = folder.list(IPV4S, "an IPv4 address")?.unwrap_or_default();
        if !all.contains(&primary) {
            let what = format!("its primary address {primary} is not in {IPV4S}");
            return Err(Error::Contradiction { mac, what });
        }
        let subnet: Ipv4Net = folder.value("vswitch-cidr-block", "an IPv4 block", because)?;
        let gateway = folder.value("gateway", "an IPv4 address", because)?;
        let ipv6: Vec<Ipv6Addr> = folder.list(IPV6S, "an IPv6 address")?.unwrap_or_default();
        let prefixes = folder.prefixes(&PREFIXES)?;
        let has_v6 = !ipv6.is_empty() || prefixes.iter().any(|block| block.addr().is_ipv6());
        let v6 = has_v6.then(|| {
            let because = "the NIC has IPv6 addresses";
            let subnet: Ipv6Net =
                folder.value("vswitch-ipv6-cidr-block", "an IPv6 block", because)?;
            let gateway: Ipv6Addr = folder.value("ipv6-gateway", "an IPv6 address", because)?;
            Ok((subnet.trunc(), gateway))
        });
        let v6 = v6.transpose()?;
        let nic = Nic {
            mac,
            id,
            primary: Some(primary),
            secondary: all.into_iter().filter(|address| *address != primary).collect(),
            ipv6,
            prefixes,
            subnet_v4: Some(subnet.trunc()),
            subnet_v6: v6.map(|(subnet, _)| subnet),
            gateway_v4: Some(gateway),
            gateway_v6: v6.map(|(_, gateway)| gateway),
        };
        nic.checked()
    }
}

impl<T: Transport> Provider for Alibaba<T> {
    fn name(&self) -> ProviderName {
        ProviderName::Alibaba
    }

    fn read(&self) -> Result<Reading, Error> {
        let deadline = self.session.within(self.options.deadline);
        steady::read(self.name(), &self.session, deadline, |mac| self.nic(mac, deadline))
    }

    fn owns(&self, mac: MacAddr, address: IpAddr) -> Result<bool, Error> {
        let folder = self.folder(mac, self.session.within(self.options.question_deadline));
        match address {
            IpAddr::V4(_) => folder.has(address, IPV4S, &PREFIXES[..1]),
            IpAddr::V6(_) => folder.has(address, IPV6S, &PREFIXES[1..]),
        }
    }
}
