//! `ipamctl get`: what is stored, as lists.

use std::io::Write;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::table::Format;
use crate::{Command, ips, pin, pools, reservations};

#[derive(Debug, Subcommand)]
pub(crate) enum Get {
    /// The pools, and how many of their addresses are held.
    #[command(visible_alias = "pool")]
    Pools(Listing),
    /// The held addresses, and who holds them.
    #[command(visible_alias = "ip")]
    Ips {
        #[command(flatten)]
        listing: Listing,

        #[command(flatten)]
        filter: ips::Filter,
    },
    /// The addresses that no pool hands out, those that the cloud does not give any more among them.
    Reserved(ShowAll),
    /// The addresses that are kept for one pod each, and who holds them.
    #[command(visible_alias = "pin")]
    Pins(ShowAll),
}

#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// Only these pools.
    #[arg(value_name = "POOL")]
    names: Vec<String>,

    /// Show it again whenever something changes.
    #[arg(short, long)]
    watch: bool,

    /// The form of the answer; a table when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowAll {
    /// The form of the answer; a table when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

pub(crate) fn run(command: &Command, get: &Get, out: &mut dyn Write) -> Result<()> {
    match get {
        Get::Pools(listing) => command.draw(listing.watch, out, |inventory, out| {
            pools::show(&inventory.only(&listing.names)?, listing.output, out)
        }),
        Get::Ips { listing, filter } => command.draw(listing.watch, out, |inventory, out| {
            ips::show(&inventory.only(&listing.names)?, filter, listing.output, out)
        }),
        Get::Reserved(show) => reservations::show(&command.inventory()?, show.output, out),
        Get::Pins(show) => pin::show(&command.inventory()?, show.output, out),
    }
}
