//! What an ADD wants of the applied pools: by its pod, the pod's namespace and the configuration.

use cni_proto::{CniArgs, Code, Error, NetworkConfig, PodAnnotations};
use ipam_core::{
    ANNOTATION_POOL, ANNOTATION_POOLS, ANNOTATION_ROUTES, Asker, Attachment, Demand, HintError,
    Hints, Route, pod_routes,
};

use crate::attachment::{named, pod};
use crate::config::IpamConfig;
use crate::place::Place;
use crate::requested::Requested;

/// Pod annotations of the peer that name subnets, from which it makes pools by itself.
pub(crate) const ANNOTATIONS_OF_SUBNETS: [&str; 2] =
    ["ipam.spidernet.io/subnet", "ipam.spidernet.io/subnets"];

/// How much of a hint's error is told, in characters: it may quote all of an annotation.
const LONGEST_REASON: usize = 400;

/// What an ADD wants. An ADD makes it, and so does who wants to know what one would get.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// Of the pools.
    pub demand: Demand,
    /// The annotation or the field that has named the pools; `None` if all default pools are asked.
    pub heard: Option<&'static str>,
    /// Where the database is, and by which rules addresses are given.
    pub place: Place,
    /// Whether the interface is to have no default route.
    pub clean_gateway: bool,
    /// Routes of the pod, on whichever of its interfaces.
    pub routes: Vec<Route>,
}

impl Wanted {
    /// What an ADD of this attachment with this configuration and these `CNI_ARGS` wants. Reads the
    /// file of namespaces, and asks nobody else.
    ///
    /// # Errors
    ///
    /// Code 7 naming the annotation, file or field that cannot be followed, 4 for such `CNI_ARGS`.
    pub fn new(
        network: &NetworkConfig,
        attachment: Attachment,
        args: &CniArgs,
    ) -> Result<Self, Error> {
        let config = IpamConfig::new(network)?;
        let annotations = PodAnnotations::new(network)?;
        for key in ANNOTATIONS_OF_SUBNETS {
            if annotations.text(key)?.is_some() {
                let msg = format!(
                    "annotation {key}: no pools are made of subnets here: name pools by \
                     {ANNOTATION_POOL} or {ANNOTATION_POOLS}"
                );
                return Err(Error::new(Code::INVALID_CONFIG, msg));
            }
        }
        let namespace = args.pod_namespace().map(str::parse).transpose();
        let namespace = namespace.map_err(|error| named(&error))?;
        let cluster = config.namespaces_file.read(namespace.as_ref(), &config.node)?;
        let hints = Hints {
            pod_pools: annotations.text(ANNOTATION_POOLS)?,
            pod_pool: annotations.text(ANNOTATION_POOL)?,
            namespace_v4: cluster.namespace_v4.as_deref(),
            namespace_v6: cluster.namespace_v6.as_deref(),
            configuration: config.pools,
        };
        let wish = hints.wish(&attachment.ifname).map_err(|error| not_followed(&error))?;
        let routes = annotations.text(ANNOTATION_ROUTES)?.map(pod_routes).transpose();
        let asker = Asker {
            namespace,
            namespace_labels: cluster.namespace_labels,
            node_labels: cluster.node_labels,
            ..Asker::new(config.node, config.network)
        };
        let demand = Demand {
            pod: pod(args)?,
            source: wish.source,
            requested: Requested::new(network)?.with(args)?,
            ..Demand::new(attachment, asker)
        };
        Ok(Self {
            demand,
            heard: hints.heard(),
            place: config.place,
            clean_gateway: wish.clean_gateway || config.clean_gateway,
            routes: routes.map_err(|error| not_followed(&error))?.unwrap_or_default(),
        })
    }
}

/// The error for a hint, of a length that a runtime's log can take.
pub(crate) fn not_followed(error: &HintError) -> Error {
    let mut msg = error.to_string();
    if let Some((end, _)) = msg.char_indices().nth(LONGEST_REASON) {
        msg.truncate(end);
        msg.push('…');
    }
    Error::new(Code::INVALID_CONFIG, msg)
}
