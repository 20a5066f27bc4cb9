//! Spares in store, so that what a shim needs before it knows its replica is off the path of a start.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::spare::Spare;
use crate::config::Config;
use crate::host_error::{Doing as _, HostError};
use crate::network::{Addresses, Network};

/// How many are kept: each is an idle process.
const KEPT: usize = 2;

/// See the module.
pub(super) struct Spares {
    config: Arc<Config>,
    network: Network,
    addresses: Mutex<Addresses>,
    ready: Mutex<Vec<Spare>>,
    /// Held while the store is filled; false once it is closed.
    filling: tokio::sync::Mutex<bool>,
}

impl Spares {
    pub(super) fn new(config: &Config, network: Network) -> Self {
        Self {
            addresses: Mutex::new(Addresses::new(config.subnet)),
            config: Arc::new(config.clone()),
            network,
            ready: Mutex::default(),
            filling: tokio::sync::Mutex::new(true),
        }
    }

    /// One from the store, or a new one; `None` where no address is left.
    pub(super) async fn take(&self) -> Result<Option<Spare>, HostError> {
        let ready = lock(&self.ready).pop();
        match ready {
            Some(spare) => Ok(Some(spare)),
            None => self.make().await,
        }
    }

    /// Makes what is missing in the store.
    pub(super) async fn fill(&self) {
        let filling = self.filling.lock().await;
        while *filling && lock(&self.ready).len() < KEPT {
            match self.make().await {
                Ok(Some(spare)) => lock(&self.ready).push(spare),
                Ok(None) => return,
                Err(error) => return tracing::warn!(%error, "no replica can be started ahead of need"),
            }
        }
    }

    /// Ends those in store; there will be no others.
    pub(super) async fn close(&self) {
        *self.filling.lock().await = false;
        lock(&self.ready).clear();
    }

    /// Takes note of an address that a replica has already.
    pub(super) fn adopt(&self, address: Ipv4Addr) {
        lock(&self.addresses).adopt(address);
    }

    pub(super) fn give_back(&self, address: Ipv4Addr) {
        lock(&self.addresses).give_back(address);
    }

    async fn make(&self) -> Result<Option<Spare>, HostError> {
        let Some(address) = lock(&self.addresses).take() else { return Ok(None) };
        let (config, network) = (self.config.clone(), self.network);
        let made = on_a_thread(move || Spare::make(&config, network, address)).await.and_then(|made| made);
        if made.is_err() {
            self.give_back(address);
        }
        made.map(Some)
    }
}

/// Does what blocks on a thread of its own. It is done to its end, whoever has gone meanwhile.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HostError> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("replica".into());
    let thread = thread.spawn(move || {
        // Nobody waits any more where the daemon is ending.
        let _ = sender.send(work());
    });
    thread.doing("start a thread")?;
    receiver.await.map_err(|_| HostError::new("work on a thread", std::io::Error::other("the thread ended")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
