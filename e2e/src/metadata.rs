//! An instance metadata service that behaves as the clouds document theirs, and misbehaves as they
//! do at night: by switches.
//!
//! Sources: "Instance metadata" of Alibaba Cloud's ECS user guide; "Use the Instance Metadata
//! Service" and "Instance metadata categories" of Amazon's EC2 user guide.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::namespace::Namespace;

mod nic;

pub use nic::{Dialect, MetadataNic};

/// The longest time that a token may last, in seconds, with both clouds.
const LONGEST_TTL_SECONDS: u64 = 21_600;
/// A client that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a client is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// The longest head of a request in bytes.
const LONGEST_HEAD: u64 = 16 << 10;

/// How the service misbehaves. The default is not at all.
#[derive(Clone, Debug, Default)]
pub struct Mischief {
    /// Accepts connections and closes them.
    pub is_down: bool,
    /// The statuses of the next answers, whatever is asked: 429, 500.
    pub statuses: VecDeque<u16>,
    /// Tokens last so long, whatever was asked for.
    pub token_ttl: Option<Duration>,
    /// Files whose end is this with other contents; `None` is 404.
    pub files: BTreeMap<String, Option<String>>,
    /// What the cloud gives from now on is not told: as in the first minute after a change.
    pub is_stale: bool,
    /// An update under way: after so many requests the cloud gives this.
    pub update_after: Option<(usize, Vec<MetadataNic>)>,
}

#[derive(Debug)]
struct State {
    dialect: Dialect,
    given: Vec<MetadataNic>,
    told: Vec<MetadataNic>,
    mischief: Mischief,
    tokens: BTreeMap<String, Instant>,
    tokens_given: usize,
    requests: Vec<String>,
}

/// A service that listens until it is dropped.
#[derive(Debug)]
pub struct MetadataServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    is_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MetadataServer {
    /// A service on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// No port can be had.
    pub fn start(dialect: Dialect, nics: Vec<MetadataNic>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        Self::serve(listener, dialect, nics)
    }

    /// A service at an address of a namespace, which has to be on an interface there.
    ///
    /// # Errors
    ///
    /// The address cannot be had.
    pub fn start_in(
        namespace: &Namespace,
        address: SocketAddr,
        dialect: Dialect,
        nics: Vec<MetadataNic>,
    ) -> Result<Self> {
        // A socket stays in the namespace that it was made in.
        let listener = namespace
            .enter(|| TcpListener::bind(address).with_context(|| format!("listen at {address}")))?;
        Self::serve(listener, dialect, nics)
    }

