//! A TCP server that tells whoever connects which address it sees.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// How long to wait for a connection and for what is said over it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running server, on all IPv4 addresses of its namespace.
#[derive(Debug)]
pub struct PeerServer<'namespace> {
    namespace: &'namespace Namespace,
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<'namespace> PeerServer<'namespace> {
    /// Starts to listen on a port that is free in the namespace.
    ///
    /// # Errors
    ///
    /// The namespace could not be entered.
    pub fn start(namespace: &'namespace Namespace) -> Result<Self> {
        let listener = namespace.enter(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that is gone before it heard anything has its own error.
                let _ = connection.and_then(|stream| tell(&stream));
            }
        });
        Ok(Self { namespace, port, stop, thread: Some(thread) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PeerServer<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let woken = self.namespace.enter(|| Ok(TcpStream::connect_timeout(&own, PATIENCE)?));
        // Unwoken, the thread would never end: better to leave it than to wait for it.
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// As whom the server at this address sees a client in this namespace.
///
/// # Errors
///
/// No connection within two seconds, or a refused one.
pub fn seen_by(client: &Namespace, server: SocketAddr) -> Result<IpAddr> {
    let said = client.enter(|| {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    });
    let said = said.with_context(|| format!("{} asks {server}", client.name()))?;
    said.parse().with_context(|| format!("{server} said {said:?}"))
}

fn tell(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "{}", stream.peer_addr()?.ip())
}
