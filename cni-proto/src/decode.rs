//! JSON read as Go's `encoding/json` reads it, because configurations are written against Go.
//!
//! - A key matches a field whatever the ASCII case; of several spellings the last counts. Inside
//!   nested objects, where the order of the text is no longer known, the exact spelling comes
//!   first. Keys of maps (as opposed to fields of structs) are left alone.
//! - `null` for a field is as good as leaving the field out.
//! - Unlike Go's and unlike `serde_json`'s, an error says where: `ipam.ranges[0].subnet`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde_json::{Map, Value};

/// Parses one object. Keys that match one of `known` get its spelling; other keys keep theirs, and
/// of several spellings of one key only the last stays.
pub(crate) fn object(text: &[u8], known: &'static [&'static str]) -> serde_json::Result<Value> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let object = parser.deserialize_map(TopLevel(known))?;
    parser.end()?;
    Ok(Value::Object(object))
}

/// The same from a stream, of which no byte behind the object is read.
pub(crate) fn leading(
    input: &mut dyn Read,
    known: &'static [&'static str],
) -> serde_json::Result<Value> {
    let mut parser = serde_json::Deserializer::from_reader(input);
    parser.deserialize_map(TopLevel(known)).map(Value::Object)
}

struct TopLevel(&'static [&'static str]);

impl<'de> Visitor<'de> for TopLevel {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        let mut spellings = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            let known = self.0.iter().find(|known| known.eq_ignore_ascii_case(&key));
            let key = known.map_or(key, |known| (*known).to_owned());
            let folded = key.to_ascii_lowercase();
            if value.is_null() && spellings.contains_key(&folded) {
                continue;
            }
            if let Some(earlier) = spellings.insert(folded, key.clone()) {
                object.remove(&earlier);
            }
            object.insert(key, value);
        }
        Ok(object)
    }
}

/// Decodes a value into a type of the caller's.
pub(crate) fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, DecodeError> {
    T::deserialize(Node(value))
}

/// Decodes what can be decoded: whatever stands in the way is taken out, the smallest piece first.
///
/// After [`REPAIRS`] pieces whole top-level fields go, after twice as many everything: the time
/// spent is bounded whatever the value.
pub(crate) fn salvage<T: DeserializeOwned + Default>(value: &Value) -> T {
    let mut rest = value.clone();
    for attempt in 0..2 * REPAIRS {
        match decode(&rest) {
            Ok(decoded) => return decoded,
            Err(error) if error.path.is_empty() => break,
            Err(error) => {
                let spared = if attempt < REPAIRS { 0 } else { error.path.len() - 1 };
                remove(&mut rest, &error.path[spared..]);
            }
        }
    }
    T::default()
}

const REPAIRS: usize = 32;

/// Takes the value at the end of a path, innermost step first, out of its object or list.
fn remove(root: &mut Value, path: &[Step]) {
    let [innermost, outer @ ..] = path else {
        return;
    };
    let container = outer.iter().rev().try_fold(root, |value, step| match (step, value) {
        (Step::Key(key), Value::Object(object)) => object.get_mut(key),
        (Step::Index(index), Value::Array(list)) => list.get_mut(*index),
        _ => None,
    });
    match (innermost, container) {
        (Step::Key(key), Some(Value::Object(object))) => drop(object.remove(key)),
        (Step::Index(index), Some(Value::Array(list))) if *index < list.len() => {
            list.remove(*index);
        }
        _ => {}
    }
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Where a value did not fit and why.
#[derive(Debug)]
pub(crate) struct DecodeError {
    /// Innermost step first: it grows while the error travels outwards.
    path: Vec<Step>,
    message: String,
}

impl DecodeError {
    fn under(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.path.iter().rev().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), message: message.to_string() }
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        de::Error::custom(error)
    }
}

