//! One HTTP exchange, and the time: what the outside world is to a session.

use std::thread;
use std::time::{Duration, Instant};

use ureq::{Agent, Error as HttpError};

/// The most bytes of a body that are read. The longest true one, the addresses of a NIC, has some
/// thousands.
pub(crate) const LONGEST_BODY: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Put,
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) header: Option<(&'static str, &'a str)>,
    /// For all of it, from the connection to the last byte.
    pub(crate) timeout: Duration,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The body is longer than [`LONGEST_BODY`].
    TooLong,
    /// Connection, time or protocol.
    Failed(String),
}

/// The way to a metadata service.
pub(crate) trait Transport {
    fn exchange(&self, question: &Question<'_>) -> Result<Answer, NoAnswer>;

    /// The time since any fixed moment.
    fn now(&self) -> Duration;

    fn pause(&self, length: Duration);
}

/// HTTP/1.1 over TCP.
#[derive(Debug)]
pub(crate) struct Http {
    agent: Agent,
    began: Instant,
}

impl Http {
    pub(crate) fn new() -> Self {
        let config = Agent::config_builder()
            // The service is on the link: what the environment says about proxies is for others.
            .proxy(None)
            // A redirect leads away from the one address that is to be believed.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // A connection that the service has closed meanwhile would look like a failure.
            .max_idle_connections(0)
            .build();
        Self { agent: config.into(), began: Instant::now() }
    }
}

impl Transport for Http {
    fn exchange(&self, question: &Question<'_>) -> Result<Answer, NoAnswer> {
        let Question { method, url, header, timeout } = *question;
        let failed = |error: &HttpError| NoAnswer::Failed(error.to_string());
        let sent = match method {
            Method::Get => {
                let mut request = self.agent.get(url);
                if let Some((name, value)) = header {
                    request = request.header(name, value);
                }
                request.config().timeout_global(Some(timeout)).build().call()
            }
            Method::Put => {
                let mut request = self.agent.put(url);
                if let Some((name, value)) = header {
                    request = request.header(name, value);
                }
                request.config().timeout_global(Some(timeout)).build().send_empty()
            }
        };
        let mut response = sent.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let limit = LONGEST_BODY as u64;
        match response.body_mut().with_config().limit(limit).read_to_vec() {
            Ok(body) => Ok(Answer { status, body }),
            Err(HttpError::BodyExceedsLimit(_)) => Err(NoAnswer::TooLong),
            Err(error) => Err(failed(&error)),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn pause(&self, length: Duration) {
        thread::sleep(length);
    }
}
