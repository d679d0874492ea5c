//! A small client of the Container Runtime Interface: gRPC calls over containerd's socket.
//!
//! Message fields and their numbers are those of `k8s.io/cri-api`, package `runtime.v1`; of each
//! message only what is used here, as protobuf allows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use http::Request;
use prost::Message;
use tokio::net::UnixStream;

use crate::runtimes::image::IMAGE;

/// For one call, on a machine that is emulated and busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// What tells a pod's sandboxes apart from others.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's uid.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The pod's namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// Counts the sandboxes of one pod.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// A port of the node that leads to the pod's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct PortMapping {
    /// 0 is TCP.
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    /// The pod's.
    #[prost(int32, tag = "2")]
    pub container_port: i32,
    /// The node's.
    #[prost(int32, tag = "3")]
    pub host_port: i32,
}

/// What a pod's sandbox is made from.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxConfig {
    /// Which it is.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodSandboxMetadata>,
    /// The pod's host name.
    #[prost(string, tag = "2")]
    pub hostname: String,
    /// The pod's port mappings.
    #[prost(message, repeated, tag = "5")]
    pub port_mappings: Vec<PortMapping>,
    /// The pod's annotations.
    #[prost(map = "string, string", tag = "7")]
    pub annotations: HashMap<String, String>,
}

impl PodSandboxConfig {
    /// The first sandbox of the pod `default/NAME`.
    pub fn new(name: &str) -> Self {
        let metadata = PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("{name}-uid"),
            namespace: "default".to_owned(),
            attempt: 0,
        };
        Self { metadata: Some(metadata), hostname: name.to_owned(), ..Self::default() }
    }

    /// The pod's next sandbox, as the kubelet makes one after the last has died.
    #[must_use]
    pub fn next_attempt(&self) -> Self {
        let mut next = self.clone();
        if let Some(metadata) = &mut next.metadata {
            metadata.attempt += 1;
        }
        next
    }
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

/// Every request and response that has nothing but an id in its first field.
#[derive(Clone, PartialEq, Eq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Eq, Message)]
struct StopContainerRequest {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(int64, tag = "2")]
    timeout: i64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct PodIp {
    #[prost(string, tag = "1")]
    ip: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(message, repeated, tag = "2")]
    additional_ips: Vec<PodIp>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct PodSandboxStatus {
    #[prost(message, optional, tag = "5")]
    network: Option<PodSandboxNetworkStatus>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<PodSandboxStatus>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ImageStatusRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ImageStatusResponse {
    #[prost(message, optional, tag = "1")]
    image: Option<Id>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ExecSyncRequest {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, repeated, tag = "2")]
    cmd: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ExecSyncResponse {
    #[prost(bytes = "vec", tag = "1")]
    stdout: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    stderr: Vec<u8>,
    #[prost(int32, tag = "3")]
    exit_code: i32,
}

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
            call(&self.socket, "ImageService", "ImageStatus", &request)?;
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
        call(&self.socket, "RuntimeService", method, request)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One call, over a connection of its own.
fn call<Q: Message, A: Message + Default>(
    socket: &Path,
    service: &str,
    method: &str,
    request: &Q,
) -> Result<A> {
    let path = format!("/runtime.v1.{service}/{method}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, exchange(socket, &path, framed(request))).await
    });
    let answer = answer.with_context(|| format!("{method}: no answer in {PATIENCE:?}"))?;
    let frame = answer.with_context(|| method.to_owned())?;
    A::decode(unframed(frame).with_context(|| method.to_owned())?).context("decode the answer")
}

/// A length-prefixed, uncompressed message (gRPC over HTTP/2, "Length-Prefixed-Message").
fn framed<Q: Message>(message: &Q) -> Bytes {
    let body = message.encode_to_vec();
    let mut frame = BytesMut::with_capacity(body.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(body.len()).expect("requests are small"));
    frame.put_slice(&body);
    frame.freeze()
}

fn unframed(mut frame: Bytes) -> Result<Bytes> {
    ensure!(frame.remaining() >= 5, "an answer of {} bytes is no message", frame.len());
    ensure!(frame.get_u8() == 0, "a compressed answer");
    let length = usize::try_from(frame.get_u32())?;
    ensure!(frame.remaining() == length, "{length} bytes announced, {} sent", frame.len());
    Ok(frame)
}

/// A unary request; the status is in the trailers, or in the headers if there is nothing else.
async fn exchange(socket: &Path, path: &str, body: Bytes) -> Result<Bytes> {
    let stream = UnixStream::connect(socket).await.context("connect")?;
    let (client, connection) = h2::client::handshake(stream).await?;
    let talk = async {
        let mut client = client.ready().await?;
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut stream) = client.send_request(request, false)?;
        stream.send_data(body, true)?;
        let response = response.await?;
        let head = response.headers().clone();
        let (mut body, mut answer) = (response.into_body(), BytesMut::new());
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            answer.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await?.unwrap_or(head);
        let word = |name: &str| trailers.get(name).map(|value| text(value.as_bytes()));
        match word("grpc-status").as_deref() {
            Some("0") => Ok(answer.freeze()),
            status => {
                let message = word("grpc-message").unwrap_or_default();
                bail!("gRPC status {}: {message}", status.unwrap_or("missing"))
            }
        }
    };
    tokio::select! {
        biased;
        answer = talk => answer,
        ended = connection => { ended?; bail!("the runtime closed the connection") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_is_written_and_nothing_else() {
        let frame = framed(&Id { id: "abc".to_owned() });
        // Field 1, length-delimited, of 3 bytes, behind no compression and a length of 5.
        assert_eq!(&frame[..], b"\0\0\0\0\x05\x0a\x03abc");
        assert_eq!(&unframed(frame.clone()).unwrap()[..], b"\x0a\x03abc");
        for broken in [Bytes::new(), frame.slice(..9), Bytes::from_static(b"\x01\0\0\0\0")] {
            assert!(unframed(broken.clone()).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn the_next_sandbox_of_a_pod_differs_by_its_attempt() {
        let first = PodSandboxConfig::new("web");
        let (first, next) = (first.metadata.clone(), first.next_attempt().metadata);
        let (first, next) = (first.unwrap(), next.unwrap());
        assert_eq!((first.attempt, next.attempt), (0, 1));
        assert_eq!(first.uid, next.uid);
    }
}
