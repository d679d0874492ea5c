//! A file in the format of resolv.conf(5) as the `dns` of a result.

use std::path::Path;

use cni_proto::{Code, Dns, Error};

use crate::regular_file;

/// The longest file in bytes that is read. glibc looks at a few lines.
const LONGEST_FILE: u64 = 1 << 20;

/// Reads the file. As host-local: of several `domain` lines the last counts, all others add up.
///
/// # Errors
///
/// Code 7 if the file cannot be read, is no regular one, or too long.
pub(crate) fn read(path: &Path) -> Result<Dns, Error> {
    let bytes = regular_file::read(path, LONGEST_FILE).map_err(|error| {
        let msg = format!("ipam.resolvConf {}: {error}", path.display());
        Error::new(Code::INVALID_CONFIG, msg)
    })?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let Some(keyword) = words.next() else { continue };
        match keyword.as_str() {
            "nameserver" => dns.nameservers.extend(words.next()),
            "domain" => dns.domain = words.next().or(dns.domain),
            "search" => dns.search.extend(words),
            "options" => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_add_up_and_the_last_domain_counts() {
        let text = "# c\n ; c\nnameserver 10.0.0.1 x\nnameserver\nnameserver fe80::1%eth0\n\
                    domain a.example\ndomain b.example\ndomain\nsearch a b\nsearch c\n\
                    options ndots:5 rotate\nsortlist 10.0.0.0\n";
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = Dns {
            nameservers: texts(&["10.0.0.1", "fe80::1%eth0"]),
            domain: Some("b.example".to_owned()),
            search: texts(&["a", "b", "c"]),
            options: texts(&["ndots:5", "rotate"]),
        };
        assert_eq!(parse(text), expected);
        assert_eq!(read(Path::new("/nowhere")).unwrap_err().code, Code::INVALID_CONFIG);
    }

    /// An ADD waited for ever for a pipe's writer, and took all memory for a file without an end.
    #[test]
    fn a_pipe_or_an_endless_file_stops_no_add() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let long = directory.path().join("long");
        std::fs::File::create(&long).unwrap().set_len(LONGEST_FILE + 1).unwrap();
        for (path, expected) in [
            (&*pipe, "it is no regular file"),
            (Path::new("/dev/zero"), "it is no regular file"),
            (&*long, "it is longer than 1048576 bytes"),
        ] {
            let error = read(path).unwrap_err();
            assert_eq!(error.code, Code::INVALID_CONFIG);
            assert!(error.msg.contains(expected), "{error}");
        }
    }
}
