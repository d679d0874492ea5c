//! What a metadata service says about one NIC.

use std::net::IpAddr;
use std::str::FromStr;

use cni_net::MacAddr;
use ipnet::IpNet;

use crate::error::{Error, shortened};
use crate::list;
use crate::session::{Deadline, Session};
use crate::transport::Transport;

/// The folder of the NICs, which holds one folder for each.
pub(crate) const NICS: &str = "network/interfaces/macs/";

/// The longest name of a NIC. Both clouds' have some 20 bytes.
const LONGEST_ID: usize = 128;

/// The folder of one NIC.
#[derive(Debug)]
pub(crate) struct Folder<'a, T> {
    pub(crate) session: &'a Session<T>,
    pub(crate) mac: MacAddr,
    /// The file with the cloud's name of the NIC, which every NIC has.
    pub(crate) id: &'static str,
    pub(crate) deadline: Deadline,
}

impl<T: Transport> Folder<'_, T> {
    fn path(&self, name: &str) -> String {
        format!("{NICS}{}/{name}", self.mac)
    }

    /// The text of a file that has to be there.
    pub(crate) fn text(&self, name: &str, because: &str) -> Result<String, Error> {
        let path = self.path(name);
        self.session.text(&path, self.deadline)?.ok_or_else(|| Error::Missing {
            url: self.session.url(&path),
            because: because.to_owned(),
        })
    }

    /// The value of a file that has to be there.
    pub(crate) fn value<V: FromStr>(
        &self,
        name: &str,
        what: &str,
        because: &str,
    ) -> Result<V, Error> {
        let text = self.text(name, because)?;
        list::value(&self.session.url(&self.path(name)), &text, what)
    }

    /// The list of a file; `None` if it is not there.
    pub(crate) fn list<V: FromStr + Ord + Clone>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<Option<Vec<V>>, Error> {
        let path = self.path(name);
        let text = self.session.text(&path, self.deadline)?;
        text.map(|text| list::values(&self.session.url(&path), &text, what)).transpose()
    }

    /// The cloud's name of the NIC. It is shown to people: what is not visible ASCII would drive
    /// their terminals.
    pub(crate) fn id(&self) -> Result<String, Error> {
        let text = self.text(self.id, "every NIC has one")?;
        let id = text.trim();
        let is_name =
            (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        if is_name {
            return Ok(id.to_owned());
        }
        Err(Error::Format {
            url: self.session.url(&self.path(self.id)),
            value: shortened(id),
            rule: format!("the name of a NIC has 1 to {LONGEST_ID} visible characters"),
        })
    }

    /// The blocks of all these files, each of which may be missing.
    pub(crate) fn prefixes(&self, names: &[&str]) -> Result<Vec<IpNet>, Error> {
        let mut prefixes = Vec::new();
        for name in names {
            prefixes.extend(self.list::<IpNet>(name, "a CIDR block")?.unwrap_or_default());
        }
        Ok(prefixes)
    }

    /// Whether the address stands in the list, or in one of the blocks.
    pub(crate) fn has(
        &self,
        address: IpAddr,
        list: &str,
        prefixes: &[&str],
    ) -> Result<bool, Error> {
        let listed: Option<Vec<IpAddr>> = self.list(list, "an address")?;
        if listed.as_ref().is_some_and(|listed| listed.contains(&address)) {
            return Ok(true);
        }
        if self.prefixes(prefixes)?.iter().any(|prefix| prefix.contains(&address)) {
            return Ok(true);
        }
        // A service that does not know the NIC can deny nothing.
        if listed.is_none() {
            self.text(self.id, "the question is about this NIC")?;
        }
        Ok(false)
    }
}
