//! The specification's own examples, `tests/spec/*.json`: what a runtime says and what it hears.

use std::collections::BTreeMap;

use cni_proto::{
    AddRequest, AddResult, CheckRequest, Code, DelRequest, Dns, Error, GcRequest, Interface,
    IpConfig, Plugin, Route, StatusRequest,
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
            run(include_str!(concat!("../spec/", $file, ".json")));
        }
    )*};
}

cases! {
    appendix_add_1_bridge: "appendix-add-1-bridge",
    appendix_add_1_host_local: "appendix-add-1-host-local",
    appendix_add_2_tuning: "appendix-add-2-tuning",
    appendix_add_3_portmap: "appendix-add-3-portmap",
    appendix_check_1_bridge: "appendix-check-1-bridge",
    appendix_check_2_tuning: "appendix-check-2-tuning",
    appendix_check_3_portmap: "appendix-check-3-portmap",
    appendix_delete_1_portmap: "appendix-delete-1-portmap",
    appendix_delete_2_tuning: "appendix-delete-2-tuning",
    appendix_delete_3_bridge: "appendix-delete-3-bridge",
    section_2_gc: "section-2-gc",
    section_2_status: "section-2-status",
    section_2_version: "section-2-version",
    section_5_error: "section-5-error",
}

fn run(text: &str) {
    let case: Case = serde_json::from_str(text).unwrap();
    let env: Vec<_> = case.env.iter().map(|(name, value)| (&**name, &**value)).collect();
    let answer = call(&Example(case.plugin), &env, case.stdin.to_string().as_bytes());
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
    gateway: std::net::IpAddr,
    routes: Vec<Route>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tuning {
    runtime_config: Mac,
}

#[derive(Default, Deserialize)]
struct Mac {
    mac: String,
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
        let ip = IpConfig {
            address: "10.1.0.5/16".parse().unwrap(),
            gateway: Some(ipam.gateway),
            interface: None,
        };
        Ok(AddResult { ips: vec![ip], routes: ipam.routes, dns, ..AddResult::default() })
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

/// The chain's final result: the container's interface has the MAC that tuning gave it.
fn assert_final(prev: Option<&AddResult>) {
    let mac = prev.and_then(|prev| prev.interfaces.last()?.mac.as_deref());
    assert_eq!(mac, Some("00:11:22:33:44:66"));
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
                result.interfaces[2].mac = Some(tuning.runtime_config.mac);
                Ok(result)
            }
            _ => Ok(request.config.prev_result.clone().unwrap()),
        }
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        assert_eq!(request.config.plugin_type, self.0);
        assert_final(request.config.prev_result.as_ref());
        Ok(())
    }

    fn check(&self, request: &CheckRequest) -> Result<(), Error> {
        assert_eq!(request.config.plugin_type, self.0);
        assert_final(request.config.prev_result.as_ref());
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
