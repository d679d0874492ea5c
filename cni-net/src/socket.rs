//! A conversation with the kernel's rtnetlink: one request, its answer, its errno.

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NlasIterator, parse_string,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

use crate::error::{Context, Operation, Result};

/// A blocking rtnetlink socket. It speaks about the network namespace it was opened in, for as
/// long as it lives and whatever thread uses it.
///
/// Every method is one request and its answer: two system calls, more only for a dump that does
/// not fit one datagram.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The errno of socket(2): the process has no file descriptor left, or its sandbox forbids
    /// `AF_NETLINK`.
    pub fn open() -> Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE).map_err(|error| {
            Context::new(Operation::OpenSocket, &"the current namespace").io(&error)
        })?;
        // Each of the three only betters what an answer tells (a text beside the errno, no echo of
        // the request, dumps filtered by the kernel): a kernel too old for one serves all the same,
        // and the readers below do not count on them.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Asks for a change and waits until it is made.
    pub(crate) fn change(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        context: Context<'_>,
    ) -> Result<()> {
        #[cfg(feature = "fault-injection")]
        let fate = refuse_if_chosen(context)?;
        self.send(message, flags | NLM_F_ACK, context)?;
        self.answer(Until::Ack, context, |_| ())?;
        #[cfg(feature = "fault-injection")]
        lose_if_chosen(fate, context)?;
        Ok(())
    }

    /// Asks for one object.
    pub(crate) fn one(
        &mut self,
        message: RouteNetlinkMessage,
        context: Context<'_>,
    ) -> Result<RouteNetlinkMessage> {
        #[cfg(feature = "fault-injection")]
        refuse_if_chosen(context)?;
        self.send(message, 0, context)?;
        let mut found = None;
        self.answer(Until::Message, context, |message| found = Some(message))?;
        found.ok_or_else(|| context.protocol("an acknowledgement and no object"))
    }

    /// Asks for every object that `pick` wants. The list is of one moment: a dump during which
    /// the kernel's table changed is asked for again.
    pub(crate) fn dump<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        context: Context<'_>,
        mut pick: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>> {
        #[cfg(feature = "fault-injection")]
        refuse_if_chosen(context)?;
        for _ in 0..DUMP_TRIES {
            let mut all = Vec::new();
            self.send(message.clone(), NLM_F_DUMP, context)?;
            if self.answer(Until::Done, context, |message| all.extend(pick(message)))? {
                return Ok(all);
            }
        }
        Err(context
            .protocol(format!("the table changed during each of {DUMP_TRIES} dumps: try again")))
    }

    fn send(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        context: Context<'_>,
    ) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(&bytes, &kernel, 0).map_err(|error| context.io(&error))?;
        Ok(())
    }

    /// Reads to the end of the answer, so that the socket is ready for the next request even when
    /// this one fails. `false` when the kernel says that a dump is not of one moment.
    fn answer(
        &mut self,
        until: Until,
        context: Context<'_>,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<bool> {
        let mut consistent = true;
        let mut garbled = None;
        loop {
            self.receive(context)?;
            let mut rest = self.buffer.as_slice();
            while !rest.is_empty() {
                let frame = NetlinkBuffer::new_checked(rest)
                    .map_err(|error| context.protocol(error.to_string()))?;
                let length = frame.length() as usize;
                let bytes = &rest[..length];
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if frame.sequence_number() != self.sequence {
                    continue;
                }
                consistent &= frame.flags() & NLM_F_DUMP_INTR == 0;
                let end = match frame.message_type() {
                    NLMSG_ERROR => Some(error_code(frame.payload(), frame.flags())),
                    NLMSG_DONE => Some(done_code(frame.payload(), frame.flags())),
                    NLMSG_NOOP => None,
                    _ => {
                        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
                            Ok(message) => {
                                if let NetlinkPayload::InnerMessage(message) = message.payload {
                                    each(message);
                                }
                            }
                            Err(error) => garbled = Some(error.to_string()),
                        }
                        (until == Until::Message).then_some((0, None))
                    }
                };
                match (end, garbled.take()) {
                    (None, text) => garbled = text,
                    (Some((0, _)), None) => return Ok(consistent),
                    (Some((0, _)), Some(text)) => return Err(context.protocol(text)),
                    (Some((errno, text)), _) => return Err(context.refused(errno, text)),
                }
            }
        }
    }

    /// The next datagram of the kernel, whole, in `self.buffer`.
    fn receive(&mut self, context: Context<'_>) -> Result<()> {
        loop {
            self.buffer.clear();
            // rtnetlink answers within the system call that asks (a dump's next part: within the
            // one that fetched the last), so that an empty queue is an answer that was lost, never
            // one to wait for.
            match self.socket.recv_from(&mut self.buffer, MSG_TRUNC | MSG_DONTWAIT) {
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => {
                    return Err(context.protocol(format!(
                        "a datagram of {length} bytes, above {} bytes",
                        self.buffer.len()
                    )));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
                Err(error) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {
                    return Err(context.protocol("the kernel gave no answer"));
                }
                Err(error) => return Err(context.io(&error)),
            }
        }
    }
}

