//! Files with documents of networks: what `ipamctl render` takes.
#![no_main]

use std::path::Path;

use cni_proto::NetworkConfig;
use fuzz::Folder;
use ipamctl::fuzzing::{rendered, values};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let file = folder.file("networks.yaml", bytes).expect("a file");
    for is_ours in [true, false] {
        let lists = rendered(&file, true, is_ours);
        let definitions = rendered(&file, false, is_ours);
        if let (Ok(lists), Ok(definitions)) = (lists, definitions) {
            assert_eq!(lists.len(), definitions.len());
            for ((name, list), (_, definition)) in lists.iter().zip(&definitions) {
                check(&folder, name, list, definition, is_ours);
            }
        }
    }
});

fn check(folder: &Folder, name: &str, list: &str, definition: &str, is_ours: bool) {
    assert!(Path::new(name).components().count() == 1 && !name.contains('/'), "{name:?}");
    let list: Value = serde_json::from_str(list).expect("a list is JSON");
    for plugin in list["plugins"].as_array().expect("a list has plugins") {
        let mut own = plugin.clone();
        for key in ["cniVersion", "name"] {
            own[key] = list[key].clone();
        }
        if is_ours {
            NetworkConfig::parse(own.to_string().as_bytes()).expect("our plugins read it");
        }
    }
    // The same in YAML, as Multus will read it.
    let file = folder.file("definition.yaml", definition.as_bytes()).expect("a file");
    let read = values(&file).expect("it is text");
    let [Ok(read)] = read.as_slice() else { panic!("{definition:?} is read as {read:?}") };
    assert_eq!(read["kind"], "NetworkAttachmentDefinition");
    let config = read["spec"]["config"].as_str().expect("a text");
    assert_eq!(serde_json::from_str::<Value>(config).ok(), Some(list), "{definition:?}");
}
