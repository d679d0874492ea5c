//! `ipamctl show pool`.

use crate::fixture::{Fixture, assert_golden};

/// At both widths, with colours and without, and without Unicode; by `UPDATE=1` they are written, and
/// then a person looks at them.
#[test]
fn the_maps_are_as_somebody_found_them_pleasant() {
    let fixture = Fixture::new();
    for pool in ["cloud", "big", "six"] {
        for columns in ["80", "120"] {
            for (kind, color, locale) in [
                ("plain", "never", "C.UTF-8"),
                ("colour", "always", "C.UTF-8"),
                ("ascii", "never", "C"),
            ] {
                let mut command = fixture.command(&["show", "pool", pool, "--color", color]);
                let output = command.env("COLUMNS", columns).env("LC_ALL", locale).output();
                let output = output.unwrap();
                assert!(output.status.success());
                let shown = String::from_utf8(output.stdout).unwrap();
                assert_golden(&format!("{pool}-{columns}-{kind}.txt"), &shown);
                let widest = shown.lines().map(|line| line.chars().count()).max();
                if kind != "colour" {
                    assert!(widest <= columns.parse().ok(), "{shown}");
                }
                assert_eq!(kind == "ascii", shown.is_ascii(), "{shown}");
            }
        }
    }
}

/// Nothing is said by colours alone.
#[test]
fn colours_change_no_character() {
    let fixture = Fixture::new();
    let plain = fixture.shown(&["show", "pool", "cloud"]);
    let colour = fixture.shown(&["show", "pool", "cloud", "--color", "always"]);
    assert!(!plain.contains('\x1b'), "no terminal, no colours");
    let mut without = String::new();
    let mut rest = colour.as_str();
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        without.push_str(before);
        rest = sequence.split_once('m').unwrap().1;
    }
    without.push_str(rest);
    assert_eq!(without, plain);
}

#[test]
fn the_picture_stands_alone_and_says_each_address() {
    let fixture = Fixture::new();
    let file = fixture.path("cloud.svg");
    fixture.shown(&["show", "pool", "cloud", "--svg", file.to_str().unwrap()]);
    let picture = std::fs::read_to_string(file).unwrap();
    for part in [
        "<title>172.31.199.101: held, fenced</title>",
        "<title>172.31.199.113: quarantined</title>",
        "prefers-color-scheme: dark",
        "4 of 84 addresses held",
    ] {
        assert!(picture.contains(part), "{part}");
    }
    let foreign = picture.replace("http://www.w3.org/2000/svg", "");
    for part in ["<script", "href", "http", "url("] {
        assert!(!foreign.contains(part), "{part}");
    }
    // Every element that opens closes.
    for element in ["svg", "g", "title", "text", "style"] {
        let opened = picture.matches(&format!("<{element}>")).count()
            + picture.matches(&format!("<{element} ")).count();
        assert_eq!(opened, picture.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn a_pool_that_is_not_there_is_named() {
    let fixture = Fixture::new();
    assert!(fixture.refused(&["show", "pool", "cluod"]).contains("no pool \"cluod\" is stored"));
}