#[cfg(feature = "fault-injection")]
pub(crate) fn refuse_if_chosen(context: Context<'_>) -> Result<crate::fault::Fate> {
    match crate::fault::next() {
        crate::fault::Fate::Refused => Err(context.errno(crate::fault::ERRNO)),
        fate => Ok(fate),
    }
}

#[cfg(feature = "fault-injection")]
pub(crate) fn lose_if_chosen(fate: crate::fault::Fate, context: Context<'_>) -> Result<()> {
    match fate {
        crate::fault::Fate::AnswerLost => Err(context.protocol("the answer was lost")),
        _ => Ok(()),
    }
}

/// What ends an answer, besides an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Ack,
    Message,
    Done,
}

/// The largest datagram the kernel makes of a dump (`netlink_recvmsg` in
/// `net/netlink/af_netlink.c`), given a reader whose buffer is that large.
const DATAGRAM_BYTES: usize = 32 * 1024;
const DUMP_TRIES: u32 = 8;
/// `include/linux/socket.h`: the same on every architecture.
const MSG_TRUNC: i32 = 0x20;
const MSG_DONTWAIT: i32 = 0x40;
/// `enum nlmsgerr_attrs` in `include/uapi/linux/netlink.h`.
const NLMSGERR_ATTR_MSG: u16 = 1;
const HEADER_BYTES: usize = 16;

/// Errno (0: an acknowledgement) and the kernel's text of an `NLMSG_ERROR`.
fn error_code(payload: &[u8], flags: u16) -> (i32, Option<String>) {
    let Ok(error) = ErrorBuffer::new_checked(payload) else {
        return (Errno::PROTO.raw_os_error(), None);
    };
    let code = error.code().map_or(0, |code| code.get().saturating_neg());
    // After the code comes the refused request: its header alone when capped, else all of it.
    let request = error.payload();
    let echoed = if flags & NLM_F_CAPPED != 0 {
        HEADER_BYTES
    } else {
        NetlinkBuffer::new_checked(request)
            .map_or(request.len(), |frame| (frame.length() as usize).next_multiple_of(4))
    };
    (code, extended_text(request.get(echoed..).unwrap_or_default(), flags))
}

/// The same of an `NLMSG_DONE`, with which a dump ends well or badly.
fn done_code(payload: &[u8], flags: u16) -> (i32, Option<String>) {
    let Ok(done) = DoneBuffer::new_checked(payload) else {
        return (0, None);
    };
    (done.code().saturating_neg().max(0), extended_text(done.extended_ack(), flags))
}

fn extended_text(attributes: &[u8], flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .and_then(|attribute| parse_string(attribute.value()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, text: &str) -> Vec<u8> {
        let length = u16::try_from(4 + text.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(text.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn request(length: u32) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.resize(length as usize, 0);
        bytes
    }

    #[test]
    fn the_text_follows_a_capped_and_an_echoed_request() {
        let text = attribute(NLMSGERR_ATTR_MSG, "Unknown device type\0");
        let code = (-95i32).to_ne_bytes().to_vec();
        let expected = (95, Some("Unknown device type".to_owned()));
        let capped = [code.clone(), request(16), text.clone()].concat();
        assert_eq!(error_code(&capped, NLM_F_ACK_TLVS | NLM_F_CAPPED), expected);
        let echoed = [code.clone(), request(60), text.clone()].concat();
        assert_eq!(error_code(&echoed, NLM_F_ACK_TLVS), expected);
        assert_eq!(error_code(&capped, NLM_F_CAPPED), (95, None));
        assert_eq!(done_code(&[code, text].concat(), NLM_F_ACK_TLVS), expected);
    }

    #[test]
    fn short_and_odd_payloads_do_not_panic() {
        assert_eq!(error_code(&[1, 2], 0), (Errno::PROTO.raw_os_error(), None));
        assert_eq!(error_code(&[0; 4], NLM_F_ACK_TLVS), (0, None));
        assert_eq!(done_code(&[], NLM_F_ACK_TLVS), (0, None));
        let min = i32::MIN.to_ne_bytes();
        assert_eq!(error_code(&min, NLM_F_ACK_TLVS | NLM_F_CAPPED), (i32::MAX, None));
        let odd = [min.to_vec(), request(16), vec![255, 255, 1, 0, 7]].concat();
        assert_eq!(error_code(&odd, NLM_F_ACK_TLVS | NLM_F_CAPPED), (i32::MAX, None));
    }
}
