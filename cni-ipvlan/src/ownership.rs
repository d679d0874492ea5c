//! Whether the cloud still gives to the NIC what a pod is about to get, by the instance metadata.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cloud::{Endpoint, MacAddr, Options, Provider};
use cni_net::Link;
use cni_proto::AddResult;

use crate::objection::Objection;

/// How long all questions of one ADD may take.
const BUDGET: Duration = Duration::from_millis(200);
/// How long one question may take.
const QUESTION: Duration = Duration::from_millis(100);
/// How long each cloud has to say that it is there, where the firmware does not say whose machine
/// it is.
const PROBE: Duration = Duration::from_millis(50);

/// The question is open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Open {
    #[error(transparent)]
    NoAnswer(#[from] cloud::Error),
    #[error("no time is left to ask about {0}")]
    NoTime(IpAddr),
}

/// What the cloud gave to one NIC, asked during one ADD.
pub(crate) struct Ownership {
    mac: MacAddr,
    options: Options,
    /// `None` before the first question.
    provider: Option<Box<dyn Provider>>,
    left: Duration,
}

impl Ownership {
    /// Of this link; `None` if it has no MAC, by which the cloud knows NICs.
    pub(crate) fn of(master: &Link, endpoint: Option<Endpoint>) -> Option<Self> {
        let options = Options::default()
            .with_endpoint(endpoint)
            .with_deadline(PROBE)
            .with_question_deadline(QUESTION);
        Some(Self { mac: master.mac?, options, provider: None, left: BUDGET })
    }

    /// The first of these addresses that the cloud does not give to the NIC, as far as there is
    /// time to ask.
    ///
    /// # Errors
    /// The question stays open. Who did not answer is not asked again.
    pub(crate) fn objection(&mut self, given: &AddResult) -> Result<Option<Objection>, Open> {
        let began = Instant::now();
        let budget = self.left;
        let found = self.ask(given, || budget.saturating_sub(began.elapsed()));
        self.left = if found.is_ok() {
            budget.saturating_sub(began.elapsed())
        } else {
            // Who did not answer once would cost each further address as much again.
            Duration::ZERO
        };
        found
    }

    fn ask(
        &mut self,
        given: &AddResult,
        left: impl Fn() -> Duration,
    ) -> Result<Option<Objection>, Open> {
        for ip in &given.ips {
            let address = ip.address.addr();
            if left() < QUESTION {
                return Err(Open::NoTime(address));
            }
            let provider = match &self.provider {
                Some(provider) => provider,
                None => self.provider.insert(cloud::detect(&self.options)?),
            };
            if !provider.owns(self.mac, address)? {
                let seen =
                    format!("the metadata of {} do not list it for {}", provider.name(), self.mac);
                return Ok(Some(Objection { address, what: "not for this NIC", seen }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use cloud::{Error, ProviderName, Reading};
    use cni_proto::IpConfig;

    use super::*;

    /// A cloud that gave all but some addresses, or does not answer.
    #[derive(Default)]
    struct Fake {
        gone: Vec<IpAddr>,
        is_down: bool,
        asked: Rc<RefCell<Vec<IpAddr>>>,
    }

    impl Provider for Fake {
        fn name(&self) -> ProviderName {
            ProviderName::Aws
        }

        fn read(&self) -> Result<Reading, Error> {
            Err(down())
        }

        fn owns(&self, _: MacAddr, address: IpAddr) -> Result<bool, Error> {
            self.asked.borrow_mut().push(address);
            if self.is_down { Err(down()) } else { Ok(!self.gone.contains(&address)) }
        }
    }

    fn down() -> Error {
        Error::Refused { url: "http://169.254.169.254".into(), status: 500 }
    }

    fn ownership(fake: Fake, left: Duration) -> Ownership {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        Ownership { mac, options: Options::default(), provider: Some(Box::new(fake)), left }
    }

    fn given() -> AddResult {
        let ip = |text: &str| {
            let address = text.parse().unwrap();
            IpConfig { address, interface: None, gateway: None }
        };
        let ips = vec![ip("10.0.0.7/24"), ip("fd00::7/64")];
        AddResult { ips, ..AddResult::default() }
    }

    const PLENTY: Duration = Duration::from_secs(60);

    #[test]
    fn the_address_that_is_gone_is_named() {
        assert_eq!(ownership(Fake::default(), PLENTY).objection(&given()).unwrap(), None);
        for gone in ["10.0.0.7", "fd00::7"] {
            let fake = Fake { gone: vec![gone.parse().unwrap()], ..Fake::default() };
            let found = ownership(fake, PLENTY).objection(&given()).unwrap().unwrap();
            assert_eq!(
                found.to_string(),
                format!(
                    "{gone} is not for this NIC: the metadata of aws do not list it for \
                     02:00:00:00:00:01"
                )
            );
        }
    }

    #[test]
    fn without_time_or_after_an_error_nothing_is_asked() {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let fake = |is_down| Fake { is_down, asked: Rc::clone(&asked), ..Fake::default() };
        let mut late = ownership(fake(false), QUESTION.saturating_sub(Duration::from_millis(1)));
        let error = late.objection(&given()).unwrap_err().to_string();
        assert_eq!(error, "no time is left to ask about 10.0.0.7");
        assert!(asked.borrow().is_empty());

        let mut broken = ownership(fake(true), PLENTY);
        assert!(broken.objection(&given()).is_err());
        assert!(broken.objection(&given()).is_err());
        assert_eq!(asked.borrow().len(), 1);
    }
}
