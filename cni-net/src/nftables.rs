//! The socket with which tables of `nf_tables` are put, read and deleted, each change whole.

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    NetfilterSubsystem,
    nftables::{
        ChainAttribute, ChainMessage, NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute,
        TableMessage,
    },
    none::ControlMessage,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use crate::{
    Netns, ReplyMarks,
    error::{Context, Operation, Result},
    reply_marks::Found,
    socket::{Conversation, Request},
};

/// A blocking socket to `nf_tables`, without `nft` or `iptables`. It speaks about the network
/// namespace it was opened in, for as long as it lives and whatever thread uses it.
#[derive(Debug)]
pub struct Nftables {
    conversation: Conversation,
}

impl Nftables {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The errno of socket(2); `EPROTONOSUPPORT`: the kernel has no nfnetlink at all.
    pub fn open() -> Result<Self> {
        Ok(Self { conversation: Conversation::open(NETLINK_NETFILTER)? })
    }

    /// Puts the table of `marks`, in the place of whatever table of that name there is, in one
    /// transaction: no packet meets none or half of it. After a second time it is the same.
    ///
    /// # Errors
    /// `EINVAL`, `EOPNOTSUPP` or `EPROTONOSUPPORT`: the kernel has no `nf_tables`. `ENOENT`: it
    /// lacks what a rule is made of, as `ct`. Nothing was changed.
    pub fn put_reply_marks(&mut self, marks: &ReplyMarks) -> Result<()> {
        let context = Context::new(Operation::PutNftTable, &marks.table);
        self.transact(whole_table(marks, context)?, End::Commit, context)
    }

    /// Whether the kernel would take the table of `marks` here: all is done as for
    /// [`Nftables::put_reply_marks`], and taken back in place of the commit
    /// (`nfnetlink_rcv_batch` in `net/netfilter/nfnetlink.c`: a batch without an end).
    ///
    /// # Errors
    /// As [`Nftables::put_reply_marks`].
    pub fn check_reply_marks(&mut self, marks: &ReplyMarks) -> Result<()> {
        let context = Context::new(Operation::CheckNftTable, &marks.table);
        self.transact(whole_table(marks, context)?, End::Abort, context)
    }

    /// In what the table of that name differs from that of `marks`, in words; `None` when it is
    /// that table.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn reply_marks_difference(&mut self, marks: &ReplyMarks) -> Result<Option<String>> {
        let context = Context::new(Operation::ReadNftTable, &marks.table);
        // Chains are listed by family; those of other tables do not count.
        let get = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
        let chains = self.dump(get, context, |message| match message {
            NfTablesMessage::NewChain(message) => Some(message.attributes),
            _ => None,
        })?;
        let table = RuleAttribute::Table(marks.table.clone());
        let get = NfTablesMessage::GetRule(RuleMessage { attributes: vec![table] });
        let rules = self.dump(get, context, |message| match message {
            NfTablesMessage::NewRule(message) => Some(message.attributes),
            _ => None,
        })?;
        Ok(marks.difference(&Found { chains, rules }))
    }

    /// Deletes a table of family inet with all that is in it. `false` when there is none.
    ///
    /// # Errors
    /// The kernel's errno; a kernel without `nf_tables` has no tables: that is `false` as well.
    pub fn delete_table(&mut self, table: &str) -> Result<bool> {
        let context = Context::new(Operation::DeleteNftTable, &table);
        let delete = NfTablesMessage::DeleteTable(named(table));
        let absent = [Errno::NOENT, Errno::INVAL, Errno::OPNOTSUPP];
        match self.transact(vec![(delete, 0)], End::Commit, context) {
            Ok(()) => Ok(true),
            Err(error) if absent.iter().any(|errno| error.is(*errno)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a transaction, and answers its first refusal.
    fn transact(
        &mut self,
        changes: Vec<(NfTablesMessage, u16)>,
        end: End,
        context: Context<'_>,
    ) -> Result<()> {
        #[cfg(feature = "fault-injection")]
        let fate = crate::fault::refuse_if_chosen(context)?;
        let last = changes.len() - 1;
        let request = |message, flags| Request { message, flags, context };
        let mut requests = vec![request(control(ControlMessage::BatchBegin), 0)];
        requests.extend(changes.into_iter().enumerate().map(|(place, (message, flags))| {
            // Kernels before 6.10 acknowledge neither begin nor end.
            let ack = if place == last { NLM_F_ACK } else { 0 };
            request(inet(message), flags | ack)
        }));
        if end == End::Commit {
            requests.push(request(control(ControlMessage::BatchEnd), 0));
        }
        self.conversation.send_all(requests).into_iter().collect::<Result<()>>()?;
        #[cfg(feature = "fault-injection")]
        crate::fault::lose_if_chosen(fate, context)?;
        Ok(())
    }

    fn dump<T>(
        &mut self,
        message: NfTablesMessage,
        context: Context<'_>,
        mut pick: impl FnMut(NfTablesMessage) -> Option<T>,
    ) -> Result<Vec<T>> {
        #[cfg(feature = "fault-injection")]
        crate::fault::refuse_if_chosen(context)?;
        self.conversation.dump(&inet(message), context, |message: NetfilterMessage| {
            match message.inner {
                NetfilterMessageInner::NfTables(message) => pick(message),
                _ => None,
            }
        })
    }
}

impl Netns {
    /// Opens a socket to `nf_tables` inside the namespace, to be used from outside.
    ///
    /// # Errors
    /// As [`Netns::run`] and [`Nftables::open`].
    pub fn nftables(&self) -> Result<Nftables> {
        self.run(Nftables::open)?
    }
}

/// How a transaction ends when nothing in it is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Abort,
}

/// The messages that make the table anew. Made first, so that there is one to delete.
fn whole_table(marks: &ReplyMarks, context: Context<'_>) -> Result<Vec<(NfTablesMessage, u16)>> {
    let chains = marks.chains().map_err(|reason| context.invalid(reason))?;
    let table = || named(&marks.table);
    let mut messages = vec![
        (NfTablesMessage::NewTable(table()), NLM_F_CREATE),
        (NfTablesMessage::DeleteTable(table()), 0),
        (NfTablesMessage::NewTable(table()), NLM_F_CREATE),
    ];
    for chain in chains {
        let mut attributes = vec![ChainAttribute::Table(marks.table.clone())];
        attributes.extend(chain.attributes());
        let message = NfTablesMessage::NewChain(ChainMessage { attributes });
        messages.push((message, NLM_F_CREATE));
        let attributes = vec![
            RuleAttribute::Table(marks.table.clone()),
            RuleAttribute::Chain(chain.name.to_owned()),
            RuleAttribute::Expressions(chain.rule.into_iter().map(Into::into).collect()),
        ];
        let message = NfTablesMessage::NewRule(RuleMessage { attributes });
        messages.push((message, NLM_F_CREATE | NLM_F_APPEND));
    }
    Ok(messages)
}

fn named(table: &str) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] }
}

fn inet(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message)
}

/// A begin or an end; it names the subsystem whose transaction it is.
fn control(message: ControlMessage) -> NetfilterMessage {
    let subsystem = u8::from(NetfilterSubsystem::NfTables).into();
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, subsystem);
    NetfilterMessage::new(header, message)
}
