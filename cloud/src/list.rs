//! The lists that the clouds write, read strictly.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::error::{Error, shortened};

/// The items of a list of lines (AWS), or of one in brackets (Alibaba Cloud), whose items may have
/// quotes, as in JSON, or not. `None` where brackets or quotes do not match.
fn items(text: &str) -> Option<Vec<&str>> {
    let text = text.trim();
    if !text.starts_with('[') && !text.ends_with(']') {
        return Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).collect());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner.split(',').map(|item| unquoted(item.trim())).collect()
}

fn unquoted(item: &str) -> Option<&str> {
    match item.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => (!item.ends_with('"')).then_some(item),
    }
}

/// A list of values, none of them twice.
pub(crate) fn values<T: FromStr + Ord + Clone>(
    url: &str,
    text: &str,
    what: &str,
) -> Result<Vec<T>, Error> {
    let refused = |value: &str, rule: String| {
        Err(Error::Format { url: url.to_owned(), value: shortened(value), rule })
    };
    let Some(items) = items(text) else {
        return refused(text, format!("it must be a list of {what}"));
    };
    let mut seen = BTreeSet::new();
    let mut values = Vec::new();
    for item in items {
        // The list of NICs is one of folders.
        let Ok(value) = item.strip_suffix('/').unwrap_or(item).parse::<T>() else {
            return refused(item, format!("it must be {what}"));
        };
        if !seen.insert(value.clone()) {
            return refused(item, "it must be there once".to_owned());
        }
        values.push(value);
    }
    Ok(values)
}

/// One value.
pub(crate) fn value<T: FromStr>(url: &str, text: &str, what: &str) -> Result<T, Error> {
    text.trim().parse().map_err(|_| Error::Format {
        url: url.to_owned(),
        value: shortened(text),
        rule: format!("it must be {what}"),
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_that_a_cloud_writes() {
        for (text, expected) in [
            (r#"["10.0.0.1","10.0.0.2"]"#, vec!["10.0.0.1", "10.0.0.2"]),
            (r#" [ "10.0.0.1" , "10.0.0.2" ] "#, vec!["10.0.0.1", "10.0.0.2"]),
            ("[2408::1,2408::2]", vec!["2408::1", "2408::2"]),
            ("10.0.0.1\n10.0.0.2", vec!["10.0.0.1", "10.0.0.2"]),
            ("10.0.0.1\r\n10.0.0.2\n", vec!["10.0.0.1", "10.0.0.2"]),
            ("10.0.0.1/\n", vec!["10.0.0.1"]),
            ("[]", vec![]),
            ("", vec![]),
        ] {
            let expected: Vec<IpAddr> = expected.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(values::<IpAddr>("u", text, "an address").unwrap(), expected, "{text:?}");
        }
        for text in [
            r#"["10.0.0.1","10.0.0"#,
            r#"["10.0.0.1",]"#,
            r#"["10.0.0.1]"#,
            r#"[10.0.0.1"]"#,
            r#""10.0.0.1","10.0.0.2"]"#,
            "10.0.0.1,10.0.0.2",
            "10.0.0.1\n10.0.0.1",
            "10.0.0.256",
            "<html>",
            "\u{0}",
        ] {
            let error = values::<IpAddr>("the-url", text, "an address").unwrap_err().to_string();
            assert!(error.contains("the-url"), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}|[\\[\\]\",./:a-f0-9\n]{0,60}") {
            let _ = values::<IpAddr>("u", &text, "an address");
        }
    }
}
