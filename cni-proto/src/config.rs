//! The network configuration that a runtime writes on a plugin's standard input.
//!
//! It is read as Go's library reads it, see [`NetworkConfig::plugin`], and once strictly and once
//! leniently: an ADD must not guess, a DEL must not fail.

use std::io::Read;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::decode::{decode, leading, object, salvage};
use crate::error::{Code, Error};
use crate::id::NetworkName;
use crate::result::AddResult;
use crate::version::Version;

/// The fields of the specification, section 1 and section 3, that reach a plugin.
pub const SPECIFIED_FIELDS: &[&str] = &[
    "cniVersion",
    "name",
    "type",
    "ipam",
    "dns",
    "ipMasq",
    "capabilities",
    "runtimeConfig",
    "args",
    "prevResult",
    VALID_ATTACHMENTS,
    ATTACHMENTS,
];

/// The list that only GC has.
pub(crate) const VALID_ATTACHMENTS: &str = "cni.dev/valid-attachments";

/// Its first name; libcni sends both (containernetworking/cni issue 1101).
pub(crate) const ATTACHMENTS: &str = "cni.dev/attachments";

/// One plugin's configuration, every field as it should be; for all verbs but DEL.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// The version that was asked for and that is answered in.
    pub cni_version: Version,
    /// Which network.
    pub name: NetworkName,
    /// The plugin that this is for. A delegate sees its caller's here, its own is `ipam.type`.
    pub plugin_type: String,
    /// What the plugins before this one made (ADD), or the whole chain (CHECK). `None` on ADD means
    /// this plugin is the first.
    pub prev_result: Option<AddResult>,
    raw: Value,
}

impl NetworkConfig {
    /// Reads a configuration. Keys that the specification has match in any case, the last of
    /// several counts, `null` is as good as absent, and unknown keys are tolerated.
    ///
    /// # Errors
    /// Code 6 if the text is not one JSON object, or `cniVersion` or `prevResult` cannot be
    /// decoded; code 1 if the version is not supported; code 7 if `name` or `type` is missing or
    /// invalid. Whoever wrote the configuration has to change it.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        Self::from_object(parse_object(text)?)
    }

    pub(crate) fn from_object(raw: Value) -> Result<Self, Error> {
        let cni_version = version(&raw)?;
        let (name, plugin_type) = identity(&raw)?;
        let prev_result = match &raw["prevResult"] {
            Value::Null => None,
            prev => Some(
                AddResult::from_json(prev)
                    .map_err(|error| Error { msg: "invalid prevResult".to_owned(), ..error })?,
            ),
        };
        Ok(Self { cni_version, name, plugin_type, prev_result, raw })
    }

    /// The plugin's own fields (and any of the specification's, `ipam` say), as a type that the
    /// plugin chose.
    ///
    /// Field names match keys in any ASCII case, in nested structs too, and `null` is as good as
    /// absent: give optional fields `#[serde(default)]`. `T` must tolerate the keys of others, so
    /// no `deny_unknown_fields` on it (on what it holds, it is fine). Below `#[serde(flatten)]`, in
    /// untagged and in tagged enums, serde matches keys literally, and names no field in errors.
    /// Keys of maps must be text.
    ///
    /// # Errors
    /// Code 7; the message names the field by its path, as in `ipam.ranges[0].subnet`.
    pub fn plugin<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode(&self.raw).map_err(|error| {
            Error::new(Code::INVALID_CONFIG, format!("invalid network configuration: {error}"))
        })
    }

    /// What the chain's ADD answered, for a CHECK, whose configuration has to hold it.
    ///
    /// # Errors
    /// Code 7 if there is none: the runtime has lost it, and nothing can be compared.
    pub fn required_prev_result(&self) -> Result<&AddResult, Error> {
        let missing =
            || Error::new(Code::INVALID_CONFIG, "network configuration has no prevResult");
        self.prev_result.as_ref().ok_or_else(missing)
    }

    /// The whole object: the specification's keys as it spells them, others as written. Its text is
    /// what a delegate is to get on standard input.
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}

