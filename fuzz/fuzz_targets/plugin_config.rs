//! The configurations of our plugins, beyond what [the protocol](../config.rs) reads of them: pools
//! and ranges, the coordinator, logs, the pod's annotations, and `CNI_ARGS` behind a line `%%`.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use cni_coordinator::CoordinatorConfig;
use cni_proto::{CniArgs, NetworkConfig, PodAnnotations};
use fuzz::parts;
use ipam_core::{ANNOTATION_ROUTES, MOST_POD_ROUTES, pod_routes};
use libfuzzer_sys::fuzz_target;
use telemetry::LogSettings;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = parts(bytes);
    let config = NetworkConfig::parse(parts.next().unwrap_or_default());
    check_args(OsStr::from_bytes(parts.next().unwrap_or_default()));
    let Ok(config) = config else { return };
    if let Ok(Some(pools)) = cni_ipam::fuzzing::pools(&config) {
        assert!(!pools.is_empty());
        for (index, pool) in pools.iter().enumerate() {
            let others = &pools[index + 1..];
            let claimed = pool.claimed();
            let is_twice =
                |other: &ipam_core::Pool| !other.claimed().intersection(&claimed).is_empty();
            assert!(!others.iter().any(is_twice), "{pools:?}");
        }
    }
    if let Ok(coordinator) = CoordinatorConfig::new(&config) {
        assert!(coordinator.state_dir.is_absolute());
        assert_eq!(CoordinatorConfig::new(&config), Ok(coordinator));
    }
    let (log, wrong) = LogSettings::new(config.raw());
    let file = log.file.iter().all(|file| file.path.is_absolute() && file.max_bytes > 0);
    assert!(file && wrong.iter().all(|wrong| wrong.field.contains("log")), "{wrong:?}");
    let routes = PodAnnotations::new(&config).and_then(|it| it.text(ANNOTATION_ROUTES));
    if let Ok(Some(Ok(routes))) = routes.map(|text| text.map(pod_routes)) {
        assert!(routes.len() <= MOST_POD_ROUTES);
    }
});

fn check_args(text: &OsStr) {
    let lenient = CniArgs::parse_leniently(text);
    if let Ok(strict) = CniArgs::parse(text) {
        assert!(strict.iter().eq(lenient.iter()));
    }
    for (key, _) in lenient.iter() {
        assert!(!key.is_empty() && lenient.get(key).is_some());
    }
}
