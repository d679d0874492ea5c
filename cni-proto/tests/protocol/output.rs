//! Standard output: one object, written once, or the exit code says that it was not.

use std::io::{self, Write};

use cni_proto::{AddRequest, AddResult, Code, DelRequest, Error, Plugin, serve};

use crate::call::{CONFIG, ENV, call, env_with};

/// Fails at what it has to do and supports nothing else.
struct Failing;

impl Plugin for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn add(&self, _: &AddRequest) -> Result<AddResult, Error> {
        Err(Error::new(Code::TRY_AGAIN, "address not found").with_details("later"))
    }

    fn del(&self, _: &DelRequest) -> Result<(), Error> {
        Err(Error::new(Code::plugin(1), "link not found")
            .with_details("No such file or directory (os error 2)"))
    }
}

#[test]
fn errors_are_printed_as_they_are_but_never_taken_for_success() {
    let answer = call(&Failing, &ENV, CONFIG);
    assert_eq!(answer.error(), (11, "address not found".to_owned(), "later".to_owned()));
    let answer = call(&Failing, &env_with(&[("CNI_COMMAND", "DEL")]), CONFIG);
    let (msg, details) = ("link missing".to_owned(), "ENOENT (os error 2)".to_owned());
    assert_eq!(answer.error(), (101, msg, details));
}

#[test]
fn what_a_plugin_does_not_support_is_code_4() {
    for verb in ["CHECK", "GC", "STATUS"] {
        let answer = call(&Failing, &env_with(&[("CNI_COMMAND", verb)]), CONFIG);
        let message = format!("failing does not support CNI_COMMAND {verb}");
        assert_eq!(answer.error(), (4, message, String::new()));
    }
}

/// Counts writes, and fails from a given one on.
struct Pipe {
    writes: usize,
    bytes: usize,
    capacity: usize,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.writes == self.capacity {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.writes += 1;
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn one_write_and_a_failed_one_is_exit_1() {
    for (capacity, exit) in [(1, 0), (0, 1)] {
        let env = [("CNI_COMMAND", "VERSION")].map(|(name, value)| (name.into(), value.into()));
        let mut stdout = Pipe { writes: 0, bytes: 0, capacity };
        let mut stderr = Vec::new();
        assert_eq!(serve(&Failing, env, &mut io::empty(), &mut stdout, &mut stderr), exit);
        assert_eq!((stdout.writes, stdout.bytes > 0), (capacity, capacity == 1));
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(said.contains("failing: write to stdout: broken pipe"), exit == 1, "{said}");
    }
}
