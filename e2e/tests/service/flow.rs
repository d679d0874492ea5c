//! A flow and what is to be seen of it at both ends, and between.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::peer::{self, Heard, Protocol};
use e2e::reference_script::VETH;
use e2e::{Meter, Namespace};

use crate::scene::{INTERFACES, Wired};

/// For what works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// For what does not: it would long since have worked, and a machine that is late only makes it
/// seem to fail once more.
pub(crate) const IMPATIENCE: Duration = Duration::from_millis(700);

/// Who asks whom, and as whom the server must see the client. The answer must come from where the
/// question went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) client: &'a Namespace,
    pub(crate) server: SocketAddr,
    pub(crate) peer: IpAddr,
}

impl Flow<'_> {
    pub(crate) fn works(&self) -> Result<()> {
        let heard = peer::ask(self.client, self.protocol, self.server, PATIENCE)?;
        let expected = Heard { peer: self.peer, from: self.server };
        ensure!(heard == expected, "{heard:?}, not {expected:?}: {}", self.client.name());
        Ok(())
    }

    /// That it does not work where something is left out.
    pub(crate) fn breaks(&self, what: &str) -> Result<()> {
        let heard = peer::ask(self.client, self.protocol, self.server, IMPATIENCE);
        match heard {
            Ok(heard) => {
                let expected = Heard { peer: self.peer, from: self.server };
                ensure!(heard != expected, "without {what} it works all the same: {heard:?}");
                eprintln!("without {what}: {heard:?}, not {expected:?}");
            }
            Err(error) => eprintln!("without {what}: {error:#}"),
        }
        Ok(())
    }
}

/// That none of these works where something is left out, all at once.
pub(crate) fn all_break(flows: &[Flow<'_>], what: &str) -> Result<()> {
    thread::scope(|scope| {
        let asked: Vec<_> =
            flows.iter().map(|flow| scope.spawn(move || flow.breaks(what))).collect();
        let broken = asked.into_iter().map(|asked| asked.join().expect("no flow panics"));
        broken.collect()
    })
}

/// Which of a pod's links a server's answers, or a client's questions, leave by.
#[derive(Debug)]
pub(crate) struct Way<'pod> {
    meter: Meter<'pod>,
}

impl<'pod> Way<'pod> {
    /// Of what a server in the pod answers from this port.
    pub(crate) fn of_answers(pod: &'pod Wired, protocol: Protocol, port: u16) -> Result<Self> {
        Self::of(pod, &format!("{} sport {port}", protocol.name()))
    }

    /// Of what a client in the pod asks this port.
    pub(crate) fn of_questions(pod: &'pod Wired, protocol: Protocol, port: u16) -> Result<Self> {
        Self::of(pod, &format!("{} dport {port}", protocol.name()))
    }

    fn of(pod: &'pod Wired, expression: &str) -> Result<Self> {
        let meter = Meter::start(&pod.pod, &[VETH, INTERFACES[0]], expression)?;
        Ok(Self { meter })
    }

    /// Whether something left by the veth, and something by the NIC.
    pub(crate) fn taken(&self) -> Result<(bool, bool)> {
        let passed = self.meter.passed()?;
        let sent = |link: &str| passed.get(link).is_some_and(|passed| passed.sent > 0);
        Ok((sent(VETH), sent(INTERFACES[0])))
    }

    pub(crate) fn only_by_the_veth(&self) -> Result<()> {
        let taken = self.taken()?;
        ensure!(taken == (true, false), "by the veth, by the NIC: {taken:?}");
        Ok(())
    }

    pub(crate) fn only_by_the_nic(&self) -> Result<()> {
        let taken = self.taken()?;
        ensure!(taken == (false, true), "by the veth, by the NIC: {taken:?}");
        Ok(())
    }
}
