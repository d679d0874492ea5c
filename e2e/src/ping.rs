//! A ping and what came back.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;

/// What came back to a number of echo requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// How many requests were to be sent.
    pub sent: u32,
    /// The answers, in the order of their arrival.
    pub replies: Vec<Reply>,
    /// What `ping` printed.
    pub text: String,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply {
    /// Which request it answers; the first is 1.
    pub sequence: u32,
    /// The TTL with which it arrived.
    pub ttl: u8,
    /// How long it took.
    pub round_trip: Duration,
}

impl Ping {
    /// How many answers came back.
    pub fn received(&self) -> usize {
        self.replies.len()
    }

    /// Whether every request was answered.
    pub fn all_received(&self) -> bool {
        self.received() == self.sent as usize
    }

    pub(crate) fn run(
        namespace: &Namespace,
        source: Option<&str>,
        target: &str,
        count: u32,
    ) -> Result<Self> {
        let mut command = Command::new("ping");
        command.env("LC_ALL", "C").args(["-n", "-i", "0.2", "-W", "1", "-c", &count.to_string()]);
        if let Some(source) = source {
            command.args(["-I", source]);
        }
        let outcome = namespace.feed(command.arg(target), "")?;
        // ping(8): 1 says that answers are missing, 2 and others that there was an error. A target
        // without a route is an error of connect(2), printed alone.
        if !outcome.stdout.contains("packets transmitted")
            && !outcome.stderr.contains("Network is unreachable")
        {
            bail!("ping {target} in {}: {}", namespace.name(), outcome.stderr.trim_end());
        }
        let text = format!("{}{}", outcome.stdout, outcome.stderr);
        Self::parse(count, text)
    }

    fn parse(sent: u32, text: String) -> Result<Self> {
        let replies = text
            .lines()
            .filter(|line| line.contains("bytes from") && line.contains("ttl="))
            .map(|line| Reply::parse(line).with_context(|| format!("ping's line {line:?}")))
            .collect::<Result<_>>()?;
        Ok(Self { sent, replies, text })
    }
}

impl fmt::Display for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Reply {
    fn parse(line: &str) -> Result<Self> {
        let field = |name: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            value.with_context(|| format!("no {name}"))
        };
        let milliseconds: f64 = field("time=")?.parse()?;
        Ok(Self {
            sequence: field("icmp_seq=")?.parse()?,
            ttl: field("ttl=")?.parse()?,
            round_trip: Duration::from_secs_f64(milliseconds / 1000.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_silence_is_none() {
        let text = "PING 192.168.0.155 (192.168.0.155) 56(84) bytes of data.\n\
            64 bytes from 192.168.0.155: icmp_seq=2 ttl=63 time=0.514 ms\n\
            From 192.168.0.1 icmp_seq=1 Destination Host Unreachable\n\n\
            2 packets transmitted, 1 received, +1 errors, 50% packet loss, time 1010ms\n";
        let ping = Ping::parse(2, text.to_owned()).unwrap();
        let round_trip = Duration::from_micros(514);
        assert_eq!(ping.replies, [Reply { sequence: 2, ttl: 63, round_trip }]);
        assert!(!ping.all_received());
        assert_eq!(ping.to_string(), text);
        let silence = Ping::parse(1, "1 packets transmitted, 0 received".to_owned()).unwrap();
        assert_eq!(silence.received(), 0);
    }
}
