//! The rules that send a reply back by the interface by which its connection came.

use std::fmt;

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, ChainAttribute, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook,
    InetHookNumber, ListAttribute, Meta, MetaKey, Operator, Register, RuleAttribute,
};

use crate::Mark;

/// A table of family inet that notes a mark on each connection that comes in by an interface, and
/// puts it on every packet that this node sends for such a connection, from where a
/// [`Rule`](crate::Rule) leads it to a table of its own. Other bits of either mark stay.
///
/// A packet's mark changes its way only in a chain of type `route`: the kernel then asks for the
/// route again (`nf_route_table_inet` in `net/netfilter/nft_chain_route.c`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyMarks {
    /// The table's name; of family inet. Whatever it has is replaced, so it must be nobody else's.
    pub table: String,
    /// By which interface the connections come, as `veth0`. It need not be there yet.
    pub interface: String,
    /// On both connection and packet.
    pub mark: Mark,
}

/// A chain with its only rule.
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    kind: &'static str,
    hook: InetHookNumber,
    pub(crate) rule: Vec<Expressions>,
}

/// What the kernel has: the chains of the family, and the rules of the table.
pub(crate) struct Found {
    pub(crate) chains: Vec<Vec<ChainAttribute>>,
    pub(crate) rules: Vec<Vec<RuleAttribute>>,
}

impl ReplyMarks {
    /// The chains, or what is wrong with the names and the mark.
    pub(crate) fn chains(&self) -> Result<[Chain; 2], &'static str> {
        let Mark { value, mask } = self.mark;
        if value == 0 || value & !mask != 0 {
            return Err("a mark needs a value that is not 0, and a mask with all of its bits");
        }
        let mut interface = self.interface.clone().into_bytes();
        if interface.is_empty() || interface.len() >= IFNAMSIZ || interface.contains(&0) {
            return Err("an interface's name has 1 to 15 bytes");
        }
        interface.resize(IFNAMSIZ, 0);
        Ok([
            Chain {
                name: "prerouting",
                kind: "filter",
                hook: InetHookNumber::PreRouting,
                rule: vec![
                    load_meta(MetaKey::Iifname),
                    compare(Operator::Equal, interface),
                    load_ct(NFT_CT_STATE),
                    and_xor(NEW, 0),
                    compare(Operator::NotEqual, bytes(0)),
                    load_ct(NFT_CT_MARK),
                    and_xor(!mask, value),
                    ct(NFT_CT_MARK, NFTA_CT_SREG),
                ],
            },
            Chain {
                name: "output",
                kind: "route",
                hook: InetHookNumber::LocalOut,
                rule: vec![
                    load_ct(NFT_CT_MARK),
                    and_xor(mask, 0),
                    compare(Operator::Equal, bytes(value)),
                    load_meta(MetaKey::Mark),
                    and_xor(!mask, value),
                    Expressions::Meta(vec![
                        Meta::Key(MetaKey::Mark),
                        Meta::SourceRegister(REGISTER),
                    ]),
                ],
            },
        ])
    }

    /// The first difference of what the kernel has, in words.
    pub(crate) fn difference(&self, found: &Found) -> Option<String> {
        let expected = match self.chains() {
            Ok(chains) => chains,
            Err(reason) => return Some(reason.to_owned()),
        };
        let table = &self.table;
        let of_table = ChainAttribute::Table(table.clone());
        let chains: Vec<_> =
            found.chains.iter().filter(|attributes| attributes.contains(&of_table)).collect();
        for chain in &expected {
            let name = chain.name;
            let named = ChainAttribute::Name(name.to_owned());
            let Some(attributes) = chains.iter().find(|attributes| attributes.contains(&named))
            else {
                return Some(format!("table inet {table} has no chain {name}"));
            };
            if !chain.is_hooked_as(attributes) {
                return Some(format!("chain {name} of table inet {table} has another hook"));
            }
            let of_chain = RuleAttribute::Chain(name.to_owned());
            let rules: Vec<_> =
                found.rules.iter().filter(|attributes| attributes.contains(&of_chain)).collect();
            if !matches!(&rules[..], [rule] if chain.has_rule(rule)) {
                return Some(format!(
                    "chain {name} of table inet {table} has other rules ({})",
                    rules.len()
                ));
            }
        }
        let more = chains.len() - expected.len();
        (more > 0).then(|| format!("table inet {table} has {more} more chains"))
    }
}

impl Chain {
    /// The chain as a message describes it, but for the table.
    pub(crate) fn attributes(&self) -> Vec<ChainAttribute> {
        vec![
            ChainAttribute::Name(self.name.to_owned()),
            ChainAttribute::Hook(vec![
                Hook::Number(self.hook.into()),
                Hook::Priority(PRIORITY_MANGLE.cast_unsigned()),
            ]),
            ChainAttribute::Policy(NF_ACCEPT),
            ChainAttribute::Type(self.kind.to_owned()),
        ]
    }

