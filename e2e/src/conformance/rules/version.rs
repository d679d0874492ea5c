//! VERSION.

use anyhow::Result;
use serde_json::{Value, json};

use super::PROTOCOL_VERSION;
use crate::conformance::answers::seen;
use crate::conformance::case::Case;
use crate::conformance::rule::{Rule, Section, probe};
use crate::conformance::subject::VERSIONS;
use crate::conformance::verdict::{Findings, Verdict};

pub(super) const SECTION: Section = Section {
    title: "VERSION",
    rules: &[
        Rule::any(
            "VER-1",
            "spec 2",
            "Answers `cniVersion` as the input has it, and `supportedVersions`",
            probe!(version_echoes_the_input),
        )
        .also(&[PROTOCOL_VERSION]),
        Rule::any(
            "VER-2",
            "skel",
            "Answers whatever the input is",
            probe!(version_answers_any_input),
        )
        .also(&[PROTOCOL_VERSION]),
        Rule::any(
            "VER-3",
            "spec 2",
            "Lists versions of the specification, letter for letter: runtimes compare the text",
            probe!(only_real_versions_are_listed),
        )
        .also(&[PROTOCOL_VERSION]),
        Rule::any(
            "VER-4",
            "spec 3",
            "Each listed version serves an ADD, whose result is in that version",
            probe!(every_listed_version_is_spoken),
        )
        .also(&["cni-proto/tests/conversion.rs"]),
    ],
};

fn version_echoes_the_input(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for version in case.versions()? {
        let answer = case.ask("VERSION", &json!({"cniVersion": version}))?;
        let object = answer.json.clone().unwrap_or_default();
        let seen = match object["cniVersion"].as_str() {
            Some(same) if same == version => "the version of the input".to_owned(),
            Some(other) => format!("`{other}`"),
            None => seen(&answer),
        };
        let list = object["supportedVersions"].is_array();
        findings.add(&version, object["cniVersion"] == json!(version) && list, seen);
    }
    Ok(findings.verdict())
}

fn version_answers_any_input(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for text in ["", "junk", "{\"cniVersion\":\"9.9.9\"}"] {
        let mut call = case.call("VERSION", &Value::Null);
        text.clone_into(&mut call.conf);
        let answer = case.run(&call)?;
        let list = answer.json.as_ref().is_some_and(|it| it["supportedVersions"].is_array());
        let what = if text.is_empty() { "nothing" } else { text };
        findings.add(format!("`{what}`"), answer.is_success() && list, seen(&answer));
    }
    Ok(findings.verdict())
}

fn only_real_versions_are_listed(case: &Case<'_>) -> Result<Verdict> {
    let versions = case.versions()?;
    let kept = versions.iter().all(|version| VERSIONS.contains(&version.as_str()));
    Ok(Verdict::of(kept, versions.join(" ")))
}

fn every_listed_version_is_spoken(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for (version, answer) in case.results()? {
        let result = answer.json.clone().unwrap_or_default();
        let kept = answer.is_success() && result["cniVersion"] == json!(version);
        let seen = if kept { "spoken".to_owned() } else { seen(answer) };
        findings.add(version, kept, seen);
    }
    Ok(findings.verdict())
}
