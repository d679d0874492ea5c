//! Who tells: the clouds that are known.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use cni_net::MacAddr;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::nic::Reading;
use crate::service::Service;
use crate::session::Session;
use crate::transport::Http;
use crate::{alibaba, aws};

/// Where the firmware says who made the machine.
const VENDOR_FILE: &str = "/sys/class/dmi/id/sys_vendor";

/// How long a provider is given to answer at all.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// A cloud that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProviderName {
    /// Alibaba Cloud: ECS.
    Alibaba,
    /// Amazon Web Services: EC2.
    Aws,
}

/// Not the name of a cloud that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider {0:?}: it must be alibaba or aws")]
pub struct UnknownProvider(String);

impl ProviderName {
    /// All that are known, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Alibaba, Self::Aws];

    /// As it is written in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alibaba => "alibaba",
            Self::Aws => "aws",
        }
    }

    /// What the firmware of this cloud's machines says about their maker begins so.
    fn vendor(self) -> &'static str {
        match self {
            Self::Alibaba => "Alibaba Cloud",
            Self::Aws => "Amazon EC2",
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProviderName {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        let named = Self::ALL.into_iter().find(|name| name.as_str() == text);
        named.ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}

/// Where and how patiently a service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The service; each provider's own address if absent.
    pub endpoint: Option<Endpoint>,
    /// How long [`Provider::read`] may take, with all repetitions.
    pub deadline: Duration,
    /// How long [`Provider::owns`] may take.
    pub question_deadline: Duration,
}

impl Default for Options {
    /// Each provider's own address, 30 s, 100 ms.
    fn default() -> Self {
        Self {
            endpoint: None,
            deadline: Duration::from_secs(30),
            question_deadline: Duration::from_millis(100),
        }
    }
}

impl Options {
    /// The same with another service.
    #[must_use]
    pub fn with_endpoint(self, endpoint: Option<Endpoint>) -> Self {
        Self { endpoint, ..self }
    }

    /// The same with another time for [`Provider::read`].
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The same with another time for [`Provider::owns`].
    #[must_use]
    pub fn with_question_deadline(self, question_deadline: Duration) -> Self {
        Self { question_deadline, ..self }
    }
}

/// A cloud that tells what it gave. It keeps its token, so that it is worth keeping.
pub trait Provider {
    /// Which one.
    fn name(&self) -> ProviderName;

    /// Everything that the cloud gave to this node's NICs. All is read at least twice, until two
    /// readings are equal, so that no update of the cloud's is seen in part.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: nothing is known, and nothing may be concluded from it.
    fn read(&self) -> Result<Reading, Error>;

    /// Whether the cloud gave this address to this NIC, as far as it has told the metadata service:
    /// an address that was given within the last minute may still be missing.
    ///
    /// # Errors
    ///
    /// Any [`Error`], also for a NIC that the service does not know: the question is open.
    fn owns(&self, mac: MacAddr, address: IpAddr) -> Result<bool, Error>;
}

impl fmt::Debug for dyn Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name())
    }
}

/// The provider of this name. Nothing is asked yet.
pub fn connect(name: ProviderName, options: &Options) -> Box<dyn Provider> {
    Box::new(service(name, *options))
}

fn service(name: ProviderName, options: Options) -> Service<Http> {
    let cloud = match name {
        ProviderName::Alibaba => &alibaba::CLOUD,
        ProviderName::Aws => &aws::CLOUD,
    };
    let endpoint = options.endpoint.unwrap_or(cloud.endpoint);
    Service::new(cloud, Session::new(Http::new(endpoint), endpoint, cloud.dialect), options)
}

/// The provider whose machine this is: by what the firmware says, else by who answers. With an
/// endpoint of its own only by who answers there.
///
/// # Errors
///
/// [`Error::NoProvider`]: connect to one by name, if this is one of them.
pub fn detect(options: &Options) -> Result<Box<dyn Provider>, Error> {
    if options.endpoint.is_none()
        && let Ok(vendor) = fs::read_to_string(VENDOR_FILE)
        && let Some(name) = made_by(&vendor)
    {
        return Ok(connect(name, options));
    }
    let quick = options.with_deadline(PROBE_DEADLINE.min(options.deadline));
    let answers = |name: &ProviderName| service(*name, quick).answers();
    let found = ProviderName::ALL.into_iter().find(answers);
    found.map(|name| connect(name, options)).ok_or_else(|| {
        let tried = ProviderName::ALL.map(ProviderName::as_str).join(" or ");
        Error::NoProvider { tried, endpoint: options.endpoint }
    })
}

fn made_by(vendor: &str) -> Option<ProviderName> {
    ProviderName::ALL.into_iter().find(|name| vendor.trim().starts_with(name.vendor()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_makers() {
        for name in ProviderName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(made_by(&format!("{}\n", name.vendor())), Some(name));
        }
        assert_eq!(made_by("QEMU\n"), None);
        let error = "gcp".parse::<ProviderName>().unwrap_err().to_string();
        assert_eq!(error, "provider \"gcp\": it must be alibaba or aws");
    }
}
