//! One HTTP exchange, and the time: what the outside world is to a session.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::endpoint::Endpoint;
use crate::http;

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

/// HTTP/1.1 over TCP, a connection for each exchange. The environment has no say in it: no proxy, no
/// names. A redirect is an answer like others.
#[derive(Debug)]
pub(crate) struct Http {
    endpoint: Endpoint,
    began: Instant,
}

impl Http {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, began: Instant::now() }
    }

    fn converse(&self, question: &Question<'_>) -> io::Result<Result<Answer, NoAnswer>> {
        let end = Instant::now() + question.timeout;
        let mut stream = TcpStream::connect_timeout(&self.endpoint.socket(), question.timeout)?;
        stream.set_write_timeout(Some(left(end)?))?;
        stream.write_all(head(self.endpoint, question).as_bytes())?;
        let mut bytes = Vec::new();
        let mut part = [0; 8 << 10];
        loop {
            stream.set_read_timeout(Some(left(end)?))?;
            let length = match stream.read(&mut part) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // What a socket says whose time is over.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(ErrorKind::TimedOut.into());
                }
                other => other?,
            };
            bytes.extend_from_slice(&part[..length]);
            match http::answer(&bytes, length == 0) {
                Ok(None) => {}
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}

/// The time until the end, of which there is some.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The request, without a body.
fn head(endpoint: Endpoint, question: &Question<'_>) -> String {
    let base = endpoint.to_string();
    let host = base.strip_prefix("http://").unwrap_or_default();
    let path = question.url.strip_prefix(&base).unwrap_or("/");
    let (method, length) = match question.method {
        Method::Get => ("GET", ""),
        Method::Put => ("PUT", "Content-Length: 0\r\n"),
    };
    let header = question.header.map(|(name, value)| format!("{name}: {value}\r\n"));
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: node-ipam\r\nAccept: */*\r\n\
         Connection: close\r\n{length}{}\r\n",
        header.unwrap_or_default()
    )
}

impl Transport for Http {
    fn exchange(&self, question: &Question<'_>) -> Result<Answer, NoAnswer> {
        self.converse(question).unwrap_or_else(|error| Err(NoAnswer::Failed(error.to_string())))
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn pause(&self, length: Duration) {
        thread::sleep(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_these_bytes() {
        let endpoint: Endpoint = "http://127.0.0.1:81".parse().unwrap();
        let question = |method, header| Question {
            method,
            url: "http://127.0.0.1:81/latest/mac",
            header,
            timeout: Duration::from_secs(1),
        };
        assert_eq!(
            head(endpoint, &question(Method::Get, Some(("X-Token", "t")))),
            "GET /latest/mac HTTP/1.1\r\nHost: 127.0.0.1:81\r\nUser-Agent: node-ipam\r\n\
             Accept: */*\r\nConnection: close\r\nX-Token: t\r\n\r\n"
        );
        let put = head(endpoint, &question(Method::Put, None));
        assert!(put.starts_with("PUT /latest/mac ") && put.ends_with("Content-Length: 0\r\n\r\n"));
    }
}
