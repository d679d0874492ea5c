//! How a main plugin asks its IPAM plugin.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::{LETTER, REFUSALS};
use crate::conformance::answers::{is_code, is_silent, left, seen, text};
use crate::conformance::case::Case;
use crate::conformance::rule::{Rule, Section, probe};
use crate::conformance::verdict::{Findings, Verdict};
use crate::runtime::{Answer, Call};

pub(super) const SECTION: Section = Section {
    title: "Delegation",
    rules: &[
        Rule::main(
            "DLG-1",
            "spec 4",
            "The IPAM plugin of `ipam.type` gets the whole configuration and the same environment",
            probe!(the_delegate_gets_everything),
        )
        .also(&[LETTER, REFUSALS]),
        Rule::main(
            "DLG-2",
            "spec 4",
            "If its ADD fails, its DEL is called before the failure is answered",
            probe!(a_failed_delegate_is_deleted),
        )
        .also(&[LETTER]),
        Rule::main(
            "DLG-3",
            "spec 4",
            "Its error is answered as it is, and nothing is left in the container",
            probe!(the_delegates_error_is_passed_on),
        )
        .also(&[LETTER]),
        Rule::main(
            "DLG-4",
            "spec 4",
            "Its DEL is called on every DEL, without a namespace too",
            probe!(del_is_delegated),
        )
        .also(&[LETTER]),
        Rule::main(
            "DLG-5",
            "spec 4",
            "Its CHECK is called, and its error passed on",
            probe!(check_is_delegated),
        )
        .since("0.4.0")
        .also(&[LETTER]),
        Rule::main("DLG-6", "spec 2", "GC is forwarded to it", probe!(gc_is_delegated))
            .since("1.1.0")
            .also(&[REFUSALS]),
        Rule::main("DLG-7", "spec 4", "STATUS is forwarded to it", probe!(status_is_delegated))
            .since("1.1.0")
            .also(&[REFUSALS]),
    ],
};

/// An IPAM plugin that writes down what it is asked, and fails where there is a file `fail.VERB`.
const RECORDER: &str = r#"#!/bin/sh
folder=$(dirname "$0")
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $(cat)" >> "$folder/asked"
if [ -e "$folder/fail.$CNI_COMMAND" ]; then
    echo '{"cniVersion":"1.0.0","code":11,"msg":"the recorder is busy"}'
    exit 1
fi
if [ "$CNI_COMMAND" = ADD ]; then
    cat "$folder/result"
fi
"#;

/// A folder with the plugin under test and the recorder.
struct Recorded<'case> {
    case: &'case Case<'case>,
    folder: PathBuf,
    conf: Value,
}

impl<'case> Recorded<'case> {
    fn new(case: &'case Case<'_>) -> Result<Self> {
        let folder = case.path("bin");
        fs::create_dir(&folder)?;
        symlink(case.plugin_dir().join(case.plugin()), folder.join(case.plugin()))?;
        let recorder = folder.join("recorder");
        fs::write(&recorder, RECORDER)?;
        fs::set_permissions(&recorder, fs::Permissions::from_mode(0o755))?;
        let address = format!("{}/24", case.place().first());
        let result = json!({"cniVersion": case.newest, "ips": [{"address": address}]});
        fs::write(folder.join("result"), result.to_string())?;
        let conf = case.conf_with("ipam", json!({"type": "recorder", "com.example/x": [7]}));
        Ok(Self { case, folder, conf })
    }

    fn fails(&self, verb: &str) -> Result<()> {
        Ok(fs::write(self.folder.join(format!("fail.{verb}")), "")?)
    }

    fn run(&self, call: &Call) -> Result<Answer> {
        self.case.runtime()?.with_plugin_dir(&self.folder).start(call)?.wait()
    }

    fn ask(&self, verb: &str) -> Result<Answer> {
        self.run(&self.case.call(verb, &self.conf))
    }

