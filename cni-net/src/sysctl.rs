//! One setting under `/proc/sys/net`, of the calling thread's network namespace.
//!
//! Keys are written with slashes, as `ipv4/conf/eth0/arp_notify`: a link's name may have a dot.
//! For another namespace, call from within [`Netns::run`](crate::Netns::run).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::{Context, Operation, Result};

/// What [`write`](write()) found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The value was there already; nothing was written.
    Unchanged,
    /// The value was written.
    Changed {
        /// What was there before, to put back.
        previous: String,
    },
    /// The key is IPv6's and the kernel runs without IPv6: there is nothing to set.
    NoIpv6,
}

/// The value of a setting, without its newline; `None` for a key under `ipv6/` on a kernel that
/// runs without IPv6.
///
/// # Errors
/// `ENOENT`: no such setting, as when the link in the key does not exist.
pub fn read(key: &str) -> Result<Option<String>> {
    let context = Context::new(Operation::ReadSysctl, &key);
    match fs::read_to_string(path(key, context)?) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if lacks_ipv6(key, &error) => Ok(None),
        Err(error) => Err(context.io(&error)),
    }
}

/// Sets a value, writing only where it differs: so it also passes, the value being right, on a
/// read-only `/proc/sys`.
///
/// # Errors
/// `ENOENT`: no such setting. `EROFS`, `EACCES`: `/proc/sys` may not be written here.
/// `EINVAL`: not a value of this setting.
pub fn write(key: &str, value: &str) -> Result<Written> {
    let Some(previous) = read(key)? else {
        return Ok(Written::NoIpv6);
    };
    // Settings of several numbers are read with tabs between and may be written with spaces.
    if previous.split_whitespace().eq(value.split_whitespace()) {
        return Ok(Written::Unchanged);
    }
    let object = format_args!("{key} = {value}");
    let context = Context::new(Operation::WriteSysctl, &object);
    #[cfg(feature = "fault-injection")]
    let fate = crate::fault::refuse_if_chosen(context)?;
    fs::write(path(key, context)?, value).map_err(|error| context.io(&error))?;
    #[cfg(feature = "fault-injection")]
    crate::fault::lose_if_chosen(fate, context)?;
    Ok(Written::Changed { previous })
}

const ROOT: &str = "/proc/sys/net";

fn path(key: &str, context: Context<'_>) -> Result<PathBuf> {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if key.split('/').all(plain) {
        Ok(Path::new(ROOT).join(key))
    } else {
        Err(context.invalid("not a key: use names with slashes between, as ipv4/ip_forward"))
    }
}

fn lacks_ipv6(key: &str, error: &io::Error) -> bool {
    key.starts_with("ipv6/")
        && error.kind() == io::ErrorKind::NotFound
        && !Path::new(ROOT).join("ipv6").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_proc_sys_net() {
        for key in ["", "/etc/passwd", "ipv4/../../kernel/hostname", "ipv4//x", "./ipv4"] {
            let error = read(key).unwrap_err().to_string();
            assert!(error.contains("not a key"), "{error}");
            assert!(write(key, "1").is_err());
        }
    }

    #[test]
    fn an_unknown_setting_is_named() {
        let error = read("ipv4/conf/no-such-link/arp_notify").unwrap_err();
        assert_eq!(error.errno(), Some(rustix::io::Errno::NOENT.raw_os_error()));
        assert_eq!(
            error.to_string(),
            "read sysctl ipv4/conf/no-such-link/arp_notify: No such file or directory (errno 2)"
        );
    }
}
