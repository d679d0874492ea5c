//! `ipamctl completions` and `man`.

use std::process::Command;

use crate::fixture::Fixture;

fn verbs() -> Vec<String> {
    ipamctl::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
}

#[test]
fn every_shell_completes_every_verb() {
    let fixture = Fixture::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = fixture.shown(&["completions", shell]);
        for verb in verbs() {
            assert!(script.contains(&verb), "{shell}: {verb}");
        }
        if shell == "bash" {
            let file = fixture.write("completions", &script);
            assert!(Command::new("bash").args(["-n", &file]).status().unwrap().success());
            // What bash itself makes of it: words that begin so.
            let ask = format!(
                "source {file}; COMP_WORDS=(ipamctl re); COMP_CWORD=1; \
                 _ipamctl ipamctl re ipamctl; echo \"${{COMPREPLY[@]}}\""
            );
            let answer = Command::new("bash").args(["-c", &ask]).output().unwrap();
            let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
            for verb in ["release", "render", "repair", "rebuild", "restore"] {
                assert!(answer.split_whitespace().any(|word| word == verb), "{answer}");
            }
        }
    }
}

#[test]
fn each_verb_has_a_page_and_the_first_names_them_all() {
    let fixture = Fixture::new();
    let whole = fixture.shown(&["man"]);
    assert!(whole.contains(".TH ipamctl 1"), "{whole}");
    let directory = fixture.path("man1");
    fixture.shown(&["man", directory.to_str().unwrap()]);
    for verb in verbs() {
        let page = std::fs::read_to_string(directory.join(format!("ipamctl-{verb}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{verb}: {page}");
        // Of a macro that is none, the line would be lost.
        for line in page.lines().filter(|line| line.starts_with('.')) {
            let known =
                [".TH ", ".SH", ".SS", ".TP", ".br", ".ie ", ".el ", ".RS", ".RE", ".PP", ".IP"];
            assert!(known.iter().any(|start| line.starts_with(start)), "{verb}: {line}");
        }
    }
    let nested = directory.join("ipamctl-import-host-local.1");
    assert!(nested.exists());
}
