//! Where a plan is carried out: the node's namespace, and the pod's if it is still there.

use cni_net::{Error, Link, Netlink, Netns, Operation};
use rustix::io::Errno;

use crate::step::Place;

/// Sockets in both namespaces.
#[derive(Debug)]
pub struct Site<'a> {
    node: Netlink,
    pod: Option<Pod<'a>>,
}

#[derive(Debug)]
struct Pod<'a> {
    netns: &'a Netns,
    netlink: Netlink,
}

impl<'a> Site<'a> {
    /// The node is the calling thread's namespace; `pod` is `None` if there is none any more.
    ///
    /// # Errors
    ///
    /// The kernel's, as [`Netns::netlink`].
    pub fn open(pod: Option<&'a Netns>) -> Result<Self, Error> {
        let pod = pod.map(|netns| Ok::<_, Error>(Pod { netns, netlink: netns.netlink()? }));
        Ok(Self { node: Netlink::open()?, pod: pod.transpose()? })
    }

    /// The socket in a place; `None` for a pod that is gone.
    pub(crate) fn netlink(&mut self, place: Place) -> Option<&mut Netlink> {
        match place {
            Place::Node => Some(&mut self.node),
            Place::Pod => self.pod.as_mut().map(|pod| &mut pod.netlink),
        }
    }

    /// The pod's namespace, if it is there.
    pub(crate) fn pod(&self) -> Option<&'a Netns> {
        self.pod.as_ref().map(|pod| pod.netns)
    }

    /// Runs `f` where `/proc/sys/net` is that of the place; `None` for a pod that is gone.
    pub(crate) fn within<T: Send>(
        &self,
        place: Place,
        f: impl FnOnce() -> T + Send,
    ) -> Result<Option<T>, Error> {
        match (place, self.pod()) {
            (Place::Node, _) => Ok(Some(f())),
            (Place::Pod, Some(pod)) => pod.run(f).map(Some),
            (Place::Pod, None) => Ok(None),
        }
    }

    /// The link of this name.
    pub(crate) fn link(&mut self, place: Place, name: &str) -> Result<Option<Link>, Error> {
        self.netlink(place).map_or(Ok(None), |netlink| netlink.link(name))
    }

    /// The number of the link of this name, which has to be there.
    pub(crate) fn index(&mut self, place: Place, name: &str) -> Result<u32, Error> {
        let missing = || Error::Refused {
            operation: Operation::FindLink,
            object: name.to_owned(),
            errno: Errno::NODEV.raw_os_error(),
            kernel_text: None,
        };
        self.link(place, name)?.map(|link| link.index).ok_or_else(missing)
    }
}
