//! What the crate `cloud` makes of a metadata service over real HTTP.

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::Result;
use cloud::{Error, Options, Provider, ProviderName};
use e2e::Mac;
use e2e::metadata::{Dialect, MetadataNic, MetadataServer, Mischief};

/// Far above what any of this takes, on a machine that others use too.
const GENEROUS: Duration = Duration::from_secs(60);

const BOTH: [(Dialect, ProviderName); 2] =
    [(Dialect::Alibaba, ProviderName::Alibaba), (Dialect::Aws, ProviderName::Aws)];

fn nic() -> Result<MetadataNic> {
    let mac = Mac([0x00, 0x16, 0x3e, 0, 0, 1]);
    let mut nic =
        MetadataNic::new(mac, "10.0.1.5".parse()?, "10.0.1.0/24".parse()?, "10.0.1.1".parse()?);
    nic.secondary = vec!["10.0.1.7".parse()?, "10.0.1.8".parse()?];
    nic.ipv6 = vec!["2408::7".parse()?, "2408::8".parse()?];
    nic.prefixes = vec!["10.0.1.16/28".parse()?];
    nic.subnet_v6 = Some("2408::/64".parse()?);
    nic.gateway_v6 = Some("2408::ffff:ffff:ffff:fffd".parse()?);
    Ok(nic)
}

fn options(url: &str) -> Result<Options> {
    Ok(Options::default().with_endpoint(Some(url.parse()?)).with_deadline(GENEROUS))
}

fn provider(server: &MetadataServer, name: ProviderName) -> Result<Box<dyn Provider>> {
    Ok(cloud::connect(name, &options(&server.url())?))
}

#[test]
fn each_cloud_is_told_apart_and_read() -> Result<()> {
    for (dialect, name) in BOTH {
        let server = MetadataServer::start(dialect, vec![nic()?])?;
        let provider = cloud::detect(&options(&server.url())?)?;
        assert_eq!(provider.name(), name);
        let reading = provider.read()?;
        let found = &reading.nics[0];
        assert_eq!(found.mac.to_string(), nic()?.mac.to_string());
        assert_eq!((found.primary, &found.secondary), (Some(nic()?.primary), &nic()?.secondary));
        assert_eq!((&found.ipv6, &found.prefixes), (&nic()?.ipv6, &nic()?.prefixes));
        assert_eq!(found.gateway_v4, Some(nic()?.gateway_v4));
        let router = match name {
            ProviderName::Aws => "fe80:ec2::1".parse()?,
            _ => "2408::ffff:ffff:ffff:fffd".parse()?,
        };
        assert_eq!(found.gateway_v6, Some(router));
    }
    Ok(())
}

#[test]
fn tokens_end_and_are_renewed_once() -> Result<()> {
    for (dialect, name) in BOTH {
        let server = MetadataServer::start(dialect, vec![nic()?])?;
        let provider = provider(&server, name)?;
        provider.read()?;
        assert_eq!(server.tokens_given(), 1);
        server.forget_tokens();
        provider.read()?;
        assert_eq!(server.tokens_given(), 2);
        server.misbehave(Mischief { token_ttl: Some(Duration::ZERO), ..Mischief::default() });
        server.forget_tokens();
        let error = provider.read().unwrap_err();
        assert!(matches!(error, Error::Refused { status: 401, .. }), "{error}");
    }
    Ok(())
}

#[test]
fn what_passes_is_waited_for_and_what_is_half_is_no_answer() -> Result<()> {
    for (dialect, name) in BOTH {
        let server = MetadataServer::start(dialect, vec![nic()?])?;
        let provider = provider(&server, name)?;
        let statuses = VecDeque::from([429, 503]);
        server.misbehave(Mischief { statuses, ..Mischief::default() });
        let whole = provider.read()?;

        let list = if dialect == Dialect::Alibaba { "private-ipv4s" } else { "local-ipv4s" };
        for text in [
            None,
            Some(String::new()),
            Some("[\"10.0.1.".to_owned()),
            Some("<html>busy</html>".to_owned()),
            Some("10.9.9.9".to_owned()),
            Some("10.0.1.7\n".repeat(20_000)),
            Some("\u{0}\u{fffd}".to_owned()),
        ] {
            let files = BTreeMap::from([(list.to_owned(), text.clone())]);
            server.misbehave(Mischief { files, ..Mischief::default() });
            let outcome = provider.read();
            // Without IPv4 a NIC of AWS is one of a subnet of IPv6 alone; the block is not, then.
            assert!(outcome.is_err(), "{list} {text:?}: {outcome:?}");
        }
        // The lists shrink while everything is read: the answer is of before or of after.
        let mut small = nic()?;
        small.secondary.pop();
        small.ipv6.clear();
        small.prefixes.clear();
        for after in 1..30 {
            server.give(vec![nic()?]);
            let update_after = Some((after, vec![small.clone()]));
            server.misbehave(Mischief { update_after, ..Mischief::default() });
            let reading = provider.read()?;
            let found = &reading.nics[0];
            let is_after =
                (found.secondary.len(), found.ipv6.len(), found.prefixes.len()) == (1, 0, 0);
            assert!(reading == whole || is_after, "after {after}: {reading:?}");
        }
    }
    Ok(())
}

#[test]
fn a_service_that_hangs_or_is_not_there_takes_no_longer_than_it_may() -> Result<()> {
    // Accepts, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", silent.local_addr()?);
    let mac = "00:16:3e:00:00:01".parse()?;
    for (_, name) in BOTH {
        let quick = options(&url)?.with_deadline(Duration::from_millis(300));
        let provider = cloud::connect(name, &quick);
        let began = Instant::now();
        let error = provider.read().unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(provider.owns(mac, "10.0.1.7".parse()?).is_err());
        // Not the usual 30 s: what the machine adds is left generous.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    let error = cloud::detect(&options(&url)?.with_deadline(Duration::from_millis(300)));
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("no metadata service of alibaba or aws answers at http://127.0.0.1:")
    );
    Ok(())
}

#[test]
fn a_question_about_one_address() -> Result<()> {
    for (dialect, name) in BOTH {
        let server = MetadataServer::start(dialect, vec![nic()?])?;
        let provider = provider(&server, name)?;
        let mac = nic()?.mac.to_string().parse()?;
        // The first one pays for the token; a busy machine may need more than the 100 ms.
        let owns = |address: &str| -> Result<bool> {
            let began = Instant::now();
            loop {
                match provider.owns(mac, address.parse()?) {
                    Err(Error::Unreachable { .. }) if began.elapsed() < GENEROUS => {}
                    other => return Ok(other?),
                }
            }
        };
        for (address, expected) in [
            ("10.0.1.5", true),
            ("10.0.1.7", true),
            ("10.0.1.30", true),
            ("10.0.1.9", false),
            ("2408::8", true),
            ("2408::9", false),
        ] {
            assert_eq!(owns(address)?, expected, "{address}");
        }
        let unknown = provider.owns("02:00:00:00:00:09".parse()?, "10.0.1.7".parse()?);
        assert!(unknown.is_err());
    }
    Ok(())
}
