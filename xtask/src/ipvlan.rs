//! Whether the running kernel has ipvlan.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Makes a veth pair and an ipvlan link on it, in a namespace that ends with the shell.
const PROBE: &str = "ip link add probe0 type veth peer name probe1 &&
exec ip link add link probe0 name probe2 type ipvlan mode l2";

/// Creates a real ipvlan link, since neither a module file nor a kernel option proves anything.
///
/// # Errors
/// Without root, or if it fails for another reason than a missing link type: then nothing can be
/// said about ipvlan.
pub(crate) fn available() -> Result<bool> {
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces need root");
    }
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", PROBE])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .context("cannot start unshare")?;
    let reason = String::from_utf8_lossy(&output.stderr);
    answer(output.status.success(), reason.trim())
}

fn answer(made: bool, reason: &str) -> Result<bool> {
    match reason {
        _ if made => Ok(true),
        "Error: Unknown device type." => Ok(false),
        _ => bail!("cannot make links in a namespace: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_answer_says_that_ipvlan_is_missing() {
        assert!(answer(true, "").unwrap());
        assert!(!answer(false, "Error: Unknown device type.").unwrap());
        assert!(answer(false, "RTNETLINK answers: Operation not permitted").is_err());
    }
}
