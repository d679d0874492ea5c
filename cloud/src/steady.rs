//! Readings that do not change while they are taken.
//!
//! A metadata service updates its paths one by one. A list of addresses of before and a subnet of
//! after may even fit each other, so that no check of one reading finds all mixtures; two equal
//! readings one behind the other hold no part of an update that was under way.

use cni_net::MacAddr;

use crate::error::Error;
use crate::folder::NICS;
use crate::list;
use crate::nic::{Nic, Reading};
use crate::provider::ProviderName;
use crate::session::{Deadline, Session};
use crate::transport::Transport;

/// How often everything is read at most.
const MOST_READINGS: u32 = 5;

/// The most NICs that are believed; the largest instances have 60 or so.
const MOST_NICS: usize = 256;

/// Reads everything until two readings, one behind the other, are equal.
pub(crate) fn read<T: Transport>(
    provider: ProviderName,
    session: &Session<T>,
    deadline: Deadline,
    nic: impl Fn(MacAddr) -> Result<Nic, Error>,
) -> Result<Reading, Error> {
    let mut last: Option<Result<Reading, Error>> = None;
    for _ in 0..MOST_READINGS {
        let reading = once(provider, session, deadline, &nic);
        match &reading {
            // It will not pass by reading again: attempts and time are used up.
            Err(Error::Unreachable { .. } | Error::Refused { .. } | Error::TooLong { .. }) => {
                return reading;
            }
            _ if last.as_ref() == Some(&reading) => return reading,
            _ => last = Some(reading),
        }
    }
    Err(Error::Unsteady { readings: MOST_READINGS })
}

fn once<T: Transport>(
    provider: ProviderName,
    session: &Session<T>,
    deadline: Deadline,
    nic: impl Fn(MacAddr) -> Result<Nic, Error>,
) -> Result<Reading, Error> {
    let macs = macs(session, deadline)?;
    let nics = macs.into_iter().map(nic).collect::<Result<Vec<_>, _>>()?;
    Reading::checked(provider, nics)
}

/// The MACs that the service lists, at least one.
fn macs<T: Transport>(session: &Session<T>, deadline: Deadline) -> Result<Vec<MacAddr>, Error> {
    let url = session.url(NICS);
    let because = || "every instance has a NIC".to_owned();
    let Some(text) = session.text(NICS, deadline)? else {
        return Err(Error::Missing { url, because: because() });
    };
    let macs: Vec<MacAddr> = list::values(&url, &text, "a MAC address")?;
    let refused = |value: String, rule: String| Error::Format { url: url.clone(), value, rule };
    if macs.is_empty() {
        return Err(refused(text, because()));
    }
    if macs.len() > MOST_NICS {
        return Err(refused(format!("{} NICs", macs.len()), format!("at most {MOST_NICS}")));
    }
    // The lowest bit of the first byte marks a group address, which no NIC has.
    if let Some(group) = macs.iter().find(|mac| mac.0[0] & 1 == 1 || mac.0 == [0; 6]) {
        return Err(refused(group.to_string(), "it must be the MAC of one NIC".to_owned()));
    }
    Ok(macs)
}
