//! What a network configuration says about logs.

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Map, Value};

/// Where the lines of a plugin go, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `log.level`: the least level of a line, `info` unless stated.
    pub level: LevelName,
    /// `log.format`, of a file: `json` unless stated.
    pub format: Format,
    /// `log.file`, absolute: no file unless stated.
    pub file: Option<LogFile>,
    /// `log.journald`: whether journald gets the lines.
    pub journald: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: LevelName::Info, format: Format::Json, file: None, journald: false }
    }
}

/// A file that is kept within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Absolute.
    pub path: PathBuf,
    /// How large it may become, in bytes; then it gets a number and another one begins.
    pub max_bytes: u64,
    /// How many with a number are kept; 0 for any number.
    pub max_files: u32,
    /// How old one with a number may become, in days; 0 for any age.
    pub max_age_days: u64,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LevelName {
    /// Calls that failed.
    Error,
    /// What a person should look at too.
    Warn,
    /// Each call too.
    Info,
    /// What is in between, too.
    Debug,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Time, level, plugin and words, then `key=value`.
    Text,
}

/// A field that is left out, since its value does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value}: {rule}; logs go on without it")]
pub struct SettingsError {
    /// Its path in the configuration.
    pub field: &'static str,
    /// As JSON.
    pub value: String,
    /// What it must be.
    pub rule: &'static str,
}

const MEGABYTE: u64 = 1 << 20;
const DEFAULT_MEGABYTES: u64 = 10;
const DEFAULT_FILES: u64 = 5;
/// The peer's, where its fields say nothing.
const PEER_MEGABYTES: u64 = 100;

const LEVEL: &str = "it must be \"error\", \"warn\", \"info\" or \"debug\"";
const FORMAT: &str = "it must be \"json\" or \"text\"";
const ABSOLUTE: &str = "it must be an absolute path to a file";
const NUMBER: &str = "it must be a whole number from 0 to 1000000";
const SIZE: &str = "it must be a whole number of megabytes from 1 to 1000000";
const BOOLEAN: &str = "it must be true or false";
const OBJECT: &str = "it must be an object";

impl LogSettings {
    /// The fields of `log`. Keys match in any ASCII case.
    pub const FIELDS: [&str; 7] =
        ["level", "format", "file", "maxSizeMegabytes", "maxFiles", "maxAgeDays", "journald"];

    /// The peer's fields of `ipam` that are heard where there is no `log`.
    pub const PEER_FIELDS: [&str; 5] = [
        "log_level",
        "log_file_path",
        "log_file_max_size",
        "log_file_max_age",
        "log_file_max_count",
    ];

    /// Reads `log` of a configuration, else `log` of its `ipam`, else the peer's fields there
    /// (`log_level`, `log_file_path`, `log_file_max_size` in megabytes, `log_file_max_age` in days,
    /// `log_file_max_count`). Keys match in any ASCII case. What does not fit is left out and
    /// told: a log never stops a plugin.
    pub fn new(config: &Value) -> (Self, Vec<SettingsError>) {
        let mut wrong = Vec::new();
        let config = config.as_object();
        let ipam = config.and_then(|config| member(config, "ipam")).and_then(Value::as_object);
        let log = config.and_then(|config| member(config, "log"));
        let settings = match log.or_else(|| ipam.and_then(|ipam| member(ipam, "log"))) {
            Some(Value::Object(log)) => Self::own(log, &mut wrong),
            Some(other) => {
                wrong.push(SettingsError { field: "log", value: other.to_string(), rule: OBJECT });
                Self::default()
            }
            None => ipam.map_or_else(Self::default, |ipam| Self::of_peer(ipam, &mut wrong)),
        };
        (settings, wrong)
    }

