//! The pod's annotations, which a runtime hands to a plugin that asks for them.

use serde_json::{Map, Value};

use crate::config::NetworkConfig;
use crate::error::{Code, Error};

/// The capability under which containerd and CRI-O hand over a pod's annotations: a plugin whose
/// configuration has it in `capabilities` finds them in `runtimeConfig`.
pub const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// The longest annotation in bytes that is read: what Kubernetes allows all of an object's together
/// (`apimachinery/pkg/api/validation/objectmeta.go`, `TotalAnnotationSizeLimitB`).
pub const LONGEST_ANNOTATION: usize = 256 << 10;

/// The annotations of the pod that is attached: what whoever made the pod has written.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PodAnnotations<'a>(Option<&'a Map<String, Value>>);

impl<'a> PodAnnotations<'a> {
    /// Those in `runtimeConfig`; none if the runtime gives none, as DEL, GC and STATUS must expect.
    ///
    /// # Errors
    /// Code 7 if they are no object: the runtime's fault.
    pub fn new(config: &'a NetworkConfig) -> Result<Self, Error> {
        match &config.raw()["runtimeConfig"][POD_ANNOTATIONS] {
            Value::Null => Ok(Self::default()),
            Value::Object(annotations) => Ok(Self(Some(annotations))),
            _ => {
                let msg = format!("runtimeConfig.{POD_ANNOTATIONS}: it must be an object");
                Err(Error::new(Code::INVALID_CONFIG, msg))
            }
        }
    }

    /// The text of one annotation, of at most [`LONGEST_ANNOTATION`] bytes. Keys are matched as
    /// written: in Kubernetes their case counts.
    ///
    /// # Errors
    /// Code 7 with the annotation's key if it is longer, or no text: whoever made the pod has to
    /// change it.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        let refused = |rule: String| {
            Err(Error::new(Code::INVALID_CONFIG, format!("annotation {key}: {rule}")))
        };
        match self.0.and_then(|annotations| annotations.get(key)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= LONGEST_ANNOTATION => Ok(Some(text)),
            Some(Value::String(text)) => {
                refused(format!("{} bytes are too many: at most {LONGEST_ANNOTATION}", text.len()))
            }
            Some(_) => refused("it must be a text".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(runtime_config: &str) -> NetworkConfig {
        let text = format!(r#"{{"name":"n","type":"t","runtimeConfig":{runtime_config}}}"#);
        NetworkConfig::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_annotation_is_found_by_its_exact_key() {
        let config = read(r#"{"io.kubernetes.cri.pod-annotations":{"a/b":"c","d":null}}"#);
        let annotations = PodAnnotations::new(&config).unwrap();
        assert_eq!(annotations.text("a/b").unwrap(), Some("c"));
        for absent in ["A/b", "d", "e"] {
            assert_eq!(annotations.text(absent).unwrap(), None, "{absent}");
        }
        for none in ["null", "{}", r#"{"io.kubernetes.cri.pod-annotations":null}"#] {
            let config = read(none);
            assert_eq!(PodAnnotations::new(&config).unwrap(), PodAnnotations::default(), "{none}");
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused_by_name() {
        let long = "x".repeat(LONGEST_ANNOTATION + 1);
        for (value, rule) in [
            ("7".to_owned(), "annotation a: it must be a text"),
            (r#"{"b":"c"}"#.to_owned(), "annotation a: it must be a text"),
            (format!("{long:?}"), "annotation a: 262145 bytes are too many: at most 262144"),
        ] {
            let config =
                read(&format!(r#"{{"io.kubernetes.cri.pod-annotations":{{"a":{value}}}}}"#));
            let error = PodAnnotations::new(&config).unwrap().text("a").unwrap_err();
            assert_eq!((error.code, &*error.msg), (Code::INVALID_CONFIG, rule));
        }
        let config = read(r#"{"io.kubernetes.cri.pod-annotations":["a"]}"#);
        let error = PodAnnotations::new(&config).unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG);
        assert!(error.msg.contains("it must be an object"), "{error}");
    }
}
