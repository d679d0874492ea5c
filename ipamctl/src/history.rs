//! Who held an address before, in one or several stores.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipam_store::{Ended, Error, FormerHolder, Store};
use serde_json::{Value, json};

use crate::clock::utc;
use crate::holder;
use crate::ips::age;

/// The former holders that the stores remember, the latest first.
pub(crate) fn read(
    directories: &[PathBuf],
    patience: Duration,
    address: IpAddr,
) -> Result<Vec<FormerHolder>, Error> {
    let mut all = Vec::new();
    for directory in directories {
        all.extend(Store::new(directory, patience).history(address)?);
    }
    all.sort_by_key(|former| Reverse(former.until_unix_seconds));
    Ok(all)
}

/// One former holder as a line.
pub(crate) fn line(former: &FormerHolder, now_unix_seconds: u64) -> String {
    let FormerHolder { attachment, pod, since_unix_seconds, until_unix_seconds, ended, .. } =
        former;
    let holder = holder::words(pod.as_ref(), attachment);
    let ago = age(*until_unix_seconds, now_unix_seconds);
    let held_for = age(*since_unix_seconds, *until_unix_seconds);
    format!("{holder} for {held_for}, until {} ({ago} ago): {ended}", utc(*until_unix_seconds))
}

/// One former holder as JSON.
pub(crate) fn object(former: &FormerHolder) -> Value {
    let pod = former.pod.as_ref();
    json!({
        "pool": former.pool.as_str(),
        "network": former.attachment.network.as_str(),
        "containerID": former.attachment.container.as_str(),
        "interface": former.attachment.ifname.as_str(),
        "podNamespace": pod.map(|pod| &pod.namespace),
        "podName": pod.map(|pod| &pod.name),
        "podUID": pod.and_then(|pod| pod.uid.as_ref()),
        "sinceUnixSeconds": former.since_unix_seconds,
        "untilUnixSeconds": former.until_unix_seconds,
        "ended": key(former.ended),
        "endedText": former.ended.to_string(),
    })
}

fn key(ended: Ended) -> &'static str {
    match ended {
        Ended::Released => "released",
        Ended::ReleasedByHand => "releasedByHand",
        Ended::TakenOver => "takenOver",
        Ended::Replaced => "replaced",
        Ended::Freed(_) => "freed",
        _ => "other",
    }
}
