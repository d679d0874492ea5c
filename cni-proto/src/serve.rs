//! One call of a plugin: from environment and input to output and exit code.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::config::{leading_object, parse_object, version};
use crate::env::Environment;
use crate::error::{Code, Error};
use crate::in_use;
use crate::request::{AddRequest, CheckRequest, DelRequest, GcRequest, StatusRequest};
use crate::result::AddResult;
use crate::verb::Verb;
use crate::version::{Version, supported};

/// How much of standard input is read, in bytes. Real configurations have some thousand.
pub const MAX_INPUT_BYTES: u64 = 16 * 1024 * 1024;

/// What a plugin does for each verb; VERSION is answered by [`serve`] alone.
///
/// A returned [`Error`] is printed as it is, but for phrases in a DEL's that containerd would take
/// for success.
pub trait Plugin {
    /// The name of the program, for the text that a person gets who starts it by hand.
    fn name(&self) -> &str;

    /// Attaches the container, or fails and leaves nothing behind.
    ///
    /// # Errors
    /// Whatever the runtime should be told. It will ask for a DEL, though perhaps much later.
    fn add(&self, request: &AddRequest) -> Result<AddResult, Error>;

    /// Releases whatever an ADD with the same container and interface left; nothing is success.
    ///
    /// # Errors
    /// Only if something that exists could not be released: the runtime will ask again.
    fn del(&self, request: &DelRequest) -> Result<(), Error>;

    /// Answers whether the attachment is as `config.prev_result` says.
    ///
    /// # Errors
    /// What differs. By default code 4: not supported.
    fn check(&self, request: &CheckRequest) -> Result<(), Error> {
        let _ = request;
        Err(unsupported(self.name(), Verb::Check))
    }

    /// Releases what belongs to no valid attachment.
    ///
    /// # Errors
    /// All that could not be released, after everything was tried. By default code 4: not
    /// supported.
    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        let _ = request;
        Err(unsupported(self.name(), Verb::Gc))
    }

    /// Answers whether an ADD could be served, and reserves nothing.
    ///
    /// # Errors
    /// Code 50 or 51 if not. By default code 4: not supported.
    fn status(&self, request: &StatusRequest) -> Result<(), Error> {
        let _ = request;
        Err(unsupported(self.name(), Verb::Status))
    }
}

fn unsupported(plugin: &str, verb: Verb) -> Error {
    let message = format!("{plugin} does not support CNI_COMMAND {verb}");
    Error::new(Code::INVALID_ENVIRONMENT, message)
}

/// Answers one call and returns the exit code of the process: 0 or 1.
///
/// *Guarantees.* Everything is validated before the plugin is asked. `stdout` gets at most one JSON
/// object, in one write after the work is done: a result, the supported versions, or an error. It
/// gets nothing on success of DEL, CHECK, GC and STATUS. Without `CNI_COMMAND` a text about the
/// plugin goes to `stderr`. No input makes it panic (a plugin may: see [`panic_object`]).
///
/// VERSION answers in the version that its input names, if that is spoken, else in the newest. It
/// reads no further than to the end of that object and takes whatever it finds there, for a runtime
/// need not close its end before it has the answer. Every other verb reads to the end.
///
/// *Assumptions.* The streams are not locked by the caller, or the panic hook could wait for ever
/// on another thread. `stdin` says something or ends: there is no time in this crate, so a caller
/// that must not wait for a silent one gives a reader that ends by itself.
pub fn serve(
    plugin: &dyn Plugin,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let env = Environment::new(env);
    let Some(verb) = env.verb() else {
        // Best effort: a person without stderr has no use for the text.
        let _ = writeln!(
            stderr,
            "{}: a CNI plugin for versions {}, started by container runtimes (CNI_COMMAND unset)",
            plugin.name(),
            supported().join(", "),
        );
        return 0;
    };

    let input = match verb {
        Ok(Verb::Version) => leading_object(&mut stdin.take(MAX_INPUT_BYTES)),
        _ => read(stdin).and_then(|text| parse_object(&text)),
    };
    let in_use = input.as_ref().map_or(Version::NEWEST, in_use);
    in_use::remember(in_use);
    let answer = verb.and_then(|verb| {
        let answer = dispatch(plugin, verb, &env, input);
        if verb == Verb::Del { answer.map_err(Error::unmistakable) } else { answer }
    });
    let (object, exit) = match answer {
        Ok(None) => return 0,
        Ok(Some(object)) => (object, 0),
        Err(error) => (error.to_json(in_use), 1),
    };
    match stdout.write_all(&line(&object)).and_then(|()| stdout.flush()) {
        Ok(()) => exit,
        Err(error) => {
            // Best effort: the exit code says it too.
            let _ = writeln!(stderr, "{}: write to stdout: {error}", plugin.name());
            1
        }
    }
}

fn dispatch(
    plugin: &dyn Plugin,
    verb: Verb,
    env: &Environment,
    input: Result<Value, Error>,
) -> Result<Option<Value>, Error> {
    match verb {
        Verb::Add => {
            let request = AddRequest::strict(verb, env, input)?;
            plugin.add(&request)?.to_json(request.config.cni_version).map(Some)
        }
        Verb::Del => plugin.del(&DelRequest::lenient(env, input)?).map(|()| None),
        Verb::Check => plugin.check(&CheckRequest::strict(verb, env, input)?).map(|()| None),
        Verb::Gc => plugin.gc(&GcRequest::new(env, input)?).map(|()| None),
        Verb::Status => plugin.status(&StatusRequest::new(env, input)?).map(|()| None),
        Verb::Version => Ok(Some(json!({
            "cniVersion": input.as_ref().map_or(Version::NEWEST, in_use).as_str(),
            "supportedVersions": supported(),
        }))),
    }
}

/// The version to answer in, whatever else is wrong with the configuration.
fn in_use(config: &Value) -> Version {
    version(config).unwrap_or(Version::NEWEST)
}

fn read(stdin: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let failed = |error| Error::new(Code::IO, format!("read stdin: {error}"));
    stdin.take(MAX_INPUT_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_INPUT_BYTES {
        let message = format!("stdin holds more than the {MAX_INPUT_BYTES} bytes allowed");
        return Err(Error::new(Code::DECODE, message));
    }
    Ok(text)
}

fn line(object: &Value) -> Vec<u8> {
    format!("{object}\n").into_bytes()
}

/// The error object for a plugin that panicked: code 999, the panic's place and text as details.
///
/// A runtime cannot parse an empty answer, and under `panic = "abort"` no code of the plugin runs
/// after a panic but the hook. So a `main` should install one before anything else:
///
/// ```
/// use std::io::{Write, stdout};
///
/// std::panic::set_hook(Box::new(|info| {
///     let _ = stdout().write_all(&cni_proto::panic_object(info, cni_proto::Version::NEWEST));
///     std::process::exit(1)
/// }));
/// ```
///
/// It must exit: otherwise, where panics unwind, whoever joins the thread would print a second
/// object. The object is in the version of the call that [`serve`] is answering in this process, on
/// whatever thread the panic is; `version` is for a panic before that is known.
pub fn panic_object(info: &dyn fmt::Display, version: Version) -> Vec<u8> {
    let error = Error::new(Code::INTERNAL, "the plugin panicked, which is a defect in it")
        .with_details(info.to_string());
    line(&error.unmistakable().to_json(in_use::remembered().unwrap_or(version)))
}
