//! `CNI_ARGS`: what a runtime says about one attachment, as `KEY=VALUE;KEY=VALUE`.

use std::ffi::OsStr;

use crate::error::{Code, Error};

/// The pairs of `CNI_ARGS` in their order.
///
/// The specification calls the variable deprecated; Kubernetes runtimes still name the pod in it,
/// together with `IgnoreUnknown=1`, so keys that a plugin does not know are no error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CniArgs(Vec<(String, String)>);

impl CniArgs {
    /// Splits at `;`, each piece at its first `=`; an empty piece, as after a last `;`, is none.
    ///
    /// # Errors
    /// Code 4 naming the first piece that has no `=` or no key, or is not UTF-8: tell whoever
    /// configures the runtime.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let text = text.to_str().ok_or_else(|| invalid(&text.to_string_lossy()))?;
        let pairs = pieces(text).map(|piece| pair(piece).ok_or_else(|| invalid(piece)));
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// What can be read of the text, without the pieces for which [`Self::parse`] fails.
    pub fn parse_leniently(text: &OsStr) -> Self {
        let bytes = text.as_encoded_bytes().split(|byte| *byte == b';');
        let sound = bytes.filter_map(|piece| str::from_utf8(piece).ok());
        Self(sound.filter_map(pair).collect())
    }

    /// The value of a key, matched exactly; of several the last. It may be empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().rev().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// All pairs in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Namespace of the pod; `None` if unset or empty, as outside Kubernetes.
    pub fn pod_namespace(&self) -> Option<&str> {
        self.stated("K8S_POD_NAMESPACE")
    }

    /// Name of the pod; `None` if unset or empty.
    pub fn pod_name(&self) -> Option<&str> {
        self.stated("K8S_POD_NAME")
    }

    /// UID of the pod; `None` if unset or empty, as older runtimes leave it.
    pub fn pod_uid(&self) -> Option<&str> {
        self.stated("K8S_POD_UID")
    }

    fn stated(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').filter(|piece| !piece.is_empty())
}

fn pair(piece: &str) -> Option<(String, String)> {
    let (key, value) = piece.split_once('=')?;
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
}

fn invalid(piece: &str) -> Error {
    Error::new(Code::INVALID_ENVIRONMENT, format!("invalid pair {piece:?} in CNI_ARGS"))
        .with_details("CNI_ARGS must be KEY=VALUE pairs, joined by ';', in UTF-8")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_del_reads_what_its_add_has_read() {
        let text = OsStr::new("A=\u{fffd};B=b;;C=");
        let strict = CniArgs::parse(text).unwrap();
        assert_eq!(strict.get("A"), Some("\u{fffd}"));
        assert_eq!(CniArgs::parse_leniently(text), strict);
    }

    #[test]
    fn pairs_keep_their_order_and_the_last_of_a_key_counts() {
        let args = CniArgs::parse(OsStr::new("A=1;B=x=y;;A=2;C=;")).unwrap();
        let pairs: Vec<_> = args.iter().collect();
        assert_eq!(pairs, [("A", "1"), ("B", "x=y"), ("A", "2"), ("C", "")]);
        assert_eq!(args.get("A"), Some("2"));
        assert_eq!(args.get("a"), None);
        assert_eq!(args.get("C"), Some(""));
    }

    #[test]
    fn the_pod() {
        let text = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=app-1;K8S_POD_UID=";
        let args = CniArgs::parse(OsStr::new(text)).unwrap();
        assert_eq!(args.pod_namespace(), Some("default"));
        assert_eq!(args.pod_name(), Some("app-1"));
        assert_eq!(args.pod_uid(), None);
    }

    #[test]
    fn a_malformed_piece_is_named_or_left_out() {
        for (text, piece) in [("A=1;junk;B=2", "junk"), ("A=1;=v;B=2", "=v"), ("A=1; ;B=2", " ")] {
            let error = CniArgs::parse(OsStr::new(text)).unwrap_err();
            assert_eq!(error.code, Code::INVALID_ENVIRONMENT);
            assert_eq!(error.msg, format!("invalid pair {piece:?} in CNI_ARGS"));
            let lenient = CniArgs::parse_leniently(OsStr::new(text));
            assert_eq!(lenient.iter().collect::<Vec<_>>(), [("A", "1"), ("B", "2")]);
        }
        let bytes = OsStr::from_bytes(b"A=1;B=\xff");
        assert_eq!(CniArgs::parse(bytes).unwrap_err().code, Code::INVALID_ENVIRONMENT);
        assert_eq!(CniArgs::parse_leniently(bytes).iter().collect::<Vec<_>>(), [("A", "1")]);
    }
}
