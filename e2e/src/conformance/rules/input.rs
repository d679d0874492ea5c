//! What a plugin reads on its standard input.

use anyhow::Result;
use serde_json::{Value, json};

use super::{INPUT, LETTER, PROTOCOL_VERSION};
use crate::conformance::answers::{is_code, is_error, is_silent, seen};
use crate::conformance::case::{Case, addresses};
use crate::conformance::rule::{Rule, Section, probe};
use crate::conformance::subject::is_since;
use crate::conformance::verdict::{Findings, Verdict};

pub(super) const SECTION: Section = Section {
    title: "Standard input",
    rules: &[
        Rule::any(
            "IN-1",
            "libcni",
            "`cniVersion` absent or empty means 0.1.0, in which the answer is",
            probe!(no_version_is_the_first),
        )
        .also(&[PROTOCOL_VERSION]),
        Rule::any(
            "IN-2",
            "spec 1, skel",
            "`name` must be there and be made as a container id is; else code 7",
            probe!(network_names_are_checked),
        )
        .also(&["cni-proto/src/id.rs"]),
        Rule::any(
            "IN-3",
            "Go",
            "Keys match whatever their case, as Go's decoder has it",
            probe!(keys_match_in_any_case),
        )
        .also(&["cni-proto/src/decode.rs"]),
        Rule::any(
            "IN-4",
            "Go",
            "Of a key that is there twice the last counts",
            probe!(last_counts),
        )
        .also(&["cni-proto/src/decode.rs"]),
        Rule::any(
            "IN-5",
            "Go",
            "`null` for an optional object is as good as none",
            probe!(null_is_absent),
        )
        .also(&["cni-proto/src/decode.rs"]),
        Rule::any(
            "IN-6",
            "spec 1, libcni",
            "Unknown keys do no harm, nor do `capabilities`, which libcni leaves in, and a \
             `runtimeConfig` of somebody else's",
            probe!(unknown_keys_do_no_harm),
        )
        .also(&[INPUT]),
        Rule::any(
            "IN-7",
            "spec 5",
            "What is not one JSON object is code 6, and so is a `cniVersion` that is no text",
            probe!(what_is_no_object_is_refused),
        )
        .also(&[INPUT]),
        Rule::main(
            "IN-8",
            "libcni",
            "`prevResult` has the layout of the configuration's version, and need not name it",
            probe!(previous_results_are_read),
        )
        .since("0.4.0")
        .also(&[PROTOCOL_VERSION, LETTER]),
        Rule::main(
            "IN-9",
            "ours",
            "`prevResult` of 0.3.1 and 0.4.0, with `ips[].version`, is read in later versions too",
            probe!(older_previous_results_are_read),
        )
        .since("1.0.0")
        .also(&[PROTOCOL_VERSION, LETTER]),
        Rule::main(
            "IN-10",
            "spec 5",
            "A `prevResult` that cannot be decoded is code 6 on CHECK",
            probe!(broken_previous_results_are_refused),
        )
        .since("0.4.0")
        .also(&[PROTOCOL_VERSION]),
        Rule::inside("IN-11", "spec 5", "Input that cannot be read is code 5", &[INPUT]),
        Rule::inside("IN-12", "ours", "No input whatever makes it panic", &[INPUT, "fuzz"]),
    ],
};

/// ADD with this input and DEL with a sound one.
fn add_and_del(case: &Case<'_>, text: &str) -> Result<crate::runtime::Answer> {
    let mut call = case.call("ADD", &case.conf());
    text.clone_into(&mut call.conf);
    let answer = case.run(&call)?;
    case.ask("DEL", &case.conf())?;
    Ok(answer)
}

fn no_version_is_the_first(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    let mut absent = case.conf();
    absent.as_object_mut().map(|fields| fields.remove("cniVersion"));
    for (what, conf) in [("absent", absent), ("empty", case.conf_with("cniVersion", ""))] {
        let answer = add_and_del(case, &conf.to_string())?;
        let result = answer.json.clone().unwrap_or_default();
        let first = result["cniVersion"] == "0.1.0" && result["ip4"].is_object();
        let layout = if first { "a result of 0.1.0".to_owned() } else { seen(&answer) };
        findings.add(what, answer.is_success() && first, layout);
    }
    Ok(findings.verdict())
}

