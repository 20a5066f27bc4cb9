use crate::{Blobs, Chain, Clock, Engine, HostProofs, Registry, Routes, Settings, faults, turns::Turns};
use apocryph_ledger::{Ledger, LedgerError, Pod, PodState};
use apocryph_model::{ChannelId, Fault};
use apocryph_seal::EnvelopeKey;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Semaphore;

/// Everything outside of the use cases.
pub struct World {
    /// Runs pods.
    pub engine: Arc<dyn Engine>,
    /// The contracts.
    pub chain: Arc<dyn Chain>,
    /// Ciphertext, and the network it comes from.
    pub blobs: Arc<dyn Blobs>,
    /// What the engine pulls images from.
    pub registry: Arc<dyn Registry>,
    /// The gateway's route table.
    pub routes: Arc<dyn Routes>,
    /// What host names of publishers' own are proved by; without it they are whose pod came first.
    pub host_proofs: Option<Arc<dyn HostProofs>>,
    /// What must not be forgotten.
    pub ledger: Arc<Ledger>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The provider: the use cases over a [`World`].
pub struct Provider {
    pub(crate) world: World,
    pub(crate) settings: Settings,
    /// Seals the pods' keys at rest.
    pub(crate) state_key: EnvelopeKey,
    /// Whoever makes, changes or ends a pod holds its lock.
    pub(crate) lives: Turns<ChannelId>,
    /// Whoever starts or stops a pod's replicas holds its lock.
    pub(crate) scales: Turns<ChannelId>,
    /// One provisioning each.
    pub(crate) provisions: Semaphore,
    /// Held while readings go into the ledger.
    pub(crate) metering: tokio::sync::Mutex<()>,
    /// Held while claims are made.
    pub(crate) claiming: tokio::sync::Mutex<()>,
    memory: Mutex<Memory>,
}

/// What is known since the start, and found out again after the next.
#[derive(Default)]
pub(crate) struct Memory {
    /// The pods that are prepared and routed, and whether they may be woken.
    pub(crate) gates: HashMap<ChannelId, Gate>,
    /// What went wrong last with a pod.
    pub(crate) troubles: HashMap<ChannelId, Fault>,
    /// Pods whose channel seemed to have ended the last time that the chain was asked.
    pub(crate) doubted: HashMap<ChannelId, u32>,
    /// When, in milliseconds since the Unix epoch, the restoring of a pod is tried again.
    pub(crate) restore_at: HashMap<ChannelId, u64>,
    /// Since when blobs without a pod are known.
    pub(crate) stray_since: HashMap<ChannelId, u64>,
    /// The newest block time that any endpoint told.
    pub(crate) newest_block: u64,
    /// No claims before this time, in milliseconds since the Unix epoch.
    pub(crate) claim_not_before: u64,
    /// Set once the daemon is stopping.
    pub(crate) stopping: bool,
}

/// Whether a pod may be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may.
    Open,
    /// Its channel is used up.
    OutOfFunds,
}

impl Gate {
    pub(crate) fn of(state: &PodState) -> Self {
        match state {
            PodState::OutOfFunds { .. } => Self::OutOfFunds,
            PodState::Live | PodState::Evicted(_) | PodState::Removed => Self::Open,
        }
    }
}

impl Provider {
    /// A provider that does nothing yet: see [`Provider::run`].
    pub fn new(world: World, settings: Settings, state_key: EnvelopeKey) -> Self {
        Self {
            provisions: Semaphore::new(settings.limits.provisions),
            world,
            settings,
            state_key,
            lives: Turns::default(),
            scales: Turns::default(),
            metering: tokio::sync::Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
            memory: Mutex::default(),
        }
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.world.clock.now_ms()
    }

    /// Remembers what went wrong with a pod, for `status`.
    pub(crate) fn note_trouble(&self, pod: ChannelId, fault: Fault) {
        self.memory().troubles.insert(pod, fault);
    }

    /// Works on the ledger, off the threads that serve.
    pub(crate) async fn ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Fault> {
        let ledger = self.world.ledger.clone();
        let done = tokio::task::spawn_blocking(move || work(&ledger)).await;
        done.map_err(|_| faults::internal("the ledger panicked"))?.map_err(|cause| faults::of_ledger(&cause))
    }

    /// What the ledger knows of a pod.
    pub(crate) async fn pod(&self, channel: ChannelId) -> Result<Option<Pod>, Fault> {
        self.ledger(move |ledger| ledger.pod(channel)).await
    }
}