    fn is_hooked_as(&self, found: &[ChainAttribute]) -> bool {
        self.attributes().iter().all(|attribute| {
            match attribute {
            ChainAttribute::Hook(ours) => found.iter().any(|attribute| {
                matches!(attribute, ChainAttribute::Hook(theirs) if includes(theirs, ours))
            }),
            attribute => found.contains(attribute),
        }
        })
    }

    fn has_rule(&self, found: &[RuleAttribute]) -> bool {
        let expressions = found.iter().find_map(|attribute| match attribute {
            RuleAttribute::Expressions(all) => Some(all),
            _ => None,
        });
        let found: Vec<_> = expressions.into_iter().flatten().filter_map(expression).collect();
        found.len() == self.rule.len() && self.rule.iter().zip(found).all(|(ours, it)| is(ours, it))
    }
}

impl fmt::Display for ReplyMarks {
    /// As a script for `nft -f`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, interface, mark: Mark { value, mask } } = self;
        let set = if value == mask {
            format!("or {value:#x}")
        } else {
            format!("and {:#x} xor {value:#x}", !mask)
        };
        writeln!(f, "table inet {table} {{")?;
        writeln!(f, "\tchain prerouting {{")?;
        writeln!(f, "\t\ttype filter hook prerouting priority mangle;")?;
        writeln!(f, "\t\tiifname \"{interface}\" ct state new ct mark set ct mark {set}")?;
        writeln!(f, "\t}}")?;
        writeln!(f, "\tchain output {{")?;
        writeln!(f, "\t\ttype route hook output priority mangle;")?;
        writeln!(f, "\t\tct mark and {mask:#x} == {value:#x} meta mark set meta mark {set}")?;
        writeln!(f, "\t}}")?;
        writeln!(f, "}}")
    }
}

/// Whether an expression that the kernel shows has all that we said; it tells more than that.
fn is(ours: &Expressions, theirs: &Expressions) -> bool {
    match (ours, theirs) {
        (Expressions::Meta(ours), Expressions::Meta(theirs)) => includes(theirs, ours),
        (Expressions::Cmp(ours), Expressions::Cmp(theirs)) => includes(theirs, ours),
        (Expressions::Bitwise(ours), Expressions::Bitwise(theirs)) => includes(theirs, ours),
        (
            Expressions::Other { expression_type: our_type, attributes: ours },
            Expressions::Other { expression_type: their_type, attributes: theirs },
        ) => our_type == their_type && includes(theirs, ours),
        _ => false,
    }
}

fn includes<T: PartialEq>(all: &[T], some: &[T]) -> bool {
    some.iter().all(|one| all.contains(one))
}

fn expression(element: &ListAttribute<ExpressionAttribute>) -> Option<&Expressions> {
    let ListAttribute::Element(attributes) = element else {
        return None;
    };
    attributes.iter().find_map(|attribute| match attribute {
        ExpressionAttribute::Data(expression) => Some(expression),
        _ => None,
    })
}

/// Every value goes through this register.
const REGISTER: Register = Register::Reg1;

fn load_meta(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(REGISTER)])
}

fn load_ct(key: u32) -> Expressions {
    ct(key, NFTA_CT_DREG)
}

/// What the message crate has no words for yet: a key of connection tracking, from or to the
/// register.
fn ct(key: u32, direction: u16) -> Expressions {
    let number = |kind, number: u32| DefaultNla::new(kind, number.to_be_bytes().into());
    Expressions::Other {
        expression_type: "ct".to_owned(),
        attributes: vec![number(NFTA_CT_KEY, key), number(direction, REGISTER.into())],
    }
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(REGISTER),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

fn and_xor(mask: u32, xor: u32) -> Expressions {
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(REGISTER),
        Bitwise::DestinationRegister(REGISTER),
        Bitwise::Length(MARK_BYTES),
        Bitwise::Mask(DataAttribute::Value(bytes(mask))),
        Bitwise::Xor(DataAttribute::Value(bytes(xor))),
    ])
}

/// Attributes are big-endian, but what is in a register is as the kernel has it in memory.
fn bytes(value: u32) -> Vec<u8> {
    value.to_ne_bytes().into()
}

/// `include/uapi/linux/netfilter/nf_tables.h`: `enum nft_ct_attributes`.
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_SREG: u16 = 4;
/// `enum nft_ct_keys`.
const NFT_CT_STATE: u32 = 0;
const NFT_CT_MARK: u32 = 3;
/// `NF_CT_STATE_BIT(IP_CT_NEW)`, `include/uapi/linux/netfilter/nf_conntrack_common.h`.
const NEW: u32 = 1 << 3;
/// `NF_IP_PRI_MANGLE`, `include/uapi/linux/netfilter_ipv4.h`; after conntrack (-200).
const PRIORITY_MANGLE: i32 = -150;
/// `include/uapi/linux/netfilter.h`.
const NF_ACCEPT: u32 = 1;
/// How long a mark and a connection's state are.
const MARK_BYTES: u32 = 4;
/// `include/uapi/linux/if.h`; with the NUL.
const IFNAMSIZ: usize = 16;
