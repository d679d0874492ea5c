use serde_json::json;

use super::*;
use crate::documentation::documented;

fn read(config: &Value) -> LogSettings {
    let (settings, wrong) = LogSettings::new(config);
    assert_eq!(wrong, [], "{config}");
    settings
}

#[test]
fn every_field_is_read_and_without_any_nothing_is_written() {
    for none in [json!({}), json!({"log":null}), json!({"log":{}}), json!({"ipam":{}}), json!([])] {
        assert_eq!(read(&none), LogSettings::default());
    }
    let log = json!({"Level":"debug","format":"text","file":"/var/log/a","maxSizeMegabytes":3,
        "maxFiles":2,"maxAgeDays":7,"journald":true,"other":1});
    let expected = LogSettings {
        level: LevelName::Debug,
        format: Format::Text,
        file: Some(LogFile {
            path: "/var/log/a".into(),
            max_bytes: 3 << 20,
            max_files: 2,
            max_age_days: 7,
        }),
        journald: true,
    };
    assert_eq!(read(&json!({"log": log, "ipam": {"log_level": "error"}})), expected);
    assert_eq!(read(&json!({"ipam": {"log": log}})), expected);
}

#[test]
fn the_peers_fields_are_understood() {
    let ipam = json!({"log_level":"WARN","log_file_path":"/var/log/s/s.log",
        "log_file_max_size":"30","log_file_max_age":7,"log_file_max_count":0});
    let read_ = read(&json!({ "ipam": ipam }));
    let file = read_.file.unwrap();
    assert_eq!(read_.level, LevelName::Warn);
    assert_eq!((file.max_bytes, file.max_files, file.max_age_days), (30 << 20, 0, 7));
    let unbounded = json!({"ipam": {"log_file_path": "/a/b", "log_file_max_size": 0}});
    assert_eq!(read(&unbounded).file.unwrap().max_bytes, 100 << 20);
}

#[test]
fn the_documentation_has_every_field_and_no_other() {
    let expected = LogSettings::FIELDS.map(str::to_owned).into();
    assert_eq!(documented("log", "field of `log`"), expected);
    let text = include_str!("../../../docs/config.md");
    for field in LogSettings::PEER_FIELDS {
        assert!(text.contains(&format!("`{field}`")) || text.contains(&format!(".{field}`")));
    }
}

/// Each is heard: an object is no value for any.
#[test]
fn every_field_that_is_named_is_read() {
    let refused = |config: Value| {
        let (_, wrong) = LogSettings::new(&config);
        wrong.into_iter().map(|it| it.field).collect::<Vec<_>>()
    };
    for field in LogSettings::FIELDS {
        assert_eq!(refused(json!({"log": {field: {}}})), [format!("log.{field}")]);
    }
    for field in LogSettings::PEER_FIELDS {
        assert_eq!(refused(json!({"ipam": {field: {}}})), [format!("ipam.{field}")]);
    }
}

#[test]
fn what_does_not_fit_is_left_out_and_told() {
    for (log, field) in [
        (json!({"level":"loud"}), "log.level"),
        (json!({"format":7}), "log.format"),
        (json!({"file":"log"}), "log.file"),
        (json!({"file":"/"}), "log.file"),
        (json!({"file":"/a/.."}), "log.file"),
        (json!({"file":"/a","maxSizeMegabytes":0}), "log.maxSizeMegabytes"),
        (json!({"file":"/a","maxFiles":-1}), "log.maxFiles"),
        (json!({"journald":"yes"}), "log.journald"),
        (json!("file"), "log"),
    ] {
        let (settings, wrong) = LogSettings::new(&json!({"log": log, "ipam": {}}));
        assert_eq!(wrong.iter().map(|it| it.field).collect::<Vec<_>>(), [field], "{log}");
        assert!(!settings.journald);
        assert!(settings.level == LevelName::Info && settings.format == Format::Json);
    }
    let (_, wrong) = LogSettings::new(&json!({"log": {"level": "loud"}}));
    assert_eq!(
        wrong[0].to_string(),
        r#"log.level "loud": it must be "error", "warn", "info" or "debug"; logs go on without it"#
    );
}
