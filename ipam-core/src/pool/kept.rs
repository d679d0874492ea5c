//! The addresses of a pool that are kept from all, or from all but one pod.

use alloc::sync::Arc;
use core::net::IpAddr;

use super::Pool;
use crate::demand::Demand;
use crate::pin::{Pin, Pins};
use crate::range::AddressRange;
use crate::range_set::RangeSet;

impl Pool {
    /// The same pool where some addresses are taken: those that are `reserved` on all nodes
    /// ([`crate::Reserved`]), and the node's `own`, which a pod gets only if it asks for that very
    /// address.
    #[must_use]
    pub fn among(&self, reserved: &RangeSet, own: &RangeSet) -> Self {
        let whole = RangeSet::from(AddressRange::from(self.subnet));
        Self {
            assignable: self.assignable.difference(reserved).difference(own),
            reserved: self.reserved.union(&reserved.intersection(&whole)),
            ..self.clone()
        }
    }

    /// The same pool where these addresses are kept for pods. Those that it does not hand out are
    /// nobody's.
    pub(crate) fn keeping(self, pins: &Arc<Pins>) -> Self {
        if pins.is_empty() {
            return self;
        }
        let pinned = self.assignable.intersection(pins.addresses());
        let whole = RangeSet::from(AddressRange::from(self.subnet));
        let others = pins.addresses().intersection(&whole).difference(&pinned);
        Self {
            assignable: self.assignable.difference(&pinned),
            reserved: self.reserved.union(&others),
            pinned,
            pins: Arc::clone(pins),
            ..self
        }
    }

    /// Whether the one who asks may hold the address from now on.
    pub(crate) fn allows(&self, address: IpAddr, demand: &Demand) -> bool {
        self.claims(address)
            && !self.reserved.contains(address)
            && self.pin_against(address, demand).is_none()
    }

    /// The pin that keeps the address from the one who asks.
    pub(crate) fn pin_against(&self, address: IpAddr, demand: &Demand) -> Option<&Pin> {
        let is_others = self.pinned.contains(address) && !self.is_kept_for(address, demand);
        is_others.then(|| self.pins.of_address(address)).flatten()
    }

    /// Whether the address is kept for the one who asks.
    pub(crate) fn is_kept_for(&self, address: IpAddr, demand: &Demand) -> bool {
        let mut kept = self.pins.kept_for(demand.pod.as_ref(), &demand.attachment);
        self.pinned.contains(address) && kept.any(|kept| kept.contains(address))
    }

    /// The addresses that are kept for the one who asks, in their order.
    pub(crate) fn kept_for(&self, demand: &Demand) -> RangeSet {
        let kept = self.pins.kept_for(demand.pod.as_ref(), &demand.attachment);
        kept.fold(RangeSet::new(), |all, kept| all.union(&kept.intersection(&self.pinned)))
    }

    /// The addresses that are kept for pods: see [`crate::Pin`].
    pub fn pinned(&self) -> &RangeSet {
        &self.pinned
    }

    /// The addresses of the subnet that nobody gets: see [`Pool::among`].
    pub fn reserved(&self) -> &RangeSet {
        &self.reserved
    }
}
