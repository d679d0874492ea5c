//! Bind-mounted network namespaces as the kernel lists them.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// Inode and mount point of a line of `/proc/PID/mountinfo` (`mountinfo` in proc(5)), if it is a
/// mounted network namespace.
pub(crate) fn nsfs_mount(line: &[u8]) -> Option<(u64, PathBuf)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let inode = net_inode(fields.nth(3)?)?;
    let path = unescape(fields.next()?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    (kind == b"nsfs").then(|| (inode, OsString::from_vec(path).into()))
}

/// `net:[4026531840]`
pub(crate) fn net_inode(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// `\040` is a space: three octal digits for what would not be one field (`mangle_path`).
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let octal = |digit: u8| (b'0'..=b'7').contains(&digit).then(|| u32::from(digit - b'0'));
        let escaped = match rest {
            [b'\\', a, b, c, ..] => (|| Some(octal(*a)? * 64 + octal(*b)? * 8 + octal(*c)?))(),
            _ => None,
        };
        if let Some(byte) = escaped.and_then(|value| u8::try_from(value).ok()) {
            bytes.push(byte);
            rest = &rest[4..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_network_namespace_is_read_with_its_escapes() {
        let line =
            br"57 42 0:4 net:[4026532345] /run/a\040pod\134\011n rw shared:29 - nsfs nsfs rw";
        let expected = (4_026_532_345, PathBuf::from("/run/a pod\\\tn"));
        assert_eq!(nsfs_mount(line), Some(expected));
        let private = b"57 42 0:4 net:[7] /x rw - nsfs nsfs rw";
        assert_eq!(nsfs_mount(private), Some((7, "/x".into())));
    }

    #[test]
    fn other_and_odd_lines_are_no_network_namespaces() {
        for line in [
            "",
            "57 42 0:4",
            "57 42 0:4 net:[7]",
            "57 42 0:4 net:[7] /x rw",
            "57 42 0:4 mnt:[7] /x rw - nsfs nsfs rw",
            "57 42 0:4 net:[x] /x rw - nsfs nsfs rw",
            "57 42 0:4 net:[7] /x rw - tmpfs net:[7] rw",
            "22 27 0:21 / /proc rw,relatime - proc proc rw",
        ] {
            assert_eq!(nsfs_mount(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn what_is_no_escape_stays() {
        for (text, plain) in
            [(r"a\", r"a\"), (r"\04", r"\04"), (r"\089", r"\089"), (r"\777", r"\777")]
        {
            assert_eq!(unescape(text.as_bytes()), plain.as_bytes());
        }
    }
}
