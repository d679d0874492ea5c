//! Which fields a type reads, from the type itself.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// The names under which a struct looks for its fields in an object, those of an alias too, as
/// serde's derive macro has them. Empty for a type that is no struct, and for one with
/// `#[serde(flatten)]`, which asks for an object as it is.
///
/// For whoever holds a configuration or its documentation against the type: a plugin itself
/// tolerates keys that it does not know.
pub fn field_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(Recorder) {
        Ok(_) => &[],
        Err(Recorded(names)) => names,
    }
}

/// Ends with the names that it is asked for.
struct Recorder;

#[derive(Debug)]
struct Recorded(&'static [&'static str]);

impl<'de> Deserializer<'de> for Recorder {
    type Error = Recorded;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Recorded> {
        Err(Recorded(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Recorded> {
        Err(Recorded(fields))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a struct of {:?}", self.0)
    }
}

impl std::error::Error for Recorded {}

impl de::Error for Recorded {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "nothing is read")]
    struct Named {
        #[serde(rename = "excludeIPs")]
        _exclude_ips: Option<u8>,
        #[serde(default, alias = "old")]
        node_name: String,
    }

    #[derive(serde::Deserialize)]
    struct Flat {
        #[serde(flatten)]
        _rest: std::collections::BTreeMap<String, u8>,
    }

    #[test]
    fn names_are_those_of_the_object() {
        assert_eq!(field_names::<Named>(), ["excludeIPs", "nodeName", "old"]);
        assert_eq!(field_names::<Flat>(), [""; 0]);
        assert_eq!(field_names::<Option<Named>>(), [""; 0]);
        assert_eq!(field_names::<Vec<u8>>(), [""; 0]);
    }
}
