//! Unary gRPC calls over a Unix socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use http::Request;
use prost::Message;
use tokio::net::UnixStream;

/// For one call, on a machine that is emulated and busy. A runtime whose helpers were killed at the
/// wrong moment may never answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// For people.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One call, over a connection of its own.
pub(crate) fn call<Q: Message, A: Message + Default>(
    socket: &Path,
    service: &str,
    method: &str,
    request: &Q,
) -> Result<A> {
    let path = format!("/{service}/{method}");
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

    /// As an id is sent.
    #[derive(Clone, PartialEq, Eq, Message)]
    struct Id {
        #[prost(string, tag = "1")]
        id: String,
    }

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
}
