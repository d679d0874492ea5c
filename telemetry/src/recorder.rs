//! The subscriber of `tracing` in a plugin: what happens in one call, and where it is written.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use cni_proto::{AddResult, Call, Error, Phases, Verb};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};

use crate::event::{Event, Value, bounded};
use crate::settings::{LevelName, LogSettings};
use crate::{GIVEN, PART, file, journal, line};

/// One process, one call.
#[derive(Debug)]
pub(crate) struct Recorder {
    plugin: String,
    began: Instant,
    call: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    settings: LogSettings,
    verb: Option<Verb>,
    /// What every line says about the call.
    context: Vec<(&'static str, Value)>,
    phases: Phases,
    given: Vec<(String, String)>,
    /// Whether a line could not be written: that is said once.
    silent: bool,
}

impl Recorder {
    /// For the call that begins now.
    pub(crate) fn new(plugin: &str) -> Self {
        Self { plugin: plugin.to_owned(), began: Instant::now(), call: Mutex::default() }
    }

    /// Learns what the call is about, and where lines go.
    pub(crate) fn called(&self, call: &Call<'_>) {
        let (settings, wrong) = call.config.map(LogSettings::new).unwrap_or_default();
        let text = |text: &str| Value::Text(bounded(text.to_owned()));
        let network = call.config.and_then(|config| config["name"].as_str()).unwrap_or_default();
        let pod = match (call.args.pod_namespace(), call.args.pod_name()) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (None, Some(name)) => name.to_owned(),
            _ => String::new(),
        };
        let context = [
            ("verb", call.verb.as_str()),
            ("network", network),
            ("container", &call.container),
            ("ifname", &call.ifname),
            ("pod", &pod),
        ];
        let told = context.iter().filter(|(_, value)| !value.is_empty());
        let context = told.map(|(name, value)| (*name, text(value))).collect();
        let verb = Some(call.verb);
        *self.state() = State { settings, verb, context, ..State::default() };
        for wrong in wrong {
            self.say(&self.plugin, &wrong.to_string());
        }
    }

    /// Writes the line of the call, and answers which verb took how long.
    pub(crate) fn answered(
        &self,
        outcome: Result<Option<&AddResult>, &Error>,
    ) -> Option<(Verb, std::time::Duration)> {
        let took = self.began.elapsed();
        let verb = self.state().verb?;
        let mut fields = Vec::new();
        let (level, message) = match outcome {
            Ok(_) => (LevelName::Info, format!("{verb} done")),
            Err(error) => {
                fields.push(("code", Value::Number(error.code.number().into())));
                (LevelName::Error, error.to_string())
            }
        };
        let (given, phases) = {
            let state = self.state();
            (state.given.clone(), state.phases.clone())
        };
        let ips = outcome.ok().flatten().map(|result| &result.ips);
        let of_result = |ips: &Vec<cni_proto::IpConfig>| {
            ips.iter().map(|ip| ip.address.addr().to_string()).collect::<Vec<_>>()
        };
        let of_pools = || given.iter().map(|(address, _)| address.clone()).collect();
        let addresses = ips.map_or_else(of_pools, of_result);
        let mut pools: Vec<_> = given.iter().map(|(_, pool)| pool.clone()).collect();
        pools.dedup();
        // A failed ADD has none: what it was given for a while is nobody's again.
        for (name, list) in [("addresses", addresses), ("pools", pools)] {
            if outcome.is_ok() && !list.is_empty() {
                fields.push((name, Value::List(list)));
            }
        }
        fields.push(("durationMicros", Value::Number(micros(took))));
        let parts: Vec<_> = phases.iter().map(|(part, took)| (part, micros(took))).collect();
        if !parts.is_empty() {
            fields.push(("phasesMicros", Value::Parts(parts)));
        }
        self.write(level, message, fields);
        Some((verb, took))
    }

    /// Writes that the plugin panicked.
    pub(crate) fn panicked(&self, info: &dyn fmt::Display) {
        self.write(LevelName::Error, format!("the plugin panicked: {info}"), Vec::new());
    }

    fn write(&self, level: LevelName, message: String, fields: Vec<(&'static str, Value)>) {
        let (settings, mut all) = {
            let state = self.state();
            if level > state.settings.level {
                return;
            }
            (state.settings.clone(), state.context.clone())
        };
        all.extend(fields);
        let event = Event {
            time: SystemTime::now(),
            level,
            plugin: self.plugin.clone(),
            message: bounded(message),
            fields: all,
        };
        if let Some(log) = &settings.file {
            let written = file::append(log, &line::line(&event, settings.format));
            self.complain(written, &log.path);
        }
        if settings.journald {
            let socket = Path::new(journal::SOCKET);
            self.complain(journal::send(socket, &event), socket);
        }
    }

    /// A log never fails a call. That it is silent is said once.
    fn complain(&self, written: std::io::Result<()>, place: &Path) {
        let Err(error) = written else { return };
        if !std::mem::replace(&mut self.state().silent, true) {
            let text = format!("log {}: {error}; the call goes on without it", place.display());
            self.say(&self.plugin, &text);
        }
    }

    #[expect(clippy::unused_self, reason = "the one place that says something")]
    fn say(&self, target: &str, text: &str) {
        use std::io::Write;
        let said = line::harmless(text);
        // One write: several processes share the runtime's own. Who does not listen needs nothing.
        let _ = std::io::stderr().write_all(format!("{target}: {said}\n").as_bytes());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// The fields of one event of `tracing`.
#[derive(Default)]
struct Told {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Told {
    fn text(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.push((field.name(), Value::Text(bounded(text))));
        }
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::Number(value)));
    }
}

/// The one field that is a word of the program.
struct Part<'a> {
    recorder: &'a Recorder,
}

impl Visit for Part<'_> {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_str(&mut self, _: &Field, value: &str) {
        // `Phases` keeps static names only; `tracing` forgets that they are.
        if let Some(part) = PARTS.iter().find(|part| **part == value) {
            let elapsed = self.recorder.began.elapsed();
            self.recorder.state().phases.end(part, elapsed);
        }
    }
}

/// Every name that [`crate::part()`] is called with.
const PARTS: &[&str] = &[
    "parse",
    "precheck",
    "ipam",
    "detect",
    "link",
    "settings",
    "addresses",
    "routes",
    "store",
    "survey",
    "record",
    "apply",
];

impl Subscriber for Recorder {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // There are none.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => LevelName::Error,
            Level::WARN => LevelName::Warn,
            Level::INFO => LevelName::Info,
            Level::DEBUG => LevelName::Debug,
            Level::TRACE => {
                match metadata.target() {
                    PART => event.record(&mut Part { recorder: self }),
                    GIVEN => self.given(event),
                    _ => {}
                }
                return;
            }
        };
        let mut told = Told::default();
        event.record(&mut told);
        if level <= LevelName::Warn {
            self.say(metadata.target(), &told.message);
        }
        self.write(level, told.message, told.fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Recorder {
    fn given(&self, event: &tracing::Event<'_>) {
        let mut told = Told::default();
        event.record(&mut told);
        let mut texts = told.fields.into_iter().filter_map(|(_, value)| match value {
            Value::Text(text) => Some(text),
            _ => None,
        });
        if let (Some(address), Some(pool)) = (texts.next(), texts.next()) {
            self.state().given.push((address, pool));
        }
    }
}
