//! The specification's own examples: what a runtime says and what it hears.
//!
//! `tests/spec/VERSION/SECTION.json` are named after the place in the text of that version; `note`
//! in them says what the text leaves open or has wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni_proto::{
    AddRequest, AddResult, CheckRequest, Code, DelRequest, Dns, Error, GcRequest, Interface,
    IpConfig, Plugin, Route, StatusRequest, Version,
};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use crate::call::call;

#[derive(Deserialize)]
struct Case {
    section: String,
    plugin: String,
    env: BTreeMap<String, String>,
    stdin: Value,
    stdout: Value,
    exit: u8,
}

macro_rules! cases {
    ($($test:ident: $file:literal,)*) => {$(
        #[test]
        fn $test() {
            run(&parse(include_str!(concat!("../spec/", $file, ".json"))));
        }
    )*};
}

cases! {
    v0_1_0_example_configurations_bridge: "0.1.0/example-configurations-bridge",
    v0_2_0_example_configurations_bridge: "0.2.0/example-configurations-bridge",
    v0_2_0_parameters_version: "0.2.0/parameters-version",
    v0_3_1_runtime_examples_add_1_bridge: "0.3.1/runtime-examples-add-1-bridge",
    v0_3_1_runtime_examples_add_2_tuning: "0.3.1/runtime-examples-add-2-tuning",
    v0_3_1_runtime_examples_del_1_tuning: "0.3.1/runtime-examples-del-1-tuning",
    v0_3_1_runtime_examples_del_2_bridge: "0.3.1/runtime-examples-del-2-bridge",
    v0_4_0_runtime_examples_add_1_bridge: "0.4.0/runtime-examples-add-1-bridge",
    v0_4_0_runtime_examples_add_2_tuning: "0.4.0/runtime-examples-add-2-tuning",
    v0_4_0_runtime_examples_check_1_bridge: "0.4.0/runtime-examples-check-1-bridge",
    v0_4_0_runtime_examples_check_2_tuning: "0.4.0/runtime-examples-check-2-tuning",
    v0_4_0_runtime_examples_del_1_tuning: "0.4.0/runtime-examples-del-1-tuning",
    v0_4_0_runtime_examples_del_2_bridge: "0.4.0/runtime-examples-del-2-bridge",
    v1_0_0_section_5_version: "1.0.0/section-5-version",
    v1_1_0_section_2_gc: "1.1.0/section-2-gc",
    v1_1_0_section_2_status: "1.1.0/section-2-status",
}

/// The examples of 1.0.0, which must come out the same under 1.1.0.
macro_rules! cases_since_1_0_0 {
    ($($test:ident: $file:literal,)*) => {$(
        #[test]
        fn $test() {
            let text = include_str!(concat!("../spec/1.0.0/", $file, ".json"));
            run(&parse(text));
            run(&parse(&text.replace("\"1.0.0\"", "\"1.1.0\"")));
        }
    )*};
}

cases_since_1_0_0! {
    v1_0_0_appendix_add_1_bridge: "appendix-add-1-bridge",
    v1_0_0_appendix_add_1_host_local: "appendix-add-1-host-local",
    v1_0_0_appendix_add_2_tuning: "appendix-add-2-tuning",
    v1_0_0_appendix_add_3_portmap: "appendix-add-3-portmap",
    v1_0_0_appendix_check_1_bridge: "appendix-check-1-bridge",
    v1_0_0_appendix_check_2_tuning: "appendix-check-2-tuning",
    v1_0_0_appendix_check_3_portmap: "appendix-check-3-portmap",
    v1_0_0_appendix_delete_1_portmap: "appendix-delete-1-portmap",
    v1_0_0_appendix_delete_2_tuning: "appendix-delete-2-tuning",
    v1_0_0_appendix_delete_3_bridge: "appendix-delete-3-bridge",
    v1_0_0_section_5_error: "section-5-error",
}

fn parse(text: &str) -> Case {
    serde_json::from_str(text).unwrap()
}

fn run(case: &Case) {
    let env: Vec<_> = case.env.iter().map(|(name, value)| (&**name, &**value)).collect();
    let stdin = if case.stdin.is_null() { String::new() } else { case.stdin.to_string() };
    let answer = call(&Example(case.plugin.clone()), &env, stdin.as_bytes());
    assert_eq!((answer.exit, &*answer.stderr), (case.exit, ""), "{}: {answer:?}", case.section);
    if case.stdout.is_null() {
        assert_eq!(answer.stdout, "", "{}", case.section);
    } else {
        assert_eq!(answer.object(), case.stdout, "{}", case.section);
    }
}