/// One plugin's configuration as DEL sees it: whatever can be read of it.
///
/// A runtime repeats a DEL until it succeeds. If a configuration that has become invalid, or a
/// result of another version, could make it fail, then what the ADD left would stay for ever. Only
/// the network's name and the type are indispensable.
#[derive(Debug, Clone, PartialEq)]
pub struct DelConfig {
    /// The version that was asked for; `None` if it is not a supported one.
    pub cni_version: Option<Version>,
    /// Which network.
    pub name: NetworkName,
    /// The plugin that this is for.
    pub plugin_type: String,
    /// The result of the whole chain's ADD. `None` if it is absent, as after a failed ADD or a
    /// reboot; if `cni_version` is `None`, since its layout is unknown then; or if any part of it
    /// is broken, since half a list would shift the indices into it.
    pub prev_result: Option<AddResult>,
    raw: Value,
}

impl DelConfig {
    /// Reads what can be read; keys are matched as for [`NetworkConfig::parse`].
    ///
    /// # Errors
    /// Code 6 if the text is not one JSON object, code 7 if `name` or `type` is missing or invalid:
    /// no ADD can have succeeded with it.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        Self::from_object(parse_object(text)?)
    }

    pub(crate) fn from_object(raw: Value) -> Result<Self, Error> {
        let cni_version = version(&raw).ok();
        let (name, plugin_type) = identity(&raw)?;
        let prev_result = cni_version.and_then(|_| AddResult::from_json(&raw["prevResult"]).ok());
        Ok(Self { cni_version, name, plugin_type, prev_result, raw })
    }

    /// The plugin's own fields, as far as they can be decoded.
    ///
    /// A field that does not fit is left out as if it were absent, and nothing but that field: of a
    /// list only the broken element, of a nested object only the broken field, or the object if the
    /// field is required. So `T` and what it holds should have `#[serde(default)]` on every field;
    /// a required field that is missing at the top makes the whole of it `T::default()`. After 32
    /// broken pieces whole top-level fields are left out.
    ///
    /// What is left may be less than the ADD had. Use it to find things to remove (a master, a
    /// directory), never to conclude that there is nothing to remove.
    pub fn plugin<T: DeserializeOwned + Default>(&self) -> T {
        salvage(&self.raw)
    }

    /// The whole object: the specification's keys as it spells them, others as written.
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}

pub(crate) fn parse_object(text: &[u8]) -> Result<Value, Error> {
    object(text, SPECIFIED_FIELDS).map_err(|error| no_object(&error))
}

/// Reads one object and nothing of what follows it.
pub(crate) fn leading_object(input: &mut dyn Read) -> Result<Value, Error> {
    leading(input, SPECIFIED_FIELDS).map_err(|error| no_object(&error))
}

fn no_object(error: &serde_json::Error) -> Error {
    Error::new(Code::DECODE, "network configuration on stdin is not one JSON object")
        .with_details(error.to_string())
}

/// The version of the configuration, if it is a supported one.
///
/// `cniVersion` absent or empty means 0.1.0 (Go's `version.ConfigDecoder`).
pub(crate) fn version(raw: &Value) -> Result<Version, Error> {
    let stated = match &raw["cniVersion"] {
        Value::Null => return Ok(Version::IMPLIED),
        Value::String(text) if text.is_empty() => return Ok(Version::IMPLIED),
        Value::String(text) => text,
        other => {
            let message = format!("cniVersion must be a string, not {}", kind(other));
            return Err(Error::new(Code::DECODE, message));
        }
    };
    stated.parse().map_err(|error: crate::version::UnsupportedVersion| {
        Error::new(Code::INCOMPATIBLE_VERSION, "incompatible CNI versions")
            .with_details(error.to_string())
    })
}

fn identity(raw: &Value) -> Result<(NetworkName, String), Error> {
    let name = NetworkName::new(required(raw, "name")?)
        .map_err(|error| Error::new(Code::INVALID_CONFIG, error.to_string()))?;
    Ok((name, required(raw, "type")?.to_owned()))
}

