//! Standard output, exit code, and the error object.

use anyhow::Result;
use serde_json::{Value, json};

use super::{HOST_LOCAL, PANIC, REFUSALS, VERSIONS_OF_ERRORS};
use crate::conformance::answers::{Output, is_code, is_error, is_silent, seen, text};
use crate::conformance::case::Case;
use crate::conformance::rule::{Role, Rule, Section, probe};
use crate::conformance::verdict::{Findings, Verdict};
use crate::runtime::Answer;

pub(super) const SECTION: Section = Section {
    title: "Standard output, exit code, errors",
    rules: &[
        Rule::any(
            "OUT-1",
            "spec 5",
            "A successful ADD exits with 0 and prints one JSON object and nothing else",
            probe!(add_prints_one_object),
        ),
        Rule::any("OUT-2", "spec 2", "A successful DEL prints nothing", probe!(del_is_silent)),
        Rule::any("OUT-3", "spec 2", "Nor does CHECK", probe!(check_is_silent)).since("0.4.0"),
        Rule::any("OUT-4", "spec 2", "Nor do GC and STATUS", probe!(gc_and_status_are_silent))
            .since("1.1.0"),
        Rule::any(
            "OUT-5",
            "spec 5",
            "A failure exits with another code and prints one error object, with a `code` that is \
             not 0 and a `msg`",
            probe!(failures_print_one_object),
        )
        .also(&[REFUSALS]),
        Rule::any(
            "OUT-6",
            "spec 5",
            "The error object has the `cniVersion` in use",
            probe!(errors_have_the_version_in_use),
        )
        .also(&[VERSIONS_OF_ERRORS]),
        Rule::inside(
            "OUT-7",
            "libcni",
            "Also a panic ends in an error object: an empty answer cannot be parsed",
            &[PANIC],
        ),
        Rule::any(
            "OUT-8",
            "go-cni",
            "The error of a DEL has no `not found` in it: containerd would take it for success",
            probe!(del_errors_are_not_mistaken),
        )
        .also(&["cni-proto/src/error.rs"]),
        Rule::any(
            "OUT-9",
            "spec 5",
            "A `cniVersion` that is not spoken is code 1",
            probe!(unknown_versions_are_refused),
        )
        .also(&[VERSIONS_OF_ERRORS]),
        Rule::any(
            "OUT-10",
            "spec 2",
            "CHECK of a configuration below 0.4.0 is code 1",
            probe!(check_needs_its_version),
        )
        .since("0.4.0")
        .also(&[VERSIONS_OF_ERRORS]),
        Rule::any(
            "OUT-11",
            "spec 2",
            "GC and STATUS below 1.1.0 likewise",
            probe!(gc_and_status_need_their_version),
        )
        .since("1.1.0")
        .also(&[VERSIONS_OF_ERRORS]),
        Rule::any(
            "OUT-12",
            "spec 5",
            "What is wrong with the configuration is code 7 (main: no such NIC; IPAM: a range that \
             is none)",
            probe!(invalid_configurations_are_refused),
        )
        .also(&[REFUSALS, HOST_LOCAL]),
        Rule::any(
            "OUT-13",
            "spec 5",
            "What passes by itself, such as a pool that is full, is code 11",
            probe!(exhaustion_is_try_again),
        )
        .also(&["e2e/tests/delegate.rs"]),
        Rule::any(
            "OUT-14",
            "spec 5",
            "No failed ADD is code 3, which tells the runtime that no DEL is needed",
            probe!(no_failed_add_is_an_unknown_container),
        ),
    ],
};

fn add_prints_one_object(case: &Case<'_>) -> Result<Verdict> {
    let answer = case.ask("ADD", &case.conf())?;
    let object = matches!(Output::of(&answer), Output::Document(Value::Object(_)));
    Ok(Verdict::of(answer.is_success() && object, seen(&answer)))
}

fn del_is_silent(case: &Case<'_>) -> Result<Verdict> {
    case.added(&case.conf())?;
    let answer = case.ask("DEL", &case.conf())?;
    Ok(Verdict::of(is_silent(&answer), seen(&answer)))
}

fn check_is_silent(case: &Case<'_>) -> Result<Verdict> {
    let result = case.added(&case.conf())?;
    let answer = case.ask("CHECK", &Case::with_result(&case.conf(), &result))?;
    Ok(Verdict::of(is_silent(&answer), seen(&answer)))
}

fn gc_and_status_are_silent(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for verb in ["GC", "STATUS"] {
        let answer = case.ask(verb, &case.conf_with("cni.dev/valid-attachments", json!([])))?;
        findings.add(verb, is_silent(&answer), seen(&answer));
    }
    Ok(findings.verdict())
}

