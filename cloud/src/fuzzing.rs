//! What the fuzz targets ask of this crate; compiled for them alone.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::time::Duration;

use cni_net::MacAddr;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::nic::Reading;
use crate::provider::{Options, Provider, ProviderName};
use crate::service::Service;
use crate::session::Session;
use crate::transport::{Answer, LONGEST_BODY, Method, NoAnswer, Question, Transport};
use crate::{alibaba, aws, http};

/// The longest body in bytes that is taken.
pub const LONGEST: usize = LONGEST_BODY;

/// The status and body of an answer.
pub type Told = (u16, Vec<u8>);

/// The answer that these bytes are; `None` if more has to come.
///
/// # Errors
/// In words.
pub fn answer(bytes: &[u8], is_closed: bool) -> Result<Option<Told>, String> {
    let answer = http::answer(bytes, is_closed).map_err(|error| format!("{error:?}"))?;
    Ok(answer.map(|Answer { status, body }| (status, body)))
}

/// A service that answers as it is told: to a path (`api/token` is a PUT) after how long what, or
/// nothing at all.
pub struct Script<F> {
    answer: RefCell<F>,
    now: Cell<Duration>,
    requests: Cell<usize>,
}

impl<F: FnMut(&str) -> (Duration, Option<Told>)> Transport for &Script<F> {
    fn exchange(&self, question: &Question<'_>) -> Result<Answer, NoAnswer> {
        self.requests.set(self.requests.get() + 1);
        let path = question.url.strip_prefix("http://127.0.0.1/latest/").expect("our endpoint");
        assert_eq!(question.method == Method::Put, path == "api/token");
        // A header must stay one line.
        let (_, value) = question.header.unwrap_or(("", ""));
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{value:?}");
        let (took, told) = (self.answer.borrow_mut())(path);
        self.now.set(self.now.get() + took.min(question.timeout));
        match told {
            _ if took > question.timeout => Err(NoAnswer::Failed("too late".to_owned())),
            None => Err(NoAnswer::Failed("nobody".to_owned())),
            Some((_, body)) if body.len() > LONGEST_BODY => Err(NoAnswer::TooLong),
            Some((status, body)) => Ok(Answer { status, body }),
        }
    }

    fn now(&self) -> Duration {
        self.now.get()
    }

    fn pause(&self, length: Duration) {
        self.now.set(self.now.get() + length);
    }
}

impl<F: FnMut(&str) -> (Duration, Option<Told>)> Script<F> {
    /// One that answers so.
    pub fn new(answer: F) -> Self {
        Self {
            answer: RefCell::new(answer),
            now: Cell::new(Duration::ZERO),
            requests: Cell::new(0),
        }
    }

    /// How many requests there were so far, and by its own clock how much time has passed.
    pub fn spent(&self) -> (usize, Duration) {
        (self.requests.get(), self.now.get())
    }

    /// As [`Provider::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, name: ProviderName, deadline: Duration) -> Result<Reading, Error> {
        self.service(name, deadline).read()
    }

    /// As [`Provider::owns`].
    ///
    /// # Errors
    /// As there.
    pub fn owns(
        &self,
        name: ProviderName,
        deadline: Duration,
        mac: MacAddr,
        address: IpAddr,
    ) -> Result<bool, Error> {
        self.service(name, deadline).owns(mac, address)
    }

    fn service(&self, name: ProviderName, deadline: Duration) -> Service<&Self> {
        let cloud = match name {
            ProviderName::Alibaba => &alibaba::CLOUD,
            ProviderName::Aws => &aws::CLOUD,
        };
        let endpoint: Endpoint = "http://127.0.0.1".parse().expect("an endpoint");
        let options = Options::default().with_deadline(deadline).with_question_deadline(deadline);
        Service::new(cloud, Session::new(self, endpoint, cloud.dialect), options)
    }
}