fn required<'a>(raw: &'a Value, field: &str) -> Result<&'a str, Error> {
    let message = match &raw[field] {
        Value::String(text) if !text.is_empty() => return Ok(text),
        Value::String(_) | Value::Null => format!("network configuration has no {field}"),
        other => format!("network configuration: {field} must be a string, not {}", kind(other)),
    };
    Err(Error::new(Code::INVALID_CONFIG, message))
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    struct Own {
        #[serde(default)]
        master: String,
        #[serde(default)]
        mtu: u32,
    }

    const PREV: &str = r#"{"ips":[{"address":"10.1.0.5/16"}]}"#;

    fn strict(text: &str) -> Result<NetworkConfig, Error> {
        NetworkConfig::parse(text.as_bytes())
    }

    fn lenient(text: &str) -> Result<DelConfig, Error> {
        DelConfig::parse(text.as_bytes())
    }

    #[test]
    fn known_fields_match_as_in_go() {
        let text = format!(
            r#"{{"CNIVERSION":"1.1.0","Name":"first","name":"a","Type":"t","type":null,
                "prevresult":{PREV},"Master":"eth0","MTU":null,"other":{{}}}}"#
        );
        let config = strict(&text).unwrap();
        assert_eq!(config.cni_version, Version::V1_1_0);
        assert_eq!((config.name.as_str(), &*config.plugin_type), ("a", "t"));
        assert_eq!(config.prev_result.as_ref().unwrap().ips.len(), 1);
        let own = Own { master: "eth0".to_owned(), mtu: 0 };
        assert_eq!(config.plugin::<Own>().unwrap(), own);
        assert_eq!(lenient(&text).unwrap().plugin::<Own>(), own);
        assert_eq!(config.raw()["cniVersion"], "1.1.0");
        assert_eq!(config.raw()["Master"], "eth0");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_code() {
        let listed = r#"plugin supports ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "#;
        for (text, code, msg, details) in [
            (r#"{"cniVersion":"1.2.0"}"#, 1, "incompatible CNI versions", listed),
            (r#"{"cniVersion":"0.1"}"#, 1, "incompatible CNI versions", "config is \"0.1\""),
            (r#"{"cniVersion":1.0}"#, 6, "cniVersion must be a string, not a number", ""),
            (r#"{"cniVersion":"1.0.0"}"#, 7, "network configuration has no name", ""),
            (r#"{"cniVersion":"1.0.0","name":"a/b","type":"t"}"#, 7, "network name \"a/b\"", ""),
            (r#"{"cniVersion":"1.0.0","name":[],"type":"t"}"#, 7, "name must be a string", ""),
            (r#"{"cniVersion":"1.0.0","name":"a"}"#, 7, "network configuration has no type", ""),
            (
                r#"{"cniVersion":"1.0.0","name":"a","type":"t","prevResult":{"ips":[{}]}}"#,
                6,
                "invalid prevResult",
                "ips[0]: missing field `address`",
            ),
            ("[]", 6, "not one JSON object", "expected a JSON object"),
            ("", 6, "not one JSON object", "EOF"),
            ("{} {}", 6, "not one JSON object", "trailing characters"),
        ] {
            let error = strict(text).unwrap_err();
            assert_eq!(error.code.number(), code, "{text}: {error}");
            assert!(error.msg.contains(msg), "{text}: {error}");
            assert!(error.details.contains(details), "{text}: {error}");
        }
        let config = strict(r#"{"cniVersion":"1.0.0","name":"a","type":"t","mtu":"1"}"#).unwrap();
        let error = config.plugin::<Own>().unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG);
        assert_eq!(
            error.msg,
            "invalid network configuration: mtu: invalid type: string \"1\", expected u32"
        );
    }

    #[test]
    fn no_version_is_the_first() {
        for text in [
            r#"{"name":"a","type":"t"}"#,
            r#"{"cniVersion":"","name":"a","type":"t"}"#,
            r#"{"cniVersion":null,"name":"a","type":"t"}"#,
        ] {
            assert_eq!(strict(text).unwrap().cni_version, Version::V0_1_0, "{text}");
            assert_eq!(lenient(text).unwrap().cni_version, Some(Version::V0_1_0), "{text}");
        }
    }

    #[test]
    fn del_needs_a_name_and_a_type() {
        for text in [
            r#"{"cniVersion":"9.9.9","name":"a","type":"t","prevResult":{"cniVersion":"9.9.9"}}"#,
            r#"{"cniVersion":{},"name":"a","type":"t","prevResult":[1],"mtu":"1"}"#,
        ] {
            let config = lenient(text).unwrap();
            assert_eq!((config.cni_version, &config.prev_result), (None, &None), "{text}");
            assert_eq!(config.plugin::<Own>(), Own::default());
        }
        let text = format!(r#"{{"cniVersion":"9","name":"a","type":"t","prevResult":{PREV}}}"#);
        assert_eq!(lenient(&text).unwrap().prev_result, None, "the layout of 9 is unknown");
        for text in [r#"{"name":"a"}"#, r#"{"type":"t"}"#, r#"{"name":"..","type":"t"}"#] {
            assert_eq!(lenient(text).unwrap_err().code, Code::INVALID_CONFIG, "{text}");
        }
    }
}