/// A configuration whose fault is the role's own.
fn invalid(case: &Case<'_>) -> Value {
    match case.role {
        Role::Main => case.conf_with("master", "nowhere0"),
        Role::Ipam => case.conf_with_ipam("ranges", json!([[{"subnet": "198.18.0.0/33"}]])),
    }
}

/// ADDs that fail for reasons of all kinds.
fn failures(case: &Case<'_>) -> Result<Vec<(&'static str, Answer)>> {
    let mut no_name = case.call("ADD", &case.conf());
    no_name.interface.clear();
    let mut junk = case.call("ADD", &case.conf());
    "junk".clone_into(&mut junk.conf);
    let mut all = vec![
        ("no `CNI_IFNAME`", case.run(&no_name)?),
        ("junk", case.run(&junk)?),
        ("version 9.9.9", case.ask("ADD", &case.conf_with("cniVersion", "9.9.9"))?),
        ("name `a/b`", case.ask("ADD", &case.conf_with("name", "a/b"))?),
        ("invalid configuration", case.ask("ADD", &invalid(case))?),
    ];
    if case.role == Role::Main {
        let mut no_namespace = case.call("ADD", &case.conf());
        "/nowhere".clone_into(&mut no_namespace.netns);
        all.push(("no such namespace", case.run(&no_namespace)?));
    }
    Ok(all)
}

fn failures_print_one_object(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for (what, answer) in failures(case)? {
        let kept = is_error(&answer)
            && answer.error_code() != Some(0)
            && answer.json.as_ref().is_some_and(|it| it["msg"] != "" && it["msg"].is_string());
        let seen = if kept { "one object each".to_owned() } else { seen(&answer) };
        findings.add(what, kept, seen);
    }
    Ok(findings.verdict())
}

fn errors_have_the_version_in_use(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for version in case.versions()? {
        let mut conf = invalid(case);
        conf["cniVersion"] = json!(version);
        let answer = case.ask("ADD", &conf)?;
        let object = answer.json.unwrap_or_default();
        let seen = match object["cniVersion"].as_str() {
            Some(same) if same == version => "the version in use".to_owned(),
            Some(other) => format!("`{other}`"),
            None => "no `cniVersion`".to_owned(),
        };
        findings.add(&version, object["cniVersion"] == json!(version), seen);
    }
    Ok(findings.verdict())
}

fn del_errors_are_not_mistaken(case: &Case<'_>) -> Result<Verdict> {
    let conf = match case.role {
        Role::Main => case.conf_with_ipam("type", "nowhere-to-be"),
        Role::Ipam => {
            let file = case.path("file");
            std::fs::write(&file, "")?;
            case.conf_with_ipam("dataDir", file.display().to_string())
        }
    };
    let answer = case.ask("DEL", &conf)?;
    let said = text(&answer).to_lowercase().contains("not found");
    let seen = format!("{}{}", seen(&answer), if said { ", `not found`" } else { "" });
    Ok(Verdict::of(!said, seen))
}

fn unknown_versions_are_refused(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for version in ["9.9.9", "1.0", "1.0.1", "v1.0.0"] {
        let answer = case.ask("ADD", &case.conf_with("cniVersion", version))?;
        findings.add(format!("`{version}`"), is_code(&answer, 1), seen(&answer));
    }
    Ok(findings.verdict())
}

fn check_needs_its_version(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.conf_in("0.3.1");
    let result = case.added(&conf)?;
    let answer = case.ask("CHECK", &Case::with_result(&conf, &result))?;
    Ok(Verdict::of(is_code(&answer, 1), seen(&answer)))
}

fn gc_and_status_need_their_version(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for verb in ["GC", "STATUS"] {
        let mut conf = case.conf_in("1.0.0");
        conf["cni.dev/valid-attachments"] = json!([]);
        let answer = case.ask(verb, &conf)?;
        findings.add(verb, is_code(&answer, 1), seen(&answer));
    }
    Ok(findings.verdict())
}

fn invalid_configurations_are_refused(case: &Case<'_>) -> Result<Verdict> {
    let answer = case.ask("ADD", &invalid(case))?;
    Ok(Verdict::of(is_code(&answer, 7), seen(&answer)))
}

fn exhaustion_is_try_again(case: &Case<'_>) -> Result<Verdict> {
    case.added(&case.conf())?;
    let pod = case.another_pod()?;
    let answer = case.run(&case.call_for(&pod, "ADD", &case.conf()))?;
    Ok(Verdict::of(is_code(&answer, 11), seen(&answer)))
}

fn no_failed_add_is_an_unknown_container(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for (what, answer) in failures(case)? {
        let code = answer.error_code();
        let seen = if code == Some(3) { "code 3" } else { "other codes" };
        findings.add(what, code != Some(3), seen);
    }
    Ok(findings.verdict())
}
