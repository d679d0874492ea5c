//! What is shown while something takes its time.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::fixture::{Fixture, stderr};
use crate::metadata::Metadata;

const WAITING: &str = "waiting for the metadata service";

#[test]
fn a_terminal_shows_what_is_waited_for_and_clears_it() {
    let fixture = Fixture::new();
    let (metadata, answer) = Metadata::held_back(r#","10.7.0.9""#);
    let program = env!("CARGO_BIN_EXE_ipamctl");
    let data_dir = fixture.path("db").display().to_string();
    let mut line = vec![program.to_owned(), "--data-dir".into(), data_dir];
    line.extend(metadata.sync());
    // script(1) of bsdutils, an essential package: its child has a terminal.
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut shown, mut buffer) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&shown).contains(WAITING) {
        let length = stdout.read(&mut buffer).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&buffer[..length]);
    }
    answer.send(()).unwrap();
    stdout.read_to_end(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let (_, after) = shown.rsplit_once(WAITING).unwrap();
    assert!(after.contains("\u{1b}[2K") || after.contains("\u{1b}[K"), "it is cleared: {shown:?}");
    assert!(after.contains("+ 10.7.0.9 added"), "{shown:?}");
}

#[test]
fn nothing_is_drawn_where_nobody_sits() {
    let fixture = Fixture::new();
    let metadata = Metadata::of(r#","10.7.0.9""#);
    let arguments = metadata.sync();
    let output = fixture.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success());
    let said = stderr(&output);
    assert!(!said.contains('\u{1b}') && !said.contains(WAITING), "{said}");
}
