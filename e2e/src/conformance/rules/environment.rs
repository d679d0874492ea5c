//! What a plugin reads from its environment.

use anyhow::Result;
use serde_json::json;

use super::{ENVIRONMENT, IPVLAN};
use crate::conformance::answers::{is_code, is_error, is_silent, seen, text};
use crate::conformance::case::Case;
use crate::conformance::rule::{Rule, Section, probe};
use crate::conformance::verdict::{Findings, Verdict};

pub(super) const SECTION: Section = Section {
    title: "Environment",
    rules: &[
        Rule::any(
            "ENV-1",
            "spec 2",
            "ADD needs `CNI_CONTAINERID`, `CNI_NETNS` and `CNI_IFNAME`: without one of them code 4, \
             and the message names it",
            probe!(add_needs_its_variables),
        )
        .also(&[ENVIRONMENT]),
        Rule::any("ENV-2", "spec 2", "CHECK needs the same", probe!(check_needs_its_variables))
            .since("0.4.0")
            .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-3",
            "spec 2",
            "DEL needs `CNI_CONTAINERID` and `CNI_IFNAME`",
            probe!(del_needs_its_variables),
        )
        .also(&[ENVIRONMENT]),
        Rule::any("ENV-4", "spec 2", "GC needs `CNI_PATH`", probe!(gc_needs_the_path))
            .since("1.1.0")
            .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-5",
            "spec 2",
            "GC and STATUS need nothing that names a container, and look at nothing of that",
            probe!(gc_and_status_are_about_no_container),
        )
        .since("1.1.0")
        .also(&[ENVIRONMENT]),
        Rule::any("ENV-6", "spec 2", "VERSION needs no variable", probe!(version_needs_nothing))
            .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-7",
            "spec 2",
            "`CNI_PATH` may be missing on ADD, CHECK and DEL (a plugin that delegates may then fail \
             to find its delegate, but not by code 4)",
            probe!(the_path_is_optional),
        )
        .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-8",
            "libcni",
            "An empty variable is as good as none, for libcni sets all six",
            probe!(empty_is_unset),
        )
        .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-9",
            "spec 5",
            "All that is missing is named in one message",
            probe!(all_missing_are_named),
        )
        .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-10",
            "spec 2",
            "`CNI_CONTAINERID` begins with a letter or digit and goes on with these, `_`, `.` and \
             `-`; else code 4",
            probe!(container_ids_are_checked),
        )
        .also(&["cni-proto/src/id.rs"]),
        Rule::any(
            "ENV-11",
            "spec 2, skel",
            "`CNI_IFNAME` has 1 to 15 bytes, is not `.` or `..`, and has no `/`, `:` or white space; \
             else code 4",
            probe!(interface_names_are_checked),
        )
        .also(&["cni-proto/src/id.rs"]),
        Rule::any(
            "ENV-12",
            "skel",
            "An invalid value is reported before missing ones",
            probe!(invalid_comes_before_missing),
        )
        .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-13",
            "spec 2",
            "A `CNI_COMMAND` that is none of the six words, in upper case, is code 4",
            probe!(unknown_commands_are_refused),
        )
        .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-14",
            "ours",
            "An unknown command is reported before anything else is looked at",
            probe!(unknown_command_comes_first),
        )
        .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-15",
            "skel",
            "Without `CNI_COMMAND` a text for people is on stderr, and the exit code is 0",
            probe!(no_command_is_a_person),
        )
        .also(&[ENVIRONMENT]),
        Rule::any(
            "ENV-16",
            "conventions",
            "Keys of `CNI_ARGS` that a plugin does not know do no harm beside `IgnoreUnknown=1`",
            probe!(unknown_args_are_ignored),
        )
        .also(&["cni-ipam/src/requested.rs"]),
        Rule::any(
            "ENV-17",
            "libcni",
            "Further variables (`TRACEPARENT`, say) do no harm, nor does an empty environment \
             besides the six",
            probe!(further_variables_do_no_harm),
        ),
        // An IPAM plugin touches no namespace, so it need not care which one this is.
        Rule::main(
            "ENV-18",
            "skel",
            "An ADD into the plugin's own namespace is code 8, and nothing has happened",
            probe!(own_namespace_is_refused_first),
        )
        .also(&[IPVLAN]),
        Rule::main(
            "ENV-19",
            "skel",
            "`CNI_NETNS_OVERRIDE` of `1` or `true`, in any case, allows it",
            probe!(own_namespace_can_be_allowed),
        )
        .also(&[ENVIRONMENT]),
        Rule::main(
            "ENV-20",
            "ours",
            "A DEL in the plugin's own namespace takes none of the node's links away",
            probe!(del_spares_the_nodes_links),
        ),
    ],
};

fn needs(case: &Case<'_>, verb: &str, names: &[&str]) -> Result<Verdict> {
    let mut findings = Findings::default();
    for name in names {
        let mut call = case.call(verb, &case.conf());
        call.unset = vec![(*name).to_owned()];
        let answer = case.run(&call)?;
        let is_named = text(&answer).contains(name);
        let seen = if is_named { seen(&answer) } else { format!("{}, not named", seen(&answer)) };
        findings.add(format!("`{name}`"), is_code(&answer, 4) && is_named, seen);
    }
    Ok(findings.verdict())
}

