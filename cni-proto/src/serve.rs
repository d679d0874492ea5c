//! One call of a plugin: from environment and input to output and exit code.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::call::Call;
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

    /// The version of the program, for the same text: `ipamctl doctor` reads it there. Empty, and
    /// not said, by default.
    fn version(&self) -> &'static str {
        ""
    }

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

    /// Told of each call but VERSION before anything of it is checked: for a log. Does nothing by
    /// default.
    fn called(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// Told how that call ended, once the answer is printed: an ADD with its result, another verb
    /// without. Does nothing by default.
    fn answered(&self, outcome: Result<Option<&AddResult>, &Error>) {
        let _ = outcome;
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
        if !plugin.version().is_empty() {
            let _ = writeln!(stderr, "{} {}", plugin.name(), plugin.version());
        }
        return 0;
    };

    let input = match verb {
        Ok(Verb::Version) => leading_object(&mut stdin.take(MAX_INPUT_BYTES)),
        _ => read(stdin).and_then(|text| parse_object(&text)),
    };
    let in_use = input.as_ref().map_or(Version::NEWEST, in_use);
    in_use::remember(in_use);
    let told = verb.as_ref().ok().copied().filter(|verb| *verb != Verb::Version);
    if let Some(verb) = told {
        plugin.called(&env.call(verb, input.as_ref().ok()));
    }
    let answer = verb.and_then(|verb| {
        let answer = dispatch(plugin, verb, &env, input);
        if verb == Verb::Del { answer.map_err(Error::unmistakable) } else { answer }
    });
    let (object, exit) = match &answer {
        Ok(Answer { object: None, .. }) => (None, 0),
        Ok(Answer { object: Some(object), .. }) => (Some(line(object)), 0),
        Err(error) => (Some(line(&error.to_json(in_use))), 1),
    };
    let printed = object.map_or(Ok(()), |it| stdout.write_all(&it).and_then(|()| stdout.flush()));
    let unprinted = printed.err().map(|error| {
        // Best effort: the exit code says it too.
        let _ = writeln!(stderr, "{}: write to stdout: {error}", plugin.name());
        Error::new(Code::IO, format!("write to stdout: {error}"))
    });
    if told.is_some() {
        plugin.answered(match (&unprinted, &answer) {
            (Some(error), _) | (None, Err(error)) => Err(error),
            (None, Ok(answer)) => Ok(answer.result.as_ref()),
        });
    }
    if unprinted.is_some() { 1 } else { exit }
}

/// What is printed, if anything, and the result that it was made of.
#[derive(Debug, Default)]
struct Answer {
    object: Option<Value>,
    result: Option<AddResult>,
}

fn dispatch(
    plugin: &dyn Plugin,
    verb: Verb,
    env: &Environment,
    input: Result<Value, Error>,
) -> Result<Answer, Error> {
    match verb {
        Verb::Add => {
            let request = AddRequest::strict(verb, env, input)?;
            let result = plugin.add(&request)?;
            let object = result.to_json(request.config.cni_version)?;
            return Ok(Answer { object: Some(object), result: Some(result) });
        }
        Verb::Del => plugin.del(&DelRequest::lenient(env, input)?),
        Verb::Check => plugin.check(&CheckRequest::strict(verb, env, input)?),
        Verb::Gc => plugin.gc(&GcRequest::new(env, input)?),
        Verb::Status => plugin.status(&StatusRequest::new(env, input)?),
        Verb::Version => {
            let object = json!({
                "cniVersion": input.as_ref().map_or(Version::NEWEST, in_use).as_str(),
                "supportedVersions": supported(),
            });
            return Ok(Answer { object: Some(object), result: None });
        }
    }
    .map(|()| Answer::default())
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