/// A place in the tree, as the deserializer that serde asks.
struct Node<'de>(&'de Value);

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Array(list) => visitor.visit_seq(Items(list.iter().enumerate())),
            Value::Object(object) => visitor.visit_map(Entries::of_map(object)),
            scalar => Ok(scalar.deserialize_any(visitor)?),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Object(object) => visitor.visit_map(Entries::of_struct(object, fields)),
            // Serde would take a list as the fields in their order; Go does not.
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            scalar => Ok(scalar.deserialize_any(visitor)?),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Ok(self.0.deserialize_enum(name, variants, visitor)?)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'de>(std::iter::Enumerate<std::slice::Iter<'de, Value>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some((index, value)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Node(value)).map(Some).map_err(|e| e.under(Step::Index(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Entry<'de> {
    /// The key as the type knows it.
    name: &'de str,
    /// The key as written.
    key: &'de str,
    value: &'de Value,
}

struct Entries<'de> {
    rest: std::vec::IntoIter<Entry<'de>>,
    value: Option<Entry<'de>>,
}

impl<'de> Entries<'de> {
    fn new(entries: Vec<Entry<'de>>) -> Self {
        Self { rest: entries.into_iter(), value: None }
    }

    fn of_map(object: &'de Map<String, Value>) -> Self {
        let entries = object.iter().map(|(key, value)| Entry { name: key, key, value });
        Self::new(entries.collect())
    }

    fn of_struct(object: &'de Map<String, Value>, fields: &'static [&'static str]) -> Self {
        let mut named: BTreeMap<&str, Entry<'de>> = BTreeMap::new();
        for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            let field = fields.iter().find(|field| field.eq_ignore_ascii_case(key));
            let name = field.copied().unwrap_or(key.as_str());
            if named.get(name).is_none_or(|earlier| earlier.key != name) {
                named.insert(name, Entry { name, key, value });
            }
        }
        Self::new(named.into_values().collect())
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        self.value = self.rest.next();
        let Some(entry) = &self.value else {
            return Ok(None);
        };
        seed.deserialize(BorrowedStrDeserializer::new(entry.name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        let entry = self
            .value
            .take()
            .ok_or_else(|| <DecodeError as de::Error>::custom("value before its key"))?;
        let decoded = seed.deserialize(Node(entry.value));
        decoded.map_err(|e: DecodeError| e.under(Step::Key(entry.key.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Conf {
        #[serde(default)]
        master: String,
        #[serde(default)]
        mtu: u32,
        #[serde(default)]
        ipam: Ipam,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Ipam {
        data_dir: Option<String>,
        #[serde(default)]
        pools: Vec<Pool>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Pool {
        gateway: IpAddr,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        L2,
        L3,
    }

    fn error(value: &Value) -> String {
        decode::<Conf>(value).unwrap_err().to_string()
    }

    #[test]
    fn keys_match_in_any_case_at_every_depth() {
        let value =
            json!({"MASTER": "eth0", "Ipam": {"DATADIR": "/x", "labels": {"A": "1", "a": "2"}}});
        let conf: Conf = decode(&value).unwrap();
        assert_eq!(conf.master, "eth0");
        assert_eq!(conf.ipam.data_dir.as_deref(), Some("/x"));
        assert_eq!(conf.ipam.labels.len(), 2, "keys of maps are left alone");
    }

    #[test]
    fn null_is_absent_and_the_exact_spelling_comes_first() {
        let value = json!({"master": null, "mtu": null, "ipam": null, "mode": null});
        assert_eq!(decode::<Conf>(&value).unwrap(), Conf::default());
        for value in [
            json!({"mtu": 2, "MTU": 1}),
            json!({"MTU": 2, "mtu": null}),
            json!({"MTU": 1, "Mtu": 2}),
        ] {
            assert_eq!(decode::<Conf>(&value).unwrap().mtu, 2, "{value}");
        }
    }

    #[test]
    fn the_last_spelling_at_the_top_counts() {
        let parse = |text: &str| object(text.as_bytes(), &["name"]).unwrap();
        assert_eq!(parse(r#"{"NAME":1,"name":2,"Name":3}"#), json!({"name": 3}));
        assert_eq!(parse(r#"{"name":1,"NAME":null}"#), json!({"name": 1}));
        assert_eq!(parse(r#"{"mtu":1,"MTU":2}"#), json!({"MTU": 2}));
        assert_eq!(parse(r#"{"mtu":null}"#), json!({"mtu": null}));
    }

    #[test]
    fn an_error_says_where() {
        let value = json!({"ipam": {"pools": [{"gateway": "10.0.0.1"}, {"Gateway": "10.0.0"}]}});
        assert_eq!(error(&value), "ipam.pools[1].Gateway: invalid IP address syntax");
        assert_eq!(error(&json!({"mtu": -1})), "mtu: invalid value: integer `-1`, expected u32");
        assert_eq!(
            error(&json!({"mode": "l4"})),
            "mode: unknown variant `l4`, expected `l2` or `l3`"
        );
        assert_eq!(
            error(&json!({"ipam": {"pools": [{}]}})),
            "ipam.pools[0]: missing field `gateway`"
        );
        assert_eq!(
            error(&json!({"ipam": ["/x"]})),
            "ipam: invalid type: sequence, expected struct Ipam"
        );
    }

    #[test]
    fn salvage_loses_no_more_than_is_broken() {
        let conf: Conf = salvage(&json!({
            "master": "eth0",
            "mtu": "big",
            "ipam": {"dataDir": "/x", "pools": [{"gateway": "?"}, {"gateway": "10.0.0.1"}, 7]},
            "mode": {},
        }));
        let gateway = "10.0.0.1".parse().unwrap();
        let ipam = Ipam {
            data_dir: Some("/x".to_owned()),
            pools: vec![Pool { gateway }],
            labels: BTreeMap::new(),
        };
        assert_eq!(conf, Conf { master: "eth0".to_owned(), mtu: 0, ipam, mode: Mode::L2 });
    }

    #[test]
    fn salvage_gives_up_in_bounded_time() {
        let pools = vec![json!({"gateway": 1}); 100_000];
        let conf: Conf = salvage(&json!({"mtu": 9, "ipam": {"dataDir": "/x", "pools": pools}}));
        assert_eq!(conf, Conf { mtu: 9, ..Conf::default() });
        assert_eq!(salvage::<Conf>(&json!(3)), Conf::default());
    }
}
