//! What the cluster says about namespaces and nodes: documents for `ipamctl render --to namespaces`,
//! and the file that cni-ipam reads at every ADD. Both have to find the same in the same text.
#![no_main]

use cni_ipam::fuzzing::cluster;
use fuzz::Folder;
use ipam_core::{NamespaceName, NodeName};
use ipamctl::fuzzing::namespaces;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let file = folder.file("namespaces.json", bytes).expect("a file");
    let namespace: NamespaceName = "web".parse().expect("a name");
    let node: NodeName = "n1".parse().expect("a name");
    let found = cluster(&file, Some(&namespace), &node);
    if let Err(error) = &found {
        assert!(error.msg.contains("namespaces.json"), "{error}");
    }
    let Ok(text) = namespaces(&file) else { return };
    let again = folder.file("rendered.json", text.as_bytes()).expect("a file");
    let read = cluster(&again, Some(&namespace), &node).expect("what was rendered is read");
    // YAML has texts that JSON has not, but not the other way round.
    if let Ok(found) = found {
        assert_eq!(read, found, "{text}");
    }
    let second = namespaces(&again).expect("what was rendered is rendered again");
    assert_eq!(second, text);
});