/// Plays the plugin that it is called, as far as the examples show it.
struct Example(String);

#[derive(Deserialize)]
struct Bridge {
    bridge: String,
}

#[derive(Deserialize)]
struct Ipam {
    subnet: IpNet,
    gateway: IpAddr,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tuning {
    #[serde(default)]
    runtime_config: Mac,
}

#[derive(Default, Deserialize)]
struct Mac {
    #[serde(default)]
    mac: Option<String>,
}

impl Example {
    fn host_local(request: &AddRequest) -> Result<AddResult, Error> {
        #[derive(Deserialize)]
        struct Own {
            ipam: Ipam,
            dns: Dns,
        }
        let Own { ipam, dns } = request.config.plugin()?;
        if ipam.subnet.prefix_len() > 30 {
            let details = format!("Network {} too small to allocate from.", ipam.subnet);
            return Err(
                Error::new(Code::INVALID_CONFIG, "Invalid Configuration").with_details(details)
            );
        }
        let (address, gateway, routes) = if request.config.cni_version < Version::V1_0_0 {
            ("10.0.0.5/32", None, Vec::new())
        } else {
            let everywhere = Route::to("0.0.0.0/0".parse().unwrap());
            ("10.1.0.5/16", Some(ipam.gateway), vec![everywhere])
        };
        let address = address.parse().unwrap();
        let ips = vec![IpConfig { address, gateway, interface: None }];
        Ok(AddResult { ips, routes, dns, ..AddResult::default() })
    }

    fn bridge(request: &AddRequest) -> Result<AddResult, Error> {
        let own: Bridge = request.config.plugin()?;
        let mut result = Self::host_local(request)?;
        let interface = |name: &str, mac: &str| Interface {
            name: name.to_owned(),
            mac: Some(mac.to_owned()),
            ..Interface::default()
        };
        result.interfaces = vec![
            interface(&own.bridge, "00:11:22:33:44:55"),
            interface("veth3243", "55:44:33:22:11:11"),
            Interface {
                sandbox: request.netns.to_str().map(str::to_owned),
                ..interface(request.ifname.as_str(), "99:88:77:66:55:44")
            },
        ];
        result.ips[0].interface = Some(2);
        Ok(result)
    }
}

/// The chain's final result, as far as DEL has one: the container's interface has the MAC that
/// tuning gave it, if it gave one.
fn assert_final(prev: &AddResult, version: Version) {
    let expected =
        if version < Version::V1_0_0 { "99:88:77:66:55:44" } else { "00:11:22:33:44:66" };
    let eth0 = prev.interfaces.last().unwrap();
    assert_eq!((eth0.name.as_str(), eth0.mac.as_deref()), ("eth0", Some(expected)));
    assert_eq!((prev.ips.len(), prev.ips[0].interface), (1, Some(2)));
}

impl Plugin for Example {
    fn name(&self) -> &str {
        &self.0
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        match &*self.0 {
            "host-local" => Self::host_local(request),
            "bridge" => Self::bridge(request),
            "tuning" => {
                let tuning: Tuning = request.config.plugin()?;
                let mut result = request.config.prev_result.clone().unwrap();
                if let Some(mac) = tuning.runtime_config.mac {
                    result.interfaces[2].mac = Some(mac);
                }
                Ok(result)
            }
            _ => Ok(request.config.prev_result.clone().unwrap()),
        }
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        assert_eq!(request.config.plugin_type, self.0);
        let version = request.config.cni_version.unwrap();
        match &request.config.prev_result {
            Some(prev) => assert_final(prev, version),
            None => assert!(version < Version::V0_4_0),
        }
        Ok(())
    }

    fn check(&self, request: &CheckRequest) -> Result<(), Error> {
        assert_eq!(request.config.plugin_type, self.0);
        assert_final(request.config.required_prev_result()?, request.config.cni_version);
        Ok(())
    }

    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        let valid = request.valid_attachments.as_ref().unwrap();
        assert_eq!(valid.len(), 1);
        assert_eq!(
            (valid[0].container.as_str(), valid[0].ifname.as_str()),
            ("dbnet-blue-1", "eth0")
        );
        Ok(())
    }

    fn status(&self, request: &StatusRequest) -> Result<(), Error> {
        assert_eq!(request.config.name.as_str(), "dbnet");
        Ok(())
    }
}
