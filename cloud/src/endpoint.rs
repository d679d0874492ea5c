//! Where a metadata service is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::error::Error;

/// The port of HTTP.
const HTTP: u16 = 80;

/// The base of a metadata service: `http://` and an address, with or without a port. Names are
/// refused: whoever answers for a name would be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint(SocketAddr);

impl Endpoint {
    /// The service at an address, on the port of HTTP.
    pub const fn at(address: IpAddr) -> Self {
        Self(SocketAddr::new(address, HTTP))
    }

    pub(crate) const fn socket(self) -> SocketAddr {
        self.0
    }

    /// The URL of a path, which has no slash in front.
    pub(crate) fn url(self, path: &str) -> String {
        format!("{self}/{path}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.port(), self.0.ip()) {
            (HTTP, IpAddr::V4(address)) => write!(f, "http://{address}"),
            (HTTP, IpAddr::V6(address)) => write!(f, "http://[{address}]"),
            _ => write!(f, "http://{}", self.0),
        }
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::Endpoint { text: text.to_owned() };
        let rest = text.strip_prefix("http://").ok_or_else(refused)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Ok(socket) = rest.parse() {
            return Ok(Self(socket));
        }
        let bare = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address: IpAddr = match bare {
            Some(bare) => IpAddr::V6(bare.parse().map_err(|_| refused())?),
            None => IpAddr::V4(rest.parse().map_err(|_| refused())?),
        };
        Ok(Self::at(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_or_without_a_port_and_nothing_else() {
        for (text, url) in [
            ("http://100.100.100.200", "http://100.100.100.200/latest"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/latest"),
            ("http://[fd00:ec2::254]", "http://[fd00:ec2::254]/latest"),
            ("http://[::1]:81", "http://[::1]:81/latest"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().url("latest"), url);
        }
        for text in [
            "",
            "127.0.0.1",
            "https://127.0.0.1",
            "http://",
            "http://localhost",
            "http://127.0.0.1:0x50",
            "http://127.0.0.1/path",
            "http://user@127.0.0.1",
            "http://::1",
            "http://[127.0.0.1]",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
