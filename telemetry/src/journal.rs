//! journald's native protocol: one datagram an event (systemd, "Native Journal Protocol").
//!
//! A field is `NAME=value`, or, where the value has a line's end, `NAME`, a line's end, the length
//! in eight bytes (little-endian), the value. So no value is ever taken for a field.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::event::{Event, Value};

/// Where journald listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends one event.
///
/// # Errors
/// Nobody listens there, or does not keep up: it is lost, nobody waits.
pub(crate) fn send(socket: &Path, event: &Event) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to(&datagram(event), socket).map(drop)
}

fn datagram(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    field(&mut bytes, "MESSAGE", &event.message);
    field(&mut bytes, "PRIORITY", &event.level.priority().to_string());
    field(&mut bytes, "SYSLOG_IDENTIFIER", &event.plugin);
    for (name, value) in &event.fields {
        let name = journal_name(name);
        match value {
            Value::Text(text) => field(&mut bytes, &name, text),
            Value::Number(number) => field(&mut bytes, &name, &number.to_string()),
            // A field may come several times.
            Value::List(texts) => texts.iter().for_each(|text| field(&mut bytes, &name, text)),
            Value::Parts(parts) => {
                let parts: Vec<_> =
                    parts.iter().map(|(it, number)| format!("{it}={number}")).collect();
                field(&mut bytes, &name, &parts.join(" "));
            }
        }
    }
    bytes
}

/// `NODE_IPAM_` and the name in upper case: `durationMicros` is `NODE_IPAM_DURATION_MICROS`.
fn journal_name(name: &str) -> String {
    let mut journal = "NODE_IPAM_".to_owned();
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            journal.push('_');
        }
        journal.push(character.to_ascii_uppercase());
    }
    journal
}

fn field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend((value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::settings::LevelName;

    #[test]
    fn fields_arrive_and_a_line_end_makes_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let event = Event {
            time: SystemTime::now(),
            level: LevelName::Error,
            plugin: "cni-ipvlan".into(),
            message: "no address".into(),
            fields: vec![
                ("pod", Value::Text("a\nPRIORITY=7".into())),
                ("addresses", Value::List(vec!["10.1.0.5".into(), "fd00::5".into()])),
                ("phasesMicros", Value::Parts(vec![("parse", 80), ("ipam", 9)])),
            ],
        };
        send(&path, &event).unwrap();
        let mut bytes = vec![0; 4096];
        let length = receiver.recv(&mut bytes).unwrap();
        let expected = [
            b"MESSAGE=no address\nPRIORITY=3\nSYSLOG_IDENTIFIER=cni-ipvlan\nNODE_IPAM_POD\n"
                .to_vec(),
            12_u64.to_le_bytes().to_vec(),
            b"a\nPRIORITY=7\nNODE_IPAM_ADDRESSES=10.1.0.5\nNODE_IPAM_ADDRESSES=fd00::5\n".to_vec(),
            b"NODE_IPAM_PHASES_MICROS=parse=80 ipam=9\n".to_vec(),
        ];
        assert_eq!(bytes[..length], expected.concat());
    }

    #[test]
    fn who_does_not_listen_or_keep_up_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let event = Event {
            time: SystemTime::now(),
            level: LevelName::Info,
            plugin: "p".into(),
            message: "m".repeat(8000),
            fields: Vec::new(),
        };
        assert!(send(&path, &event).is_err());
        let _receiver = UnixDatagram::bind(&path).unwrap();
        let full = (0..100_000).find_map(|_| send(&path, &event).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