fn network_names_are_checked(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for name in [json!("a/b"), json!(".x"), json!("-x"), json!(""), Value::Null] {
        let answer = case.ask("ADD", &case.conf_with("name", name.clone()))?;
        findings.add(format!("`{name}`"), is_code(&answer, 7), seen(&answer));
    }
    Ok(findings.verdict())
}

fn keys_match_in_any_case(case: &Case<'_>) -> Result<Verdict> {
    let text = case.conf().to_string();
    let text = [("cniVersion", "CNIVERSION"), ("name", "Name"), ("ipam", "IPAM"), ("type", "Type")]
        .iter()
        .fold(text, |text, (key, odd)| text.replace(&format!("\"{key}\""), &format!("\"{odd}\"")));
    let answer = add_and_del(case, &text)?;
    let in_use = answer.json.as_ref().is_some_and(|it| it["cniVersion"] == case.newest);
    Ok(Verdict::of(answer.is_success() && in_use, seen(&answer)))
}

fn last_counts(case: &Case<'_>) -> Result<Verdict> {
    let text = case.conf().to_string();
    let answer = add_and_del(case, &format!("{{\"name\":\"a/b\",{}", &text[1..]))?;
    Ok(Verdict::of(answer.is_success(), seen(&answer)))
}

fn null_is_absent(case: &Case<'_>) -> Result<Verdict> {
    let mut conf = case.conf();
    for field in ["dns", "args", "runtimeConfig", "prevResult", "capabilities"] {
        conf[field] = Value::Null;
    }
    let answer = add_and_del(case, &conf.to_string())?;
    Ok(Verdict::of(answer.is_success(), seen(&answer)))
}

fn unknown_keys_do_no_harm(case: &Case<'_>) -> Result<Verdict> {
    let mut conf = case.conf_with("com.example/x", json!({"a": [1]}));
    conf["capabilities"] = json!({"portMappings": true});
    conf["runtimeConfig"] = json!({"portMappings": [{"hostPort": 1, "containerPort": 1}]});
    conf["args"] = json!({"cni": {"labels": [{"key": "a", "value": "b"}]}});
    conf["ipam"]["com.example/y"] = json!(7);
    let answer = add_and_del(case, &conf.to_string())?;
    Ok(Verdict::of(answer.is_success(), seen(&answer)))
}

fn what_is_no_object_is_refused(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for text in ["", "{", "[]", "7"] {
        let mut call = case.call("ADD", &case.conf());
        text.clone_into(&mut call.conf);
        let answer = case.run(&call)?;
        let shown = if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") };
        findings.add(shown, is_code(&answer, 6), seen(&answer));
    }
    let answer = case.ask("ADD", &case.conf_with("cniVersion", 7))?;
    findings.add("`cniVersion` 7", is_code(&answer, 6), seen(&answer));
    Ok(findings.verdict())
}

fn previous_results_are_read(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for version in case.versions()?.iter().filter(|version| is_since(version, "0.4.0")) {
        let conf = case.conf_in(version);
        let mut result = case.added(&conf)?;
        for named in [true, false] {
            if !named {
                result.as_object_mut().map(|fields| fields.remove("cniVersion"));
            }
            let answer = case.ask("CHECK", &Case::with_result(&conf, &result))?;
            findings.add(version, is_silent(&answer), seen(&answer));
        }
        case.ask("DEL", &conf)?;
    }
    Ok(findings.verdict())
}

fn older_previous_results_are_read(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.conf();
    let mut result = case.added(&conf)?;
    let address = addresses(&result).pop().unwrap_or_default();
    let mut findings = Findings::default();
    for version in ["0.4.0", "0.3.1"] {
        result["cniVersion"] = json!(version);
        result["ips"] = json!([{"version": "4", "address": address, "interface": 0}]);
        let answer = case.ask("CHECK", &Case::with_result(&conf, &result))?;
        findings.add(version, is_silent(&answer), seen(&answer));
    }
    Ok(findings.verdict())
}

fn broken_previous_results_are_refused(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.conf();
    case.added(&conf)?;
    let mut findings = Findings::default();
    for broken in [json!({"ips": [{"address": 7}]}), json!({"cniVersion": "9", "ips": []})] {
        let answer = case.ask("CHECK", &Case::with_result(&conf, &broken))?;
        let kept = is_error(&answer) && is_code(&answer, 6);
        findings.add(format!("`{broken}`"), kept, seen(&answer));
    }
    Ok(findings.verdict())
}
