//! A metadata service as Alibaba Cloud documents it, of one NIC that this machine need not have.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const MAC: &str = "02:16:3e:ac:c7:b7";

/// Which answers it gives lasts as long as the test.
pub(crate) struct Metadata {
    address: SocketAddr,
}

impl Metadata {
    /// The secondary addresses, as the service writes them.
    pub(crate) fn of(secondary: &str) -> Self {
        Self::start(secondary, None)
    }

    /// It answers nothing until something is sent.
    pub(crate) fn held_back(secondary: &str) -> (Self, Sender<()>) {
        let (sender, receiver) = channel();
        (Self::start(secondary, Some(receiver)), sender)
    }

    fn start(secondary: &str, mut gate: Option<Receiver<()>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let addresses = format!(r#"["10.7.0.2"{secondary}]"#);
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(gate) = gate.take() {
                    let _opened = gate.recv();
                }
                drop(answer(&stream, &addresses));
            }
        });
        Self { address }
    }

    /// The arguments of a sync with it.
    pub(crate) fn sync(&self) -> Vec<String> {
        let endpoint = format!("http://{}", self.address);
        let network = format!("{MAC}=kube-system/ipvlan-eth0");
        ["sync", "--provider", "alibaba", "--endpoint", &endpoint, "--network", &network]
            .into_iter()
            .chain(["--node-name", "master", "--no-node-scan"])
            .map(str::to_owned)
            .collect()
    }
}

fn answer(mut stream: &TcpStream, addresses: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let of_nic = format!("/latest/meta-data/network/interfaces/macs/{MAC}/");
    let body = match path {
        "/latest/api/token" => "token".to_owned(),
        "/latest/meta-data/network/interfaces/macs/" => format!("{MAC}/"),
        path => match path.strip_prefix(&of_nic) {
            Some("network-interface-id") => "eni-1".to_owned(),
            Some("primary-ip-address") => "10.7.0.2".to_owned(),
            Some("private-ipv4s") => addresses.to_owned(),
            Some("vswitch-cidr-block") => "10.7.0.0/24".to_owned(),
            Some("gateway") => "10.7.0.253".to_owned(),
            _ => String::new(),
        },
    };
    let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