const ATTACHMENT: [&str; 3] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"];

fn add_needs_its_variables(case: &Case<'_>) -> Result<Verdict> {
    needs(case, "ADD", &ATTACHMENT)
}

fn check_needs_its_variables(case: &Case<'_>) -> Result<Verdict> {
    needs(case, "CHECK", &ATTACHMENT)
}

fn del_needs_its_variables(case: &Case<'_>) -> Result<Verdict> {
    needs(case, "DEL", &["CNI_CONTAINERID", "CNI_IFNAME"])
}

fn gc_needs_the_path(case: &Case<'_>) -> Result<Verdict> {
    needs(case, "GC", &["CNI_PATH"])
}

fn gc_and_status_are_about_no_container(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    let conf = case.conf_with("cni.dev/valid-attachments", json!([]));
    for verb in ["GC", "STATUS"] {
        let mut call = case.call(verb, &conf);
        let answer = case.run(&call)?;
        findings.add(verb, is_silent(&answer), seen(&answer));
        call.environment = vec![
            ("CNI_CONTAINERID".to_owned(), "../x".to_owned()),
            ("CNI_IFNAME".to_owned(), "a/b".to_owned()),
        ];
        let answer = case.run(&call)?;
        findings.add(format!("{verb} with bad names"), is_silent(&answer), seen(&answer));
    }
    Ok(findings.verdict())
}

fn version_needs_nothing(case: &Case<'_>) -> Result<Verdict> {
    let mut call = case.call("VERSION", &json!({"cniVersion": case.newest}));
    call.unset = ATTACHMENT.iter().chain(&["CNI_ARGS", "CNI_PATH"]).map(|&it| it.into()).collect();
    let answer = case.run(&call)?;
    Ok(Verdict::of(answer.is_success(), seen(&answer)))
}

fn the_path_is_optional(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for verb in ["ADD", "DEL"] {
        let mut call = case.call(verb, &case.conf());
        call.unset = vec!["CNI_PATH".to_owned()];
        let answer = case.run(&call)?;
        findings.add(verb, !is_code(&answer, 4), seen(&answer));
    }
    Ok(findings.verdict())
}

fn empty_is_unset(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for name in ATTACHMENT {
        let mut call = case.call("ADD", &case.conf());
        call.environment = vec![(name.to_owned(), String::new())];
        let answer = case.run(&call)?;
        findings.add(name, is_code(&answer, 4) && text(&answer).contains(name), seen(&answer));
    }
    let mut call = case.call("DEL", &case.conf());
    (call.netns, call.args) = (String::new(), String::new());
    let answer = case.run(&call)?;
    findings.add("DEL, all optional ones empty", is_silent(&answer), seen(&answer));
    Ok(findings.verdict())
}

fn all_missing_are_named(case: &Case<'_>) -> Result<Verdict> {
    let mut call = case.call("ADD", &case.conf());
    call.unset = ATTACHMENT.map(str::to_owned).to_vec();
    let answer = case.run(&call)?;
    let text = text(&answer);
    let named = ATTACHMENT.iter().filter(|name| text.contains(**name)).count();
    let seen = format!("{}, {named} of 3 named", seen(&answer));
    Ok(Verdict::of(is_code(&answer, 4) && named == 3, seen))
}

fn refuses(case: &Case<'_>, variable: &str, values: &[&str]) -> Result<Verdict> {
    let mut findings = Findings::default();
    for (verb, values) in [("ADD", values), ("DEL", &values[..1])] {
        for value in values {
            let mut call = case.call(verb, &case.conf());
            call.environment = vec![(variable.to_owned(), (*value).to_owned())];
            let answer = case.run(&call)?;
            let shown = value.escape_unicode();
            let shown = if value.is_ascii() { (*value).to_owned() } else { shown.to_string() };
            findings.add(format!("{verb} `{shown}`"), is_code(&answer, 4), seen(&answer));
        }
    }
    Ok(findings.verdict())
}

fn container_ids_are_checked(case: &Case<'_>) -> Result<Verdict> {
    refuses(case, "CNI_CONTAINERID", &["../x", "-a", "_a", "a b", "a\u{e9}"])
}

fn interface_names_are_checked(case: &Case<'_>) -> Result<Verdict> {
    refuses(case, "CNI_IFNAME", &["a/b", "a:b", ".", "..", "a b", "a\u{2003}b", "sixteen-letters-"])
}

fn invalid_comes_before_missing(case: &Case<'_>) -> Result<Verdict> {
    let mut call = case.call("ADD", &case.conf());
    call.environment = vec![("CNI_IFNAME".to_owned(), "a/b".to_owned())];
    call.unset = vec!["CNI_NETNS".to_owned()];
    let answer = case.run(&call)?;
    let missing = text(&answer).contains("CNI_NETNS");
    let of = if missing { "for the missing one" } else { "for the invalid one" };
    Ok(Verdict::of(is_code(&answer, 4) && !missing, format!("{} {of}", seen(&answer))))
}

