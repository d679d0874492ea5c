//! A rule that says which routing table is asked for a packet.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};
use rustix::io::Errno;

use crate::{
    Family, Mark, Netlink,
    error::{Context, Operation, Result},
};

/// A rule that leads to a table, for packets that have all that it names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Whose packets.
    pub family: Family,
    /// Its preference: the smaller is asked first.
    pub priority: u32,
    /// Where the packet comes from; `None` from anywhere. Host bits must be 0.
    pub from: Option<IpNet>,
    /// Where it goes; `None` anywhere. Host bits must be 0.
    pub to: Option<IpNet>,
    /// Its mark; `None` whatever it is.
    pub mark: Option<Mark>,
    /// The table that is asked. A destination that it does not have is looked for by the rules
    /// that follow.
    pub table: u32,
    /// Who made it (`FRA_PROTOCOL`, numbers as in rtnetlink(7) for routes): for its maker to know
    /// it by. `None` says nothing.
    pub protocol: Option<u8>,
}

impl Rule {
    /// The rule for all packets of a family.
    pub fn new(family: Family, priority: u32, table: u32) -> Self {
        Self { family, priority, from: None, to: None, mark: None, table, protocol: None }
    }

    fn message(&self, context: Context<'_>) -> Result<RuleMessage> {
        let mut message = RuleMessage::default();
        message.header.family = self.family.into();
        message.header.action = RuleAction::ToTable;
        let of_family = |net: &IpNet| Family::of(net.addr()) == self.family;
        if !self.from.iter().chain(&self.to).all(of_family) {
            return Err(context.invalid("its addresses are of another family than the rule"));
        }
        if let Some(from) = self.from {
            message.header.src_len = from.prefix_len();
            message.attributes.push(RuleAttribute::Source(from.addr()));
        }
        if let Some(to) = self.to {
            message.header.dst_len = to.prefix_len();
            message.attributes.push(RuleAttribute::Destination(to.addr()));
        }
        if let Some(Mark { value, mask }) = self.mark {
            message.attributes.push(RuleAttribute::FwMark(value));
            message.attributes.push(RuleAttribute::FwMask(mask));
        }
        message.attributes.push(RuleAttribute::Priority(self.priority));
        message.attributes.push(RuleAttribute::Table(self.table));
        message.attributes.extend(self.protocol.map(|it| RuleAttribute::Protocol(it.into())));
        Ok(message)
    }

    /// The rule of a message; `None` for one that says more than this type can.
    fn read(message: &RuleMessage) -> Option<Self> {
        let header = &message.header;
        let plain = header.action == RuleAction::ToTable
            && header.tos == 0
            && !header.flags.contains(RuleFlags::Invert);
        if !plain {
            return None;
        }
        let mut rule = Self::new(Family::read(header.family)?, 0, header.table.into());
        let (mut value, mut mask) = (None, None);
        let net = |address: &IpAddr, bits| IpNet::new(*address, bits).ok();
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Source(address) => rule.from = net(address, header.src_len),
                RuleAttribute::Destination(address) => rule.to = net(address, header.dst_len),
                RuleAttribute::FwMark(found) => value = Some(*found),
                RuleAttribute::FwMask(found) => mask = Some(*found),
                RuleAttribute::Priority(found) => rule.priority = *found,
                RuleAttribute::Table(found) => rule.table = *found,
                RuleAttribute::Protocol(found) => {
                    rule.protocol = Some(u8::from(*found)).filter(|protocol| *protocol != 0);
                }
                // Always there, and -1 where it is off.
                RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::Other(_) => {}
                _ => return None,
            }
        }
        rule.mark = mask.map(|mask| Mark { value: value.unwrap_or(0), mask });
        Some(rule)
    }
}

impl fmt::Display for Rule {
    /// As `ip rule` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, priority, from, to, mark, table, protocol: _ } = self;
        write!(f, "{family} {priority}: from ")?;
        match from {
            Some(from) => write!(f, "{from}")?,
            None => f.write_str("all")?,
        }
        to.map_or(Ok(()), |to| write!(f, " to {to}"))?;
        mark.map_or(Ok(()), |mark| write!(f, " fwmark {mark}"))?;
        write!(f, " lookup {table}")
    }
}

impl Netlink {
    /// Adds a rule, and answers whether it is new: `false` when it is there already. One that does
    /// the same for another maker does not count (`rule_exists` in `net/core/fib_rules.c`).
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid): its addresses are of the other family.
    /// `EAFNOSUPPORT`: the kernel runs without that family.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<bool> {
        let context = Context::new(Operation::AddRule, rule);
        let message = RouteNetlinkMessage::NewRule(rule.message(context)?);
        match self.change(message, NLM_F_CREATE | NLM_F_EXCL, context) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a rule. `false` when there is none, which leaves nothing to do.
    ///
    /// The kernel takes what the rule leaves open to be anything (`rule_find` in
    /// `net/core/fib_rules.c`), and deletes the first that fits: without `mark` it may be one with
    /// a mark. So give a rule a priority that others do not have, and a protocol.
    ///
    /// # Errors
    /// As [`Netlink::add_rule`].
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<bool> {
        let context = Context::new(Operation::DeleteRule, rule);
        let message = RouteNetlinkMessage::DelRule(rule.message(context)?);
        match self.change(message, 0, context) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The rules of both families that lead to a table, in the order in which the kernel asks them.
    /// One that says more than [`Rule`] can, as by `iif`, is left out: it is nobody's who makes
    /// them here.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn rules(&mut self) -> Result<Vec<Rule>> {
        let context = Context::new(Operation::ListRules, &"the namespace");
        let message = RouteNetlinkMessage::GetRule(RuleMessage::default());
        self.dump(&message, context, |message| match message {
            RouteNetlinkMessage::NewRule(message) => Rule::read(&message),
            _ => None,
        })
    }
}
