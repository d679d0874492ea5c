//! A server that tells whoever asks which address it sees, and what a client hears from it.

use std::io::{self, Read as _, Write as _};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// How long to wait for a connection and for what is said over it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the server waits for a client that has connected.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);

/// How long an unanswered datagram may have been lost before it is sent again.
const RESEND: Duration = Duration::from_secs(1);

/// How often a port is tried that is free for TCP but not for UDP.
const PORT_TRIES: u32 = 20;

/// The transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Its name for `nft` and `tcpdump`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A running server of both protocols on one port, on all addresses of its namespace.
///
/// Over TCP it reads to the end, and says the peer's address in a line and then what it read; over
/// UDP it answers each datagram with the address of its sender.
#[derive(Debug)]
pub struct PeerServer<'namespace> {
    namespace: &'namespace Namespace,
    port: u16,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What a client heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// As whom the server saw the client.
    pub peer: IpAddr,
    /// Where the answer came from. Over TCP that is always where the client connected to.
    pub from: SocketAddr,
}

impl<'namespace> PeerServer<'namespace> {
    /// Starts to listen on a port that is free in the namespace.
    ///
    /// # Errors
    ///
    /// The namespace could not be entered.
    pub fn start(namespace: &'namespace Namespace) -> Result<Self> {
        let (listener, socket) = namespace.enter(|| bind().context("no port for both"))?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let (tcp_stop, udp_stop) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            thread::spawn(move || serve_connections(&listener, &tcp_stop)),
            thread::spawn(move || serve_datagrams(&socket, &udp_stop)),
        ];
        Ok(Self { namespace, port, stop, threads })
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
        let woken = self.namespace.enter(|| {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(&[], own)?;
            Ok(TcpStream::connect_timeout(&own, PATIENCE)?)
        });
        // Unwoken, the threads would never end: better to leave them than to wait for them.
        if woken.is_ok() {
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}

/// As whom the server at this address sees a client in this namespace, over TCP.
///
/// # Errors
///
/// No connection within two seconds, or a refused one.
pub fn seen_by(client: &Namespace, server: SocketAddr) -> Result<IpAddr> {
    Ok(ask(client, Protocol::Tcp, server, PATIENCE)?.peer)
}

/// What a client in this namespace hears from a server at this address, within this time.
///
/// # Errors
///
/// Nothing, or the connection was refused.
pub fn ask(
    client: &Namespace,
    protocol: Protocol,
    server: SocketAddr,
    patience: Duration,
) -> Result<Heard> {
    match protocol {
        Protocol::Tcp => {
            let peer = client.enter(|| converse(server, &[], patience));
            let peer = peer.with_context(|| format!("{} asks {server}", client.name()))?;
            Ok(Heard { peer, from: server })
        }
        Protocol::Udp => send_datagram(client, server, 4, patience),
    }
}

/// Sends this many bytes over TCP and gets them back, each way as whole segments.
///
/// # Errors
///
/// It took longer than this time, or other bytes came back.
pub fn transfer(
    client: &Namespace,
    server: SocketAddr,
    length_bytes: usize,
    patience: Duration,
) -> Result<IpAddr> {
    let body: Vec<u8> = (0..=250).cycle().take(length_bytes).collect();
    let peer = client.enter(|| converse(server, &body, patience));
    peer.with_context(|| format!("{} sends {length_bytes} bytes to {server}", client.name()))
}

/// Sends one datagram of this length, again each second until it is answered.
///
/// # Errors
///
/// It was not answered within this time.
pub fn send_datagram(
    client: &Namespace,
    server: SocketAddr,
    length_bytes: usize,
    patience: Duration,
) -> Result<Heard> {
    let heard = client.enter(|| {
        let socket = UdpSocket::bind(unspecified(server))?;
        let deadline = Instant::now() + patience;
        let mut answer = [0; 64];
        loop {
            // What an earlier one met on its way, such as a smaller MTU, is this one's error.
            let _ = socket.send_to(&vec![b'?'; length_bytes], server);
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "no answer within {patience:?}");
            socket.set_read_timeout(Some(left.min(RESEND)))?;
            if let Ok((count, from)) = socket.recv_from(&mut answer) {
                let peer = std::str::from_utf8(&answer[..count])?.parse()?;
                return Ok(Heard { peer, from });
            }
        }
    });
    heard.with_context(|| format!("{} asks {server} over UDP", client.name()))
}

/// A listener and a socket of one port, for both families.
fn bind() -> io::Result<(TcpListener, UdpSocket)> {
    let mut tries = 1;
    loop {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, listener.local_addr()?.port())) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES => {
                tries += 1;
            }
            socket => return Ok((listener, socket?)),
        }
    }
}

fn serve_connections(listener: &TcpListener, stop: &AtomicBool) {
    for connection in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        // A thread each: a client whose packets are lost keeps nobody waiting. One that is gone
        // before it heard anything has its own error.
        thread::spawn(|| connection.and_then(|stream| tell(&stream)));
    }
}

fn serve_datagrams(socket: &UdpSocket, stop: &AtomicBool) {
    let mut datagram = vec![0; usize::from(u16::MAX)];
    while !stop.load(Ordering::SeqCst) {
        if let Ok((_, sender)) = socket.recv_from(&mut datagram) {
            let peer = sender.ip().to_canonical().to_string();
            let _ = socket.send_to(peer.as_bytes(), sender);
        }
    }
}

fn tell(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(SERVER_PATIENCE))?;
    stream.set_write_timeout(Some(SERVER_PATIENCE))?;
    let mut body = Vec::new();
    stream.read_to_end(&mut body)?;
    let peer = stream.peer_addr()?.ip().to_canonical();
    stream.write_all(&[format!("{peer}\n").as_bytes(), &body].concat())
}

/// Sends the body, ends its side, and reads whom the server sees and the body.
fn converse(server: SocketAddr, body: &[u8], patience: Duration) -> Result<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(body)?;
    stream.shutdown(Shutdown::Write)?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    let end = said.iter().position(|byte| *byte == b'\n').context("no line")?;
    let (peer, echo) = (std::str::from_utf8(&said[..end])?, &said[end + 1..]);
    ensure!(echo == body, "{} of {} bytes came back, or others", echo.len(), body.len());
    peer.parse().with_context(|| format!("it said {peer:?}"))
}

/// Where a client of the server's family binds.
fn unspecified(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    }
}
