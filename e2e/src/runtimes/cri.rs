//! A small client of the Container Runtime Interface, over containerd's socket.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use prost::Message;

use crate::runtimes::grpc::{call, text};
use crate::runtimes::image::IMAGE;
use crate::runtimes::message::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ExecSyncRequest, ExecSyncResponse,
    Id, ImageSpec, ImageStatusRequest, ImageStatusResponse, ListPodSandboxResponse, Nothing,
    PodSandboxConfig, PodSandboxStatusResponse, RunPodSandboxRequest, StopContainerRequest,
};

/// The kubelet's side of the interface.
#[derive(Clone, Debug)]
pub struct Cri {
    socket: PathBuf,
}

impl Cri {
    /// Of the runtime that listens on this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether the runtime answers.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn version(&self) -> Result<()> {
        self.runtime::<_, Nothing>("Version", &Nothing {}).map(drop)
    }

    /// Whether it has the image.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn has_image(&self) -> Result<bool> {
        let image = Some(ImageSpec { image: IMAGE.to_owned() });
        let request = ImageStatusRequest { image };
        let answer: ImageStatusResponse =
            call(&self.socket, "runtime.v1.ImageService", "ImageStatus", &request)?;
        Ok(answer.image.is_some())
    }

    /// Makes and starts a sandbox. Answers its id.
    ///
    /// # Errors
    ///
    /// The runtime's, which has a plugin's message in it.
    pub fn run_pod_sandbox(&self, config: &PodSandboxConfig) -> Result<String> {
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        self.runtime::<_, Id>("RunPodSandbox", &request).map(|answer| answer.id)
    }

    /// Ends a sandbox, as often as one likes.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn stop_pod_sandbox(&self, sandbox: &str) -> Result<()> {
        self.runtime::<_, Nothing>("StopPodSandbox", &Id { id: sandbox.to_owned() }).map(drop)
    }

    /// Forgets an ended sandbox.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn remove_pod_sandbox(&self, sandbox: &str) -> Result<()> {
        self.runtime::<_, Nothing>("RemovePodSandbox", &Id { id: sandbox.to_owned() }).map(drop)
    }

    /// Ends a sandbox and forgets it.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn end_pod_sandbox(&self, sandbox: &str) -> Result<()> {
        self.stop_pod_sandbox(sandbox)?;
        self.remove_pod_sandbox(sandbox)
    }

    /// A sandbox's addresses, the first one first.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn addresses(&self, sandbox: &str) -> Result<Vec<String>> {
        let id = Id { id: sandbox.to_owned() };
        let answer: PodSandboxStatusResponse = self.runtime("PodSandboxStatus", &id)?;
        let network = answer.status.and_then(|status| status.network).unwrap_or_default();
        let first = Some(network.ip).filter(|ip| !ip.is_empty());
        Ok(first.into_iter().chain(network.additional_ips.into_iter().map(|ip| ip.ip)).collect())
    }

    /// The ids of all sandboxes, running or not.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn pod_sandboxes(&self) -> Result<Vec<String>> {
        let answer: ListPodSandboxResponse = self.runtime("ListPodSandbox", &Nothing {})?;
        Ok(answer.items.into_iter().map(|item| item.id).collect())
    }

    /// Makes and starts a container of the image in a sandbox. Answers its id.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn run_container(&self, sandbox: &str, pod: &PodSandboxConfig) -> Result<String> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "main".to_owned() }),
            image: Some(ImageSpec { image: IMAGE.to_owned() }),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(pod.clone()),
        };
        let Id { id } = self.runtime("CreateContainer", &request)?;
        self.runtime::<_, Nothing>("StartContainer", &Id { id: id.clone() })?;
        Ok(id)
    }

    /// Ends a container at once.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn stop_container(&self, container: &str) -> Result<()> {
        let request = StopContainerRequest { container_id: container.to_owned(), timeout: 0 };
        self.runtime::<_, Nothing>("StopContainer", &request).map(drop)
    }

    /// The standard output of a command in a container.
    ///
    /// # Errors
    ///
    /// The runtime's, or the command failed.
    pub fn exec(&self, container: &str, argv: &[&str]) -> Result<String> {
        let cmd = argv.iter().map(|&word| word.to_owned()).collect();
        let request = ExecSyncRequest { container_id: container.to_owned(), cmd };
        let answer: ExecSyncResponse = self.runtime("ExecSync", &request)?;
        let (said, complained) = (text(&answer.stdout), text(&answer.stderr));
        ensure!(answer.exit_code == 0, "{argv:?}: {}: {said}{complained}", answer.exit_code);
        Ok(said)
    }

    fn runtime<Q: Message, A: Message + Default>(&self, method: &str, request: &Q) -> Result<A> {
        call(&self.socket, "runtime.v1.RuntimeService", method, request)
    }
}
