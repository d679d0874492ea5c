//! Service, `NodePort`, node and multi-NIC traffic of a pod on an underlay NIC, as a plan.
//!
//! A pod on ipvlan does not reach its own node, passes by kube-proxy, and answers by its NIC whom
//! the node sent to it. This crate computes what has to be done about it in the pod and on the
//! node, after the main plugin of a chain: a veth pair, routes over it, marks on connections that
//! come in by it, and rules where the pod has several NICs.
//!
//! Its core is pure. A [`Scene`] is what was found, a [`CoordinatorConfig`] what is wanted, [`plan()`]
//! the steps from one to the other. What was done is a [`Wiring`], from which alone it can be done
//! again ([`host_steps`]) and undone ([`unplan`]).
//!
//! Around it, [`survey`] finds the scene, [`apply()`] carries the steps out, all or none, and
//! [`first_difference`] says whether they still hold.
//!
//! ```
//! use cni_coordinator::{CoordinatorConfig, Scene, plan};
//! use cni_proto::NetworkConfig;
//!
//! # fn example(scene: &Scene) -> Result<(), Box<dyn std::error::Error>> {
//! let text = br#"{"cniVersion":"1.1.0","name":"ipvlan-eth0","type":"cni-coordinator",
//!     "serviceCIDR":["10.233.0.0/18"]}"#;
//! let config = CoordinatorConfig::new(&NetworkConfig::parse(text)?)?;
//! for step in plan(&config, scene)?.steps {
//!     println!("{step}");
//! }
//! # Ok(())
//! # }
//! ```
#![warn(clippy::unwrap_used)]

mod apply;
mod command;
mod config;
mod differences;
mod error;
mod field;
mod ingredient;
mod mark;
mod mode;
pub mod numbers;
mod pattern;
mod perform;
mod plan;
mod scene;
mod site;
mod step;
mod subject;
mod survey;
mod tuning;
mod veth;
mod wiring;

#[cfg(test)]
#[path = "../../docs/fields.rs"]
mod documentation;

pub use apply::{Failed, apply, apply_each};
pub use config::{
    ANNOTATION_DEFAULT_ROUTE_NIC, CoordinatorConfig, DEFAULT_STATE_DIR, Hijacked, PolicyRoute,
    WantedMode,
};
pub use differences::first_difference;
pub use error::PlanError;
pub use ingredient::{Ingredient, UnknownIngredient};
pub use mark::{Mark, MarkError};
pub use mode::{Mode, Turn, turn};
pub use pattern::{LinkPattern, LinkPatternError};
pub use perform::reply_marks;
pub use plan::{Plan, plan};
pub use scene::{NodeLink, NodeScene, PodLink, PodScene, Scene};
pub use site::Site;
pub use step::{Change, Marks, Need, Neighbour, Place, Route, Rule, Step, Veth};
pub use survey::survey;
pub use veth::{ALIAS_PREFIX, POD_END, VethPair};
pub use wiring::{Wiring, WiringError, host_steps, unplan};
