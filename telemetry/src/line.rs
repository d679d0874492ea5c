//! An event as one line, whatever is in its texts.
//!
//! Names of pods come from whoever may make pods. So what could end a line, move a cursor or turn
//! the direction of writing is escaped, in both forms and on standard error.

use std::fmt::Write;

use crate::event::{Event, Value};
use crate::settings::Format;
use crate::timestamp::rfc3339;

/// The line with its end.
pub(crate) fn line(event: &Event, format: Format) -> String {
    let mut line = match format {
        Format::Json => json(event),
        Format::Text => text(event),
    };
    line.push('\n');
    line
}

fn json(event: &Event) -> String {
    let mut line = format!("{{\"time\":\"{}\",\"level\":\"", rfc3339(event.time));
    line.push_str(event.level.as_str());
    line.push_str("\",\"plugin\":");
    quote(&mut line, &event.plugin);
    for (name, value) in &event.fields {
        let _ = write!(line, ",\"{name}\":");
        match value {
            Value::Text(text) => quote(&mut line, text),
            Value::Number(number) => line.push_str(&number.to_string()),
            Value::List(texts) => {
                separated(&mut line, '[', texts, |line, text| quote(line, text));
                line.push(']');
            }
            Value::Parts(parts) => {
                separated(&mut line, '{', parts, |line, (part, number)| {
                    quote(line, part);
                    let _ = write!(line, ":{number}");
                });
                line.push('}');
            }
        }
    }
    line.push_str(",\"message\":");
    quote(&mut line, &event.message);
    line.push('}');
    line
}

fn text(event: &Event) -> String {
    let level = event.level.as_str();
    let mut line = format!("{} {level} {}: ", rfc3339(event.time), event.plugin);
    escape(&mut line, &event.message, false);
    for (name, value) in &event.fields {
        let _ = write!(line, " {name}=");
        match value {
            Value::Text(text) => word(&mut line, text),
            Value::Number(number) => line.push_str(&number.to_string()),
            Value::List(texts) => word(&mut line, &texts.join(",")),
            Value::Parts(parts) => {
                let parts: Vec<_> =
                    parts.iter().map(|(it, number)| format!("{it}:{number}")).collect();
                word(&mut line, &parts.join(","));
            }
        }
    }
    line
}

fn separated<T>(line: &mut String, first: char, all: &[T], each: impl Fn(&mut String, &T)) {
    line.push(first);
    for (place, one) in all.iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        each(line, one);
    }
}

/// Bare where a reader of `key=value` sees its end.
fn word(line: &mut String, text: &str) {
    let is_plain = |it: char| it.is_ascii_graphic() && !matches!(it, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(is_plain) {
        line.push_str(text);
    } else {
        quote(line, text);
    }
}

/// A JSON text (RFC 8259, section 7).
fn quote(line: &mut String, text: &str) {
    line.push('"');
    escape(line, text, true);
    line.push('"');
}

/// The text without anything that a terminal or a reader of lines would obey.
pub(crate) fn harmless(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    escape(&mut line, text, false);
    line
}

fn escape(line: &mut String, text: &str, quoted: bool) {
    for character in text.chars() {
        match character {
            '"' | '\\' if quoted => line.extend(['\\', character]),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            '\r' => line.push_str("\\r"),
            it if is_obeyed(it) => {
                for unit in it.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
            it => line.push(it),
        }
    }
}

/// Control characters (C0, DEL and C1), separators of lines, and what turns the direction of
/// writing (Unicode Standard Annex 9, section 2) or is not seen at all.
fn is_obeyed(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || matches!(it, '\u{61c}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::settings::LevelName;

    fn event(message: &str, pod: &str) -> Event {
        Event {
            time: UNIX_EPOCH,
            level: LevelName::Info,
            plugin: "cni-ipam".into(),
            message: message.into(),
            fields: vec![
                ("verb", Value::Text("ADD".into())),
                ("pod", Value::Text(pod.into())),
                ("addresses", Value::List(vec!["10.1.0.5".into(), "fd00::5".into()])),
                ("durationMicros", Value::Number(812)),
                ("phasesMicros", Value::Parts(vec![("parse", 80), ("ipam", 732)])),
            ],
        }
    }

    #[test]
    fn both_forms_have_every_field_in_order() {
        assert_eq!(
            line(&event("ADD done", "default/app-1"), Format::Json),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"plugin\":\"cni-ipam\",\
             \"verb\":\"ADD\",\"pod\":\"default/app-1\",\"addresses\":[\"10.1.0.5\",\"fd00::5\"],\
             \"durationMicros\":812,\"phasesMicros\":{\"parse\":80,\"ipam\":732},\
             \"message\":\"ADD done\"}\n"
        );
        assert_eq!(
            line(&event("ADD done", "default/app-1"), Format::Text),
            "1970-01-01T00:00:00.000Z info cni-ipam: ADD done verb=ADD pod=default/app-1 \
             addresses=10.1.0.5,fd00::5 durationMicros=812 phasesMicros=parse:80,ipam:732\n"
        );
    }

    /// A pod's name that would write lines of its own, or hide some.
    #[test]
    fn no_name_ends_a_line_or_reaches_a_terminal() {
        let evil = "a\n{\"level\":\"info\"}\r\u{1b}[2J\u{9b}2J\u{7f}\0\u{2028}\u{202e}\"\\=\u{e0041} \u{85}ü";
        for format in [Format::Json, Format::Text] {
            let line = line(&event(evil, evil), format);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            let body = line.strip_suffix('\n').unwrap();
            assert!(body.chars().all(|it| !is_obeyed(it)), "{line:?}");
            assert!(body.contains('ü'), "{line:?}");
        }
        let read: serde_json::Value =
            serde_json::from_str(&line(&event(evil, evil), Format::Json)).unwrap();
        assert_eq!(read["pod"], evil, "nothing is lost");
        assert_eq!(read["message"], evil);
        let text = line(&event("m", "x y=z"), Format::Text);
        assert!(text.contains(" pod=\"x y=z\" "), "{text}");
    }
}