    fn own(log: &Map<String, Value>, wrong: &mut Vec<SettingsError>) -> Self {
        let otherwise = Self::default();
        let mut fields = Fields { of: log, wrong };
        let max_megabytes = fields.size("maxSizeMegabytes", "log.maxSizeMegabytes");
        let max_files = fields.number("maxFiles", "log.maxFiles");
        let max_age_days = fields.number("maxAgeDays", "log.maxAgeDays");
        Self {
            level: fields.word("level", "log.level", LEVEL).unwrap_or(otherwise.level),
            format: fields.word("format", "log.format", FORMAT).unwrap_or(otherwise.format),
            file: fields.path("file", "log.file").map(|path| LogFile {
                path,
                max_bytes: max_megabytes.unwrap_or(DEFAULT_MEGABYTES) * MEGABYTE,
                max_files: small(max_files.unwrap_or(DEFAULT_FILES)),
                max_age_days: max_age_days.unwrap_or(0),
            }),
            journald: fields.boolean("journald", "log.journald").unwrap_or(false),
        }
    }

    fn of_peer(ipam: &Map<String, Value>, wrong: &mut Vec<SettingsError>) -> Self {
        let otherwise = Self::default();
        let mut fields = Fields { of: ipam, wrong };
        let max_megabytes = fields.number("log_file_max_size", "ipam.log_file_max_size");
        let max_megabytes = max_megabytes.filter(|size| *size > 0);
        let max_files = fields.number("log_file_max_count", "ipam.log_file_max_count");
        let max_age_days = fields.number("log_file_max_age", "ipam.log_file_max_age");
        Self {
            level: fields.word("log_level", "ipam.log_level", LEVEL).unwrap_or(otherwise.level),
            file: fields.path("log_file_path", "ipam.log_file_path").map(|path| LogFile {
                path,
                max_bytes: max_megabytes.unwrap_or(PEER_MEGABYTES) * MEGABYTE,
                max_files: small(max_files.unwrap_or(0)),
                max_age_days: max_age_days.unwrap_or(0),
            }),
            ..otherwise
        }
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn member<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let found = object.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(key));
    found.map(|(_, value)| value).filter(|value| !value.is_null())
}

struct Fields<'a> {
    of: &'a Map<String, Value>,
    wrong: &'a mut Vec<SettingsError>,
}

impl Fields<'_> {
    fn read<T>(
        &mut self,
        key: &str,
        field: &'static str,
        rule: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = member(self.of, key)?;
        let read = read(value);
        if read.is_none() {
            self.wrong.push(SettingsError { field, value: value.to_string(), rule });
        }
        read
    }

    fn word<T: FromStr>(
        &mut self,
        key: &str,
        field: &'static str,
        rule: &'static str,
    ) -> Option<T> {
        self.read(key, field, rule, |value| value.as_str()?.parse().ok())
    }

    fn path(&mut self, key: &str, field: &'static str) -> Option<PathBuf> {
        self.read(key, field, ABSOLUTE, |value| {
            let path = PathBuf::from(value.as_str()?);
            (path.is_absolute() && path.file_name().is_some()).then_some(path)
        })
    }

    /// The peer's documentation writes some of its numbers as texts.
    fn number(&mut self, key: &str, field: &'static str) -> Option<u64> {
        self.read(key, field, NUMBER, whole)
    }

    fn size(&mut self, key: &str, field: &'static str) -> Option<u64> {
        self.read(key, field, SIZE, |value| whole(value).filter(|size| *size > 0))
    }

    fn boolean(&mut self, key: &str, field: &'static str) -> Option<bool> {
        self.read(key, field, BOOLEAN, Value::as_bool)
    }
}

fn whole(value: &Value) -> Option<u64> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    (number <= 1_000_000).then_some(number)
}

impl FromStr for LevelName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "error" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            _ => Err(()),
        }
    }
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(()),
        }
    }
}

impl LevelName {
    /// The word in a configuration and in a line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The priority that syslog and journald know (RFC 5424, section 6.2.1).
    pub(crate) const fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warn => 4,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

#[cfg(test)]
mod tests;
