//! Which program a configuration can make a plugin run: one of `CNI_PATH`, by its file name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use cni_ipam::Delegate;
use cni_proto::{Code, Verb};

#[test]
fn a_path_is_no_name_of_a_plugin() {
    let root = tempfile::tempdir().unwrap();
    let plugins = root.path().join("bin");
    fs::create_dir(&plugins).unwrap();
    let (inside, outside) = (plugins.join("inside"), root.path().join("outside"));
    for program in [&inside, &outside] {
        fs::write(program, "#!/bin/sh\ncat >/dev/null\necho '{}'\n").unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = [plugins];
    let run = |plugin: &str| Delegate { plugin, path: &path, configuration: "{}" }.run(Verb::Add);
    assert_eq!(run("inside").unwrap(), b"{}\n");
    for plugin in ["../outside", outside.to_str().unwrap(), "./inside", "", ".", "..", "/"] {
        let error = run(plugin).unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG, "{plugin}");
        assert!(error.msg.ends_with("it must be the file name of a plugin"), "{error}");
    }
    assert_eq!(run("outside").unwrap_err().code, Code::INVALID_CONFIG, "it is not in CNI_PATH");
}
