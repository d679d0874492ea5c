//! The verbs.

use cni_coordinator::{CoordinatorConfig, WantedMode};
use cni_proto::{AddRequest, AddResult, Code, DelRequest, Error, NetworkConfig, Plugin};

/// The plugin: this package's library between two namespaces.
pub(crate) struct Coordinator;

impl Plugin for Coordinator {
    fn name(&self) -> &'static str {
        "cni-coordinator"
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        let config = CoordinatorConfig::new(&request.config)?;
        let result = chained(&request.config)?;
        if config.mode == WantedMode::Disabled {
            return Ok(result.clone());
        }
        let msg = "this build of cni-coordinator computes plans and performs none: use mode \
                   disabled";
        Err(Error::new(Code::INTERNAL, msg))
    }

    fn del(&self, _: &DelRequest) -> Result<(), Error> {
        Ok(())
    }
}

/// What the plugins before this one made. It has no interface of its own to speak of.
fn chained(config: &NetworkConfig) -> Result<&AddResult, Error> {
    config.required_prev_result().map_err(|error| {
        error.with_details("cni-coordinator stands behind a main plugin in a list of plugins")
    })
}
