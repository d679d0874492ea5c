//! A link's segment, asked who has an address.

use std::io::{IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage, bind,
    recvmsg, sendmsg, socket,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Context, Error, Operation, Result};
use crate::link::Link;
use crate::mac::MacAddr;
use crate::solicitation::{claim, question};

pub use crate::solicitation::Claim;

/// A packet socket on one link.
///
/// It sees every frame that the link receives, those for its ipvlan slaves too, which the slaves'
/// own namespaces would see only if they had the address that the answer is for
/// (`ipvlan_addr_lookup` in `drivers/net/ipvlan/ipvlan_core.c`): so ask on the parent.
#[derive(Debug)]
pub struct Segment {
    socket: OwnedFd,
    link: String,
    mac: MacAddr,
}

impl Segment {
    /// Opens the segment of a link of the calling thread's namespace; the link must be up and have
    /// an Ethernet address.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_NET_RAW`; [`Error::Invalid`] for a link without Ethernet address.
    pub fn open(link: &Link) -> Result<Self> {
        let name = link.name.as_str();
        let context = Context::new(Operation::OpenPacketSocket, &name);
        let mac = link.mac.ok_or_else(|| context.invalid("it has no Ethernet address"))?;
        let refused = |errno: nix::Error| context.refused(errno as i32, None);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll);
        let socket = socket.map_err(refused)?;
        let here = address(link.index).map_err(refused)?;
        let here = here.ok_or_else(|| context.refused(nix::Error::ENODEV as i32, None))?;
        bind(socket.as_raw_fd(), &here).map_err(refused)?;
        Ok(Self { socket, link: name.to_owned(), mac })
    }

    /// The link's own address, which all its questions have.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Asks who has `target`. With a `sender` of the same family, an address of this link, the
    /// answer comes to it, and whoever hears the question may learn that this link has it; without
    /// one it is a probe that nobody learns from.
    ///
    /// # Errors
    ///
    /// `ENETDOWN`: the link is down.
    pub fn ask(&self, target: IpAddr, sender: Option<IpAddr>) -> Result<()> {
        let frame = question(target, self.mac, sender);
        let sent = sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&frame)],
            &[],
            MsgFlags::empty(),
            None,
        );
        sent.map(drop).map_err(|errno| self.failed(errno as i32))
    }

    /// The next claim to have an address, whoever makes it and for whichever address; `None` if
    /// none was heard until the deadline.
    ///
    /// # Errors
    ///
    /// `ENETDOWN`: the link went down.
    pub fn hear(&self, deadline: Instant) -> Result<Option<Claim>> {
        // Claims fit: 42 bytes for ARP, less than 100 for an advertisement; the rest is not read.
        let mut frame = [0; 256];
        loop {
            let mut into = [IoSliceMut::new(&mut frame)];
            let received =
                recvmsg::<()>(self.socket.as_raw_fd(), &mut into, None, MsgFlags::MSG_DONTWAIT);
            match received.map(|message| message.bytes) {
                Ok(length) => {
                    if let Some(claim) = claim(&frame[..length]) {
                        return Ok(Some(claim));
                    }
                    // A flood of other frames must not outlast the deadline.
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    self.wait(left)?;
                }
                Err(errno) => return Err(self.failed(errno as i32)),
            }
        }
    }

    fn wait(&self, at_most: Duration) -> Result<()> {
        let mut sockets = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(at_most).ok();
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(self.failed(errno.raw_os_error())),
        }
    }

    fn failed(&self, errno: i32) -> Error {
        Context::new(Operation::AskSegment, &self.link).refused(errno, None)
    }
}

/// The packet socket address of a link: from the list that the C library makes, which is where one
/// can be had without writing its bytes.
fn address(index: u32) -> nix::Result<Option<SockaddrStorage>> {
    let is_it = |address: &SockaddrStorage| {
        address.family() == Some(AddressFamily::Packet)
            && address.as_link_addr().is_some_and(|link| link.ifindex() == index as usize)
    };
    Ok(getifaddrs()?.filter_map(|interface| interface.address).find(is_it))
}