    /// What it was asked: the line up to the configuration, and the configuration.
    fn asked(&self) -> Result<Vec<(String, Value)>> {
        let text = fs::read_to_string(self.folder.join("asked")).unwrap_or_default();
        let asked = |line: &str| {
            let (words, conf) = line.split_at(line.find('{').unwrap_or(line.len()));
            Ok((words.trim_end().to_owned(), serde_json::from_str(conf)?))
        };
        text.lines().map(asked).collect()
    }

    /// The verbs that it was asked.
    fn verbs(&self) -> Result<String> {
        let first =
            |(words, _): (String, Value)| words.split(' ').next().unwrap_or_default().to_owned();
        let verbs: Vec<_> = self.asked()?.into_iter().map(first).collect();
        Ok(if verbs.is_empty() { "nothing".to_owned() } else { verbs.join(", ") })
    }

    /// Whether a verb is forwarded, and the delegate's error passed on.
    fn forwards(&self, verb: &str) -> Result<Verdict> {
        let mut findings = Findings::default();
        let answer = self.ask(verb)?;
        findings.add("", is_silent(&answer), seen(&answer));
        let verbs = self.verbs()?;
        findings.add("", verbs == verb, format!("asked {verbs}"));
        self.fails(verb)?;
        let answer = self.ask(verb)?;
        findings.add("error of the delegate", is_code(&answer, 11), seen(&answer));
        Ok(findings.verdict())
    }
}

fn the_delegate_gets_everything(case: &Case<'_>) -> Result<Verdict> {
    let recorded = Recorded::new(case)?;
    let call = case.call("ADD", &recorded.conf);
    recorded.run(&call)?.success()?;
    let expected = format!("ADD {} {} {}", call.container_id, call.interface, call.netns);
    let asked = recorded.asked()?;
    let same = asked.iter().any(|(words, conf)| *words == expected && *conf == recorded.conf);
    let seen = if same { "the same" } else { "something else" };
    Ok(Verdict::of(same, format!("asked {} with {seen}", recorded.verbs()?)))
}

fn a_failed_delegate_is_deleted(case: &Case<'_>) -> Result<Verdict> {
    let recorded = Recorded::new(case)?;
    recorded.fails("ADD")?;
    recorded.ask("ADD")?;
    let verbs = recorded.verbs()?;
    Ok(Verdict::of(verbs == "ADD, DEL", format!("asked {verbs}")))
}

fn the_delegates_error_is_passed_on(case: &Case<'_>) -> Result<Verdict> {
    let recorded = Recorded::new(case)?;
    recorded.fails("ADD")?;
    let before = case.pod.snapshot()?;
    let answer = recorded.ask("ADD")?;
    let left = left(&before.changes(&case.pod.snapshot()?));
    let said = text(&answer).contains("the recorder is busy");
    let kept = is_code(&answer, 11) && said && left == "nothing left";
    Ok(Verdict::of(kept, format!("{}, {left}", seen(&answer))))
}

fn del_is_delegated(case: &Case<'_>) -> Result<Verdict> {
    let recorded = Recorded::new(case)?;
    let mut call = case.call("DEL", &recorded.conf);
    let mut findings = Findings::default();
    for (what, netns) in [("", call.netns.clone()), ("without namespace", String::new())] {
        call.netns = netns;
        let answer = recorded.run(&call)?;
        findings.add(what, is_silent(&answer), seen(&answer));
    }
    let verbs = recorded.verbs()?;
    findings.add("", verbs == "DEL, DEL", format!("asked {verbs}"));
    Ok(findings.verdict())
}

fn check_is_delegated(case: &Case<'_>) -> Result<Verdict> {
    let mut recorded = Recorded::new(case)?;
    let result = recorded.ask("ADD")?.success()?.clone();
    recorded.conf["prevResult"] = result;
    fs::remove_file(recorded.folder.join("asked"))?;
    recorded.forwards("CHECK")
}

fn gc_is_delegated(case: &Case<'_>) -> Result<Verdict> {
    let mut recorded = Recorded::new(case)?;
    recorded.conf["cni.dev/valid-attachments"] = json!([]);
    recorded.forwards("GC")
}

fn status_is_delegated(case: &Case<'_>) -> Result<Verdict> {
    Recorded::new(case)?.forwards("STATUS")
}
