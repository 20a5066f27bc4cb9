//! Who has which address of the subnet.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::config::Subnet;

/// Gives addresses out in turn, so that one that was just freed is used again late.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: Subnet,
    used: BTreeSet<Ipv4Addr>,
    last: Ipv4Addr,
}

impl Addresses {
    pub(crate) fn new(subnet: Subnet) -> Self {
        Self { subnet, used: BTreeSet::new(), last: subnet.gateway() }
    }

    /// Marks an address as used by a replica that is there already.
    pub(crate) fn adopt(&mut self, address: Ipv4Addr) {
        self.used.insert(address);
    }

    /// An unused address; `None` where all are used.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        let free = |address: &Ipv4Addr| !self.used.contains(address);
        let after = self.subnet.pods().filter(|address| *address > self.last);
        let address = after.chain(self.subnet.pods()).find(free)?;
        self.used.insert(address);
        self.last = address;
        Some(address)
    }

    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_used_again_as_late_as_possible() {
        let mut addresses = Addresses::new("10.9.0.0/29".parse().unwrap());
        addresses.adopt("10.9.0.3".parse().unwrap());
        let mut take = |give_back: Option<&str>| {
            give_back.into_iter().for_each(|address| addresses.give_back(address.parse().unwrap()));
            addresses.take().map(|address| address.octets()[3])
        };
        assert_eq!((take(None), take(None)), (Some(2), Some(4)));
        assert_eq!((take(Some("10.9.0.2")), take(None), take(None)), (Some(5), Some(6), Some(2)));
        assert_eq!(take(None), None);
    }

    proptest! {
        #[test]
        fn no_two_have_the_same(steps in proptest::collection::vec(any::<bool>(), 0..60)) {
            let mut addresses = Addresses::new("10.9.0.0/28".parse().unwrap());
            let mut held = Vec::new();
            for take in steps {
                if take {
                    let taken = addresses.take();
                    prop_assert_eq!(taken.is_none(), held.len() == 13);
                    prop_assert!(taken.is_none_or(|address| !held.contains(&address)));
                    held.extend(taken);
                } else if !held.is_empty() {
                    addresses.give_back(held.remove(0));
                }
            }
        }
    }
}
