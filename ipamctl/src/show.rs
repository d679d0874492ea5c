//! `ipamctl show`: one thing, and all that is known of it.

pub(crate) mod ip;
pub(crate) mod pool;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Show {
    /// The whole story of an address: its pool, its holder and whether that lives, until when it
    /// rests, and who had it before.
    Ip(ip::ShowIp),
    /// A pool, how its addresses divide, and a map of them.
    Pool(pool::ShowPool),
}
