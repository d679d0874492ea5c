//! The metadata service of a cloud: what all of them have in common.

use std::net::IpAddr;

use cni_net::MacAddr;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::folder::Folder;
use crate::nic::{Nic, Reading};
use crate::provider::{Options, Provider, ProviderName};
use crate::session::{Deadline, Dialect, Session};
use crate::steady;
use crate::transport::Transport;
use crate::{alibaba, aws};

/// How one cloud names things.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) name: ProviderName,
    /// Where its service is.
    pub(crate) endpoint: Endpoint,
    /// How it names what belongs to tokens.
    pub(crate) dialect: Dialect,
    /// A file that only this cloud has.
    pub(crate) evidence: &'static str,
    /// The file with its name of a NIC.
    pub(crate) id: &'static str,
    /// The file with all IPv4 addresses of a NIC.
    pub(crate) ipv4s: &'static str,
    /// The file with all IPv6 addresses of a NIC.
    pub(crate) ipv6s: &'static str,
    /// The files with the blocks of a NIC, IPv4's first.
    pub(crate) prefixes: [&'static str; 2],
}

/// A cloud's service.
#[derive(Debug)]
pub(crate) struct Service<T> {
    cloud: &'static Cloud,
    session: Session<T>,
    options: Options,
}

impl<T: Transport> Service<T> {
    pub(crate) fn new(cloud: &'static Cloud, session: Session<T>, options: Options) -> Self {
        Self { cloud, session, options }
    }

    /// Whether a service of this cloud answers.
    pub(crate) fn answers(&self) -> bool {
        let deadline = self.session.within(self.options.deadline);
        self.session.text(self.cloud.evidence, deadline).is_ok_and(|text| text.is_some())
    }

    fn folder(&self, mac: MacAddr, deadline: Deadline) -> Folder<'_, T> {
        Folder { session: &self.session, mac, id: self.cloud.id, deadline }
    }

    fn nic(&self, mac: MacAddr, deadline: Deadline) -> Result<Nic, Error> {
        let folder = self.folder(mac, deadline);
        match self.cloud.name {
            ProviderName::Alibaba => alibaba::nic(&folder),
            ProviderName::Aws => aws::nic(&folder),
        }
    }
}

impl<T: Transport> Provider for Service<T> {
    fn name(&self) -> ProviderName {
        self.cloud.name
    }

    fn read(&self) -> Result<Reading, Error> {
        let deadline = self.session.within(self.options.deadline);
        steady::read(self.name(), &self.session, deadline, |mac| self.nic(mac, deadline))
    }

    fn owns(&self, mac: MacAddr, address: IpAddr) -> Result<bool, Error> {
        let folder = self.folder(mac, self.session.within(self.options.question_deadline));
        let Cloud { ipv4s, ipv6s, prefixes, .. } = self.cloud;
        match address {
            IpAddr::V4(_) => folder.has(address, ipv4s, &prefixes[..1]),
            IpAddr::V6(_) => folder.has(address, ipv6s, &prefixes[1..]),
        }
    }
}
