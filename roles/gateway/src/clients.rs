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
    by_address: HashMap<IpAddr, usize>,
}

/// One connection; dropping it uncounts it.
pub(crate) struct Counted {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Clients {
    pub(crate) fn new(limits: &ClientLimits) -> Arc<Self> {
        let open = Mutex::default();
        Arc::new(Self { all: limits.connections, each: limits.connections_per_client, open })
    }

    /// Counts a connection from `address`; `None` where there are too many.
    pub(crate) fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let mut open = self.open();
        let same = open.by_address.get(&address).copied().unwrap_or(0);
        if open.all >= self.all || same >= self.each {
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, same + 1);
        Some(Counted { clients: self.clone(), address })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.clients.open();
        open.all -= 1;
        if let Some(same) = open.by_address.get_mut(&self.address) {
            *same -= 1;
            if *same == 0 {
                open.by_address.remove(&self.address);
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
}