    fn serve(listener: TcpListener, dialect: Dialect, nics: Vec<MetadataNic>) -> Result<Self> {
        let address = listener.local_addr()?;
        // Nobody could wake a thread that waits in another namespace.
        listener.set_nonblocking(true)?;
        let state = Arc::new(Mutex::new(State {
            dialect,
            told: nics.clone(),
            given: nics,
            mischief: Mischief::default(),
            tokens: BTreeMap::new(),
            tokens_given: 0,
            requests: Vec::new(),
        }));
        let is_ended = Arc::new(AtomicBool::new(false));
        let (shared, ended) = (Arc::clone(&state), Arc::clone(&is_ended));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                match listener.accept() {
                    // A client that hangs up is its own affair.
                    Ok((stream, _)) => drop(converse(&stream, &shared)),
                    Err(_) => thread::sleep(LOOK_AGAIN),
                }
            }
        });
        Ok(Self { address, state, is_ended, thread: Some(thread) })
    }

    /// As `ipamctl sync --endpoint` takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the cloud gives from now on; told at once, unless the service is stale.
    pub fn give(&self, nics: Vec<MetadataNic>) {
        let mut state = self.state();
        state.given = nics;
        state.catch_up();
    }

    /// What the cloud gives.
    pub fn given(&self) -> Vec<MetadataNic> {
        self.state().given.clone()
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, mischief: Mischief) {
        let mut state = self.state();
        state.mischief = mischief;
        state.catch_up();
    }

    /// Forgets all tokens, as a service that was started anew.
    pub fn forget_tokens(&self) {
        self.state().tokens.clear();
    }

    /// How many tokens were given.
    pub fn tokens_given(&self) -> usize {
        self.state().tokens_given
    }

    /// The paths that were asked for, with `PUT` in front of that of a token.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MetadataServer {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl State {
    fn catch_up(&mut self) {
        if !self.mischief.is_stale {
            self.told.clone_from(&self.given);
        }
    }

    /// Status and body for a request of this machine; `None` hangs up.
    fn answer(
        &mut self,
        peer: IpAddr,
        method: &str,
        path: &str,
        headers: &[(String, String)],
    ) -> Option<(u16, String)> {
        let shown = if method == "PUT" { format!("PUT {path}") } else { path.to_owned() };
        self.requests.push(shown);
        if self.mischief.is_down {
            return None;
        }
        if let Some(status) = self.mischief.statuses.pop_front() {
            return Some((status, format!("<html>{status}</html>")));
        }
        match self.mischief.update_after.take() {
            Some((0, nics)) => {
                self.given = nics;
                self.catch_up();
            }
            other => self.mischief.update_after = other.map(|(left, nics)| (left - 1, nics)),
        }
        let (ttl_name, token_name) = match self.dialect {
            Dialect::Alibaba => {
                ("x-aliyun-ecs-metadata-token-ttl-seconds", "x-aliyun-ecs-metadata-token")
            }
            Dialect::Aws => ("x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"),
        };
        let header = |wanted: &str| {
            headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        if (method, path) == ("PUT", "/latest/api/token") {
            let ttl = header(ttl_name).and_then(|text| text.parse::<u64>().ok());
            let Some(ttl) = ttl.filter(|ttl| (1..=LONGEST_TTL_SECONDS).contains(ttl)) else {
                return Some((400, String::new()));
            };
            let lasts = self.mischief.token_ttl.unwrap_or(Duration::from_secs(ttl));
            self.tokens_given += 1;
            let token = format!("AQAEAK{:08x}==", self.tokens_given);
            self.tokens.insert(token.clone(), Instant::now() + lasts);
            return Some((200, token));
        }
        if method != "GET" {
            return Some((405, String::new()));
        }
        let Some(token) = header(token_name) else {
            // Alibaba's hardened mode forbids what AWS calls unauthorised.
            return Some((if self.dialect == Dialect::Alibaba { 403 } else { 401 }, String::new()));
        };
        if self.tokens.get(token).is_none_or(|end| *end <= Instant::now()) {
            return Some((401, String::new()));
        }
        let path = path.strip_prefix("/latest/meta-data/").unwrap_or_default();
        let replaced = self.mischief.files.iter().find(|(end, _)| path.ends_with(end.as_str()));
        let text = match replaced {
            Some((_, text)) => text.clone(),
            None => self.file(peer, path),
        };
        Some(match text {
            Some(text) => (200, text),
            None => (404, "<html><title>404 - Not Found</title></html>".to_owned()),
        })
    }

    /// What the machine that has this address is told. Whoever has none that the cloud gave, as on
    /// the loopback interface, is told of all NICs.
    fn told(&self, peer: IpAddr) -> Vec<&MetadataNic> {
        let own = self.told.iter().find(|nic| nic.has(peer)).map(|nic| &nic.node);
        self.told.iter().filter(|nic| own.is_none_or(|node| nic.node == *node)).collect()
    }

    fn file(&self, peer: IpAddr, path: &str) -> Option<String> {
        let told = self.told(peer);
        let first = told.first()?;
        match (path, self.dialect) {
            ("mac", _) => return Some(first.mac.to_string()),
            ("instance-id", _) => return Some("i-0123456789abcdef0".to_owned()),
            ("region-id", Dialect::Alibaba) => return Some("cn-hangzhou".to_owned()),
            ("placement/availability-zone", Dialect::Aws) => return Some("eu-west-1a".to_owned()),
            _ => {}
        }
        let path = path.strip_prefix("network/interfaces/macs/")?;
        if path.is_empty() {
            let macs: Vec<String> = told.iter().map(|nic| format!("{}/", nic.mac)).collect();
            return Some(macs.join("\n"));
        }
        let (mac, name) = path.split_once('/')?;
        let nic = told.iter().find(|nic| nic.mac.to_string() == mac)?;
        nic.files(self.dialect).remove(name)
    }
}

/// One request and its answer.
fn converse(stream: &TcpStream, state: &Mutex<State>) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(LONGEST_HEAD));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().context("method")?, words.next().context("path")?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let peer = stream.peer_addr()?.ip();
    let answer = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answer(peer, method, path, &headers)
    };
    let Some((status, body)) = answer else { return Ok(()) };
    let mut text = format!("HTTP/1.1 {status} Status\r\nContent-Type: text/plain\r\n");
    write!(text, "Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    let mut writer = stream;
    writer.write_all(text.as_bytes())?;
    Ok(writer.flush()?)
}
