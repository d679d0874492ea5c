//! The pod's link: made, and taken away.

use cni_net::{Error, Netlink, NewIpvlan, Operation, Undo};

use crate::apply::Site;

/// The kind of link that this plugin makes and takes away, as the kernel names it.
pub(crate) const IPVLAN: &str = "ipvlan";

const EBUSY: i32 = 16;
const EEXIST: i32 = 17;

/// Makes the link, and answers its number: that of `new` if neither namespace has it.
///
/// # Errors
/// The kernel's. `undo` takes away what was made, or may have been.
pub(crate) fn create<'a>(
    new: NewIpvlan<'a>,
    name: &str,
    site: &mut Site<'a>,
    undo: &mut Undo<'a>,
) -> Result<u32, Error> {
    let (pod, Some(index)) = (site.pod, new.index) else {
        return create_and_rename(new, name, site, undo);
    };
    match site.outside.add_ipvlan(&NewIpvlan { name, ..new }) {
        Ok(()) => {
            undo.push(format!("create {name}"), move || {
                pod.netlink()?.delete_link(index).map(drop)
            });
            Ok(index)
        }
        // The number is taken, or else the refusal comes again.
        Err(error) if matches!(error.errno(), Some(EBUSY | EEXIST)) => {
            create_and_rename(NewIpvlan { index: None, ..new }, name, site, undo)
        }
        Err(error) => {
            // Its answer is lost: the link may be there. It was not before.
            if error.errno().is_none() {
                let name = name.to_owned();
                undo.push(format!("create {name}"), move || {
                    let mut inside = pod.netlink()?;
                    match inside.link_by_index(index)? {
                        Some(link) if link.name == name => remove(&mut inside, &name).map(drop),
                        _ => Ok(()),
                    }
                });
            }
            Err(error)
        }
    }
}

/// Under another name first: the kernel looks for the name in the wrong namespace.
fn create_and_rename<'a>(
    new: NewIpvlan<'a>,
    name: &str,
    site: &mut Site<'a>,
    undo: &mut Undo<'a>,
) -> Result<u32, Error> {
    let (pod, temporary) = (site.pod, site.temporary);
    // What a killed ADD of this attachment left half-made.
    remove(site.inside, temporary)?;
    // Pushed first: if the new link cannot even be looked up, it goes by its name.
    undo.push(format!("create {temporary}"), move || {
        remove(&mut pod.netlink()?, temporary).map(drop)
    });
    site.outside.add_ipvlan(&NewIpvlan { name: temporary, ..new })?;
    let missing = || Error::Protocol {
        operation: Operation::CreateIpvlan,
        object: temporary.to_owned(),
        reason: "the new link is not in the pod's namespace".into(),
    };
    let index = site.inside.link(temporary)?.ok_or_else(missing)?.index;
    // Pushed first: the kernel may have renamed it though its answer was lost.
    undo.push(format!("rename to {name}"), move || pod.netlink()?.delete_link(index).map(drop));
    site.inside.rename_link(index, name)?;
    Ok(index)
}

/// Deletes the link called `name` if it is an ipvlan link; `false` if there is none.
pub(crate) fn remove(inside: &mut Netlink, name: &str) -> Result<bool, Error> {
    match inside.link(name)? {
        Some(link) if link.kind.as_deref() == Some(IPVLAN) => inside.delete_link(link.index),
        _ => Ok(false),
    }
}