fn unknown_commands_are_refused(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for command in ["add", "ADD ", "PREV"] {
        let mut call = case.call("ADD", &case.conf());
        command.clone_into(&mut call.command);
        let answer = case.run(&call)?;
        findings.add(format!("`{command}`"), is_code(&answer, 4), seen(&answer));
    }
    Ok(findings.verdict())
}

fn unknown_command_comes_first(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for (what, unset, conf) in
        [("no variables", &ATTACHMENT[..], case.conf().to_string()), ("junk", &[], "junk".into())]
    {
        let mut call = case.call("PREV", &case.conf());
        call.unset = unset.iter().map(|&name| name.to_owned()).collect();
        call.conf = conf;
        let answer = case.run(&call)?;
        let named = text(&answer).contains("PREV");
        let of =
            if named { seen(&answer) } else { format!("{} for another reason", seen(&answer)) };
        findings.add(what, is_code(&answer, 4) && named, of);
    }
    Ok(findings.verdict())
}

fn no_command_is_a_person(case: &Case<'_>) -> Result<Verdict> {
    let mut call = case.call("ADD", &case.conf());
    call.unset = vec!["CNI_COMMAND".to_owned()];
    let answer = case.run(&call)?;
    let said = if answer.outcome.stderr.trim().is_empty() { "silence" } else { "a text" };
    let kept = is_silent(&answer) && said == "a text";
    Ok(Verdict::of(kept, format!("{}, {said} on stderr", seen(&answer))))
}

fn unknown_args_are_ignored(case: &Case<'_>) -> Result<Verdict> {
    let mut call = case.call("ADD", &case.conf());
    call.args = format!("{};NOBODY_KNOWS=1", call.args);
    let answer = case.run(&call)?;
    case.ask("DEL", &case.conf())?;
    Ok(Verdict::of(answer.is_success(), seen(&answer)))
}

fn further_variables_do_no_harm(case: &Case<'_>) -> Result<Verdict> {
    let mut call = case.call("ADD", &case.conf());
    let traced = ("TRACEPARENT".to_owned(), "00-0af7651916cd43dd8448eb211c80319c-01".to_owned());
    call.environment = vec![traced, ("CNI_UNHEARD_OF".to_owned(), "1".to_owned())];
    let answer = case.run(&call)?;
    case.ask("DEL", &case.conf())?;
    Ok(Verdict::of(answer.is_success(), seen(&answer)))
}

/// An ADD into the node's own namespace, under a name that no NIC has.
fn into_the_node(case: &Case<'_>, allowed: &str) -> crate::runtime::Call {
    let mut call = case.call("ADD", &case.conf());
    call.netns = case.node().path().display().to_string();
    call.interface = format!("own{}", case.place().number);
    call.environment = vec![("CNI_NETNS_OVERRIDE".to_owned(), allowed.to_owned())];
    call
}

fn own_namespace_is_refused_first(case: &Case<'_>) -> Result<Verdict> {
    let call = into_the_node(case, "");
    let answer = case.run(&call)?;
    let mut left = Vec::new();
    if Case::has_link(case.node(), &call.interface)? {
        left.push("a link left behind");
        case.node().ip(&format!("link del {}\n", call.interface))?;
    }
    if !case.is_free()? {
        left.push("address held");
    }
    let kept = is_code(&answer, 8) && left.is_empty();
    left.insert(0, "");
    Ok(Verdict::of(kept, format!("{}{}", seen(&answer), left.join(", "))))
}

fn own_namespace_can_be_allowed(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for allowed in ["1", "tRuE"] {
        let mut call = into_the_node(case, allowed);
        let answer = case.run(&call)?;
        findings.add(allowed, answer.is_success(), seen(&answer));
        "DEL".clone_into(&mut call.command);
        let answer = case.run(&call)?;
        findings.add(format!("DEL after {allowed}"), is_silent(&answer), seen(&answer));
        let there = Case::has_link(case.node(), &call.interface)?;
        let link = if there { "link still there" } else { "link gone" };
        findings.add(format!("DEL after {allowed}"), !there, link);
    }
    Ok(findings.verdict())
}

fn del_spares_the_nodes_links(case: &Case<'_>) -> Result<Verdict> {
    let mut call = into_the_node(case, "");
    "DEL".clone_into(&mut call.command);
    let link = call.interface.clone();
    case.node().ip(&format!("link add {link} type bridge\n"))?;
    let answer = case.run(&call)?;
    let spared = Case::has_link(case.node(), &link)?;
    if spared {
        case.node().ip(&format!("link del {link}\n"))?;
    }
    let seen = format!("{}, link {}", seen(&answer), if spared { "spared" } else { "deleted" });
    let documents = answer.is_success() || is_error(&answer);
    Ok(Verdict::of(spared && documents, seen))
}
