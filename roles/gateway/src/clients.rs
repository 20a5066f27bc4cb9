//! How many connections there are, in all and from one address.

use crate::ClientLimits;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts the connections of clients.
pub(crate) struct Clients {
    all: usize,
    each: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// One connection; dropping it uncounts it.
pub(crate) struct Counted {
    clients: Arc<Clients>,
    network: IpAddr,
}

impl Clients {
    pub(crate) fn new(limits: &ClientLimits) -> Arc<Self> {
        let open = Mutex::default();
        Arc::new(Self { all: limits.connections, each: limits.connections_per_client, open })
    }

    /// Counts a connection from the network of `address`; `None` where there are too many.
    pub(crate) fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let network = network(address);
        let mut open = self.open();
        let same = open.by_network.get(&network).copied().unwrap_or(0);
        if open.all >= self.all || same >= self.each {
            return None;
        }
        open.all += 1;
        open.by_network.insert(network, same + 1);
        Some(Counted { clients: self.clone(), network })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one client has: an address of IPv4, a network of 64 bits of IPv6.
fn network(address: IpAddr) -> IpAddr {
    const HOST_BITS: u32 = 64;
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> HOST_BITS << HOST_BITS).into()),
        v4 => v4,
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.clients.open();
        open.all -= 1;
        if let Some(same) = open.by_network.get_mut(&self.network) {
            *same -= 1;
            if *same == 0 {
                open.by_network.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_connection() {
        let limits = ClientLimits { connections: 3, connections_per_client: 2, ..ClientLimits::default() };
        let clients = Clients::new(&limits);
        let [greedy, other, third] = [1, 2, 3].map(|n| IpAddr::from([10, 0, 0, n]));
        let first = clients.count(greedy).unwrap();
        let _second = clients.count(greedy).unwrap();
        assert!(clients.count(greedy).is_none());
        let _other = clients.count(other).unwrap();
        assert!(clients.count(third).is_none(), "the sum is bounded too");
        drop(first);
        assert!(clients.count(third).is_some());
    }

    #[test]
    fn a_client_cannot_hide_behind_many_addresses() {
        let same = ["2001:db8::1", "2001:db8::ffff:1"].map(|text| network(text.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_ne!(same[0], network("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
