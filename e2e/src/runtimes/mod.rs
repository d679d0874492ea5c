//! Real container runtimes on a node of the lab: Debian's podman and containerd.
//!
//! A [`Boot`] is the node from a start to its end: processes, mounts and a boot id of its own in
//! the node's network namespace, over a [`Disk`] that outlives it. [`Podman`] and [`Containerd`]
//! run in it as an operator sets them up, with the plugins of this build.

mod boot;
mod conflist;
mod containerd;
mod cri;
mod disk;
mod grpc;
mod image;
pub mod lease;
mod message;
mod podman;
pub mod recording;
mod remains;
pub mod setting;

pub use boot::{Boot, wait_for};
pub use conflist::{Addresses, Conflist};
pub use containerd::Containerd;
pub use cri::Cri;
pub use disk::Disk;
pub use image::{IMAGE, Image};
pub use message::{PodSandboxConfig, PodSandboxMetadata, PortMapping};
pub use podman::{Container, Podman};
pub use recording::Recorder;
pub use remains::{Remains, remove_forgotten};

#[cfg(test)]
mod tests {
    /// The runtimes here are set up with these files.
    #[test]
    fn the_document_has_the_examples_as_they_are() {
        let document = include_str!("../../../docs/runtimes.md");
        let quickstart = include_str!("../../../docs/quickstart.md");
        for example in [
            include_str!("../../../examples/containerd.toml"),
            include_str!("../../../examples/containers.conf"),
        ] {
            assert!(document.contains(&format!("```toml\n{example}```")), "{example}");
            assert!(quickstart.contains(&format!("<<'EOP'\n{example}EOP\n")), "{example}");
        }
    }
}
