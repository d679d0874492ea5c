//! A conversation with the kernel over netlink: requests, their answers, their errnos.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;

use crate::{
    answer::{ALIGNMENT, done_code, error_code, frames},
    error::{Context, Operation, Result},
};

/// A message of one of the kernel's netlink protocols.
pub(crate) trait Message: NetlinkSerializable + NetlinkDeserializable + Clone {}

impl<T: NetlinkSerializable + NetlinkDeserializable + Clone> Message for T {}

/// A message of several that go to the kernel together.
pub(crate) struct Request<'a, M> {
    pub(crate) message: M,
    pub(crate) flags: u16,
    pub(crate) context: Context<'a>,
}

/// A blocking socket. It speaks about the network namespace it was opened in, for as long as it
/// lives and whatever thread uses it.
#[derive(Debug)]
pub(crate) struct Conversation {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Conversation {
    /// A socket of a protocol (`NETLINK_ROUTE`...) in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> Result<Self> {
        let socket = Socket::new(protocol).map_err(|error| {
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
    pub(crate) fn change<M: Message>(
        &mut self,
        message: M,
        flags: u16,
        context: Context<'_>,
    ) -> Result<()> {
        self.send(message, flags | NLM_F_ACK, context)?;
        self.answer(Until::Ack, context, |_: M| ())?;
        Ok(())
    }

    /// Asks for one object.
    pub(crate) fn one<M: Message>(&mut self, message: M, context: Context<'_>) -> Result<M> {
        self.send(message, 0, context)?;
        let mut found = None;
        self.answer(Until::Message, context, |message| found = Some(message))?;
        found.ok_or_else(|| context.protocol("an acknowledgement and no object"))
    }

    /// Asks for every object that `pick` wants. The list is of one moment: a dump during which
    /// the kernel's table changed is asked for again.
    pub(crate) fn dump<M: Message, T>(
        &mut self,
        message: &M,
        context: Context<'_>,
        mut pick: impl FnMut(M) -> Option<T>,
    ) -> Result<Vec<T>> {
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

    /// Sends all requests at once, and answers the outcome of each, in their order. The kernel goes
    /// through them one after the other and does not stop at one that it refuses.
    ///
    /// A refusal is always answered, an acknowledgement only where it is asked for by `NLM_F_ACK`
    /// (`netlink_rcv_skb` in `net/netlink/af_netlink.c`, `nfnetlink_rcv_batch` in
    /// `net/netfilter/nfnetlink.c`). The caller asks for it with the last request that gets one: by
    /// then whoever was not refused was served.
    pub(crate) fn send_all<M: Message>(
        &mut self,
        requests: Vec<Request<'_, M>>,
    ) -> Vec<Result<()>> {
        let first = self.sequence.wrapping_add(1);
        let (mut bytes, mut contexts, mut last) = (Vec::new(), Vec::new(), 0);
        for Request { message, flags, context } in requests {
            if flags & NLM_F_ACK != 0 {
                last = contexts.len();
            }
            self.append(&mut bytes, message, flags);
            contexts.push(context);
        }
        if contexts.is_empty() {
            return Vec::new();
        }
        let mut outcomes: Vec<_> = contexts.iter().map(|_| None).collect();
        let failure = match self.deliver(&bytes, contexts[last]) {
            Ok(()) => self.outcomes(first, last, &contexts, &mut outcomes).err(),
            Err(error) => Some(error),
        };
        let unanswered = |context: &Context<'_>| match &failure {
            Some(error) => Err(context.like(error)),
            None => Ok(()),
        };
        let pairs = outcomes.into_iter().zip(&contexts);
        pairs.map(|(outcome, context)| outcome.unwrap_or_else(|| unanswered(context))).collect()
    }

    /// Notes every answer until that to the request `last`.
    fn outcomes(
        &mut self,
        first: u32,
        last: usize,
        contexts: &[Context<'_>],
        outcomes: &mut [Option<Result<()>>],
    ) -> Result<()> {
        loop {
            self.receive(contexts[last])?;
            for frame in frames(&self.buffer) {
                let frame = frame.map_err(|text| contexts[last].protocol(text))?;
                let place = frame.sequence.wrapping_sub(first) as usize;
                if frame.kind != NLMSG_ERROR || place >= contexts.len() {
                    continue;
                }
                outcomes[place] = Some(match error_code(frame.payload, frame.flags) {
                    (0, _) => Ok(()),
                    (errno, text) => Err(contexts[place].refused(errno, text)),
                });
                if place == last {
                    return Ok(());
                }
            }
        }
    }

    fn send<M: Message>(&mut self, message: M, flags: u16, context: Context<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        self.append(&mut bytes, message, flags);
        self.deliver(&bytes, context)
    }

    fn append<M: Message>(&mut self, bytes: &mut Vec<u8>, message: M, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(ALIGNMENT), 0);
        message.serialize(&mut bytes[start..start + message.buffer_len()]);
    }

    fn deliver(&mut self, bytes: &[u8], context: Context<'_>) -> Result<()> {
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(bytes, &kernel, 0).map_err(|error| context.io(&error))?;
        Ok(())
    }

    /// Reads to the end of the answer, so that the socket is ready for the next request even when
    /// this one fails. `false` when the kernel says that a dump is not of one moment.
    fn answer<M: Message>(
        &mut self,
        until: Until,
        context: Context<'_>,
        mut each: impl FnMut(M),
    ) -> Result<bool> {
        let mut consistent = true;
        let mut garbled = None;
        loop {
            self.receive(context)?;
            for frame in frames(&self.buffer) {
                let frame = frame.map_err(|text| context.protocol(text))?;
                if frame.sequence != self.sequence {
                    continue;
                }
                consistent &= frame.flags & NLM_F_DUMP_INTR == 0;
                let end = match frame.kind {
                    NLMSG_ERROR => Some(error_code(frame.payload, frame.flags)),
                    NLMSG_DONE => Some(done_code(frame.payload, frame.flags)),
                    NLMSG_NOOP => None,
                    _ => {
                        match NetlinkMessage::<M>::deserialize(frame.whole) {
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
            // Netlink answers within the system call that asks (a dump's next part: within the
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
