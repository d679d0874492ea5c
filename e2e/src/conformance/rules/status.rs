//! STATUS.

use anyhow::Result;

use super::LETTER;
use crate::conformance::answers::{is_code, is_silent, seen};
use crate::conformance::case::Case;
use crate::conformance::rule::{Role, Rule, Section, probe};
use crate::conformance::verdict::Verdict;

pub(super) const SECTION: Section = Section {
    title: "STATUS",
    rules: &[
        Rule::any(
            "STS-1",
            "spec 2",
            "Succeeds when an ADD can be served, and reserves nothing",
            probe!(status_succeeds),
        )
        .since("1.1.0")
        .also(&[LETTER]),
        Rule::any(
            "STS-2",
            "spec 2",
            "Is code 50 when none can (main: no such NIC; IPAM: its directory cannot be used)",
            probe!(status_tells_what_is_missing),
        )
        .since("1.1.0"),
        Rule::any(
            "STS-3",
            "spec 2",
            "Should fail when no address is free",
            probe!(status_tells_of_exhaustion),
        )
        .since("1.1.0")
        .also(&[LETTER]),
    ],
};

fn status_succeeds(case: &Case<'_>) -> Result<Verdict> {
    let answer = case.ask("STATUS", &case.conf())?;
    let address = if case.is_free()? { "free" } else { "held" };
    let kept = is_silent(&answer) && address == "free";
    Ok(Verdict::of(kept, format!("{}, address {address}", seen(&answer))))
}

fn status_tells_what_is_missing(case: &Case<'_>) -> Result<Verdict> {
    let conf = match case.role {
        Role::Main => case.conf_with("master", "nowhere0"),
        Role::Ipam => {
            let file = case.path("file");
            std::fs::write(&file, "")?;
            case.conf_with_ipam("dataDir", file.display().to_string())
        }
    };
    let answer = case.ask("STATUS", &conf)?;
    Ok(Verdict::of(is_code(&answer, 50), seen(&answer)))
}

fn status_tells_of_exhaustion(case: &Case<'_>) -> Result<Verdict> {
    case.added(&case.conf())?;
    let answer = case.ask("STATUS", &case.conf())?;
    Ok(Verdict::of(is_code(&answer, 50), seen(&answer)))
}
