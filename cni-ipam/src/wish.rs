//! What an ADD wants of the applied pools: by its pod, the pod's namespace and the configuration.

use cni_proto::{AddRequest, Code, Error, PodAnnotations};
use ipam_core::{
    ANNOTATION_POOL, ANNOTATION_POOLS, ANNOTATION_ROUTES, Asker, Demand, HintError, Hints, Route,
    pod_routes,
};

use crate::config::IpamConfig;
use crate::requested::Requested;
use crate::{attachment_of_add, named, pod};

/// Pod annotations of the peer that name subnets, from which it makes pools by itself.
const ANNOTATIONS_OF_SUBNETS: [&str; 2] = ["ipam.spidernet.io/subnet", "ipam.spidernet.io/subnets"];

/// How much of a hint's error is told, in characters: it may quote all of an annotation.
const LONGEST_REASON: usize = 400;

/// What an ADD wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Of the pools.
    pub(crate) demand: Demand,
    /// Whether the interface is to have no default route.
    pub(crate) clean_gateway: bool,
    /// Routes of the pod, on whichever of its interfaces.
    pub(crate) routes: Vec<Route>,
}

impl Wanted {
    /// # Errors
    ///
    /// Code 7 naming the annotation, file or field that cannot be followed, 4 for such `CNI_ARGS`.
    pub(crate) fn new(request: &AddRequest, config: &IpamConfig) -> Result<Self, Error> {
        let annotations = PodAnnotations::new(&request.config)?;
        for key in ANNOTATIONS_OF_SUBNETS {
            if annotations.text(key)?.is_some() {
                let msg = format!(
                    "annotation {key}: no pools are made of subnets here: name pools by \
                     {ANNOTATION_POOL} or {ANNOTATION_POOLS}"
                );
                return Err(Error::new(Code::INVALID_CONFIG, msg));
            }
        }
        let attachment = attachment_of_add(request)?;
        let namespace = request.args.pod_namespace().map(str::parse).transpose();
        let namespace = namespace.map_err(|error| named(&error))?;
        let cluster = config.namespaces_file.read(namespace.as_ref(), &config.node)?;
        let hints = Hints {
            pod_pools: annotations.text(ANNOTATION_POOLS)?,
            pod_pool: annotations.text(ANNOTATION_POOL)?,
            namespace_v4: cluster.namespace_v4.as_deref(),
            namespace_v6: cluster.namespace_v6.as_deref(),
            configuration: config.pools.clone(),
        };
        let wish = hints.wish(&attachment.ifname).map_err(|error| not_followed(&error))?;
        let routes = annotations.text(ANNOTATION_ROUTES)?.map(pod_routes).transpose();
        let asker = Asker {
            namespace,
            namespace_labels: cluster.namespace_labels,
            node_labels: cluster.node_labels,
            ..Asker::new(config.node.clone(), config.network.clone())
        };
        let demand = Demand {
            pod: pod(&request.args),
            source: wish.source,
            requested: Requested::new(&request.config)?.with(&request.args)?,
            ..Demand::new(attachment, asker)
        };
        Ok(Self {
            demand,
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
