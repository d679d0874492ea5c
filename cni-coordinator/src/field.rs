//! One field of the configuration: its value checked, its error in words.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use cni_proto::{Code, Error, IfName};
use ipnet::IpNet;

use crate::numbers::DEFAULT_HOST_TABLE;

pub(crate) fn invalid(field: &str, value: impl fmt::Debug, reason: impl fmt::Display) -> Error {
    Error::new(Code::INVALID_CONFIG, format!("{field} {value:?}: {reason}"))
}

pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(field: &str, text: &str) -> Result<T, Error> {
    // What is parsed here says the text in its own errors.
    text.parse().map_err(|error| Error::new(Code::INVALID_CONFIG, format!("{field}: {error}")))
}

pub(crate) fn word<T: Copy + Default>(
    field: &str,
    text: Option<&str>,
    words: &[(&str, T)],
) -> Result<T, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(T::default());
    };
    let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let found = words.iter().find(|(word, _)| *word == text);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| invalid(field, text, format_args!("it must be one of {}", known())))
}

pub(crate) fn link(field: &str, name: String) -> Result<String, Error> {
    if IfName::new(&*name).is_ok() {
        return Ok(name);
    }
    let rule = "the name of a link has 1 to 15 bytes and neither '/', ':' nor white space";
    Err(invalid(field, name, rule))
}

/// A CIDR, or an address that stands for itself alone; host bits are cut off.
pub(crate) fn cidr(field: &str, text: &str) -> Result<IpNet, Error> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net
        .map_err(|_| invalid(field, text, "it must be a CIDR, as 10.233.0.0/18, or an address"))?;
    if net.prefix_len() == 0 {
        let reason = "this is every destination, which is for podDefaultRouteNIC to decide: name \
                      the networks that are meant";
        return Err(invalid(field, text, reason));
    }
    Ok(net.trunc())
}

pub(crate) fn host_table(number: Option<i64>) -> Result<u32, Error> {
    let Some(number) = number else { return Ok(DEFAULT_HOST_TABLE) };
    let table = u32::try_from(number).ok().filter(|table| !matches!(table, 0 | 253..=255));
    table.ok_or_else(|| {
        let reason = "it must be from 1 to 4294967295, and none of the kernel's own tables 253 to \
                      255, since every route in it is a pod's: leave it out for 500";
        invalid("hostRuleTable", number, reason)
    })
}

pub(crate) fn rp_filter(number: Option<i64>) -> Result<Option<u8>, Error> {
    match number {
        None => Ok(Some(0)),
        Some(..0) => Ok(None),
        Some(number @ 0..=2) => Ok(u8::try_from(number).ok()),
        Some(number) => {
            let reason = "it must be 0 (off), 1 (strict), 2 (loose) or negative, which leaves the \
                          pod's value alone";
            Err(invalid("podRPFilter", number, reason))
        }
    }
}

pub(crate) fn tx_queue_len(number: Option<i64>) -> Result<Option<u32>, Error> {
    let Some(number) = number else { return Ok(None) };
    // The kernel's `dev_change_tx_queue_len` takes an unsigned int.
    let packets = u32::try_from(number).map_err(|_| {
        let reason = "it must be from 0, which leaves it alone, to 4294967295 packets";
        invalid("txQueueLen", number, reason)
    })?;
    Ok(Some(packets).filter(|packets| *packets > 0))
}

/// What IPv4 needs (RFC 791, section 3.2), and the longest that an IPv4 packet can be.
const MTUS: std::ops::RangeInclusive<u32> = 68..=65535;

pub(crate) fn veth_mtu(number: Option<i64>) -> Result<Option<u32>, Error> {
    let Some(number) = number.filter(|number| *number != 0) else { return Ok(None) };
    let mtu = u32::try_from(number).ok().filter(|mtu| MTUS.contains(mtu));
    mtu.map(Some).ok_or_else(|| {
        let reason = "it must be 0, which is the MTU of the pod's NIC, or from 68 to 65535 bytes \
                      (from 1280 for IPv6)";
        invalid("vethMTU", number, reason)
    })
}

pub(crate) fn link_address(text: &str) -> Result<IpAddr, Error> {
    let address = text.parse::<IpAddr>().ok();
    let usable = |address: &IpAddr| {
        !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
    };
    address.filter(usable).ok_or_else(|| {
        let reason = "it must be one unicast address without a prefix length, as 169.254.200.1";
        invalid("vethLinkAddress", text, reason)
    })
}
