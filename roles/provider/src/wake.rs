//! The steps `wake` and `idle`, as the gateway asks for them. Nothing here waits for disk or chain.

use crate::{EngineError, Provider, Replica, ReplicaEnd, faults, provider::Gate};
use apocryph_model::{ChannelId, Fault, Who};
use tracing::instrument;

/// Why a pod is not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WakeRefusal {
    /// Its channel is used up.
    #[error("the pod is out of funds")]
    OutOfFunds,
    /// It was removed, or is not restored yet.
    #[error("there is no such pod")]
    Removed,
    /// The engine could not.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Provider {
    /// Brings the pod to at least `replicas` replicas and tells all that run.
    ///
    /// # Errors
    /// The pod may not run, or cannot be started; those of its replicas that run go on.
    #[instrument(skip_all, fields(pod = %pod.short(), replicas))]
    pub async fn wake(&self, pod: ChannelId, replicas: u32) -> Result<Vec<Replica>, WakeRefusal> {
        let _scaling = self.scales.take(pod).await;
        let gate = self.memory().gates.get(&pod).copied();
        match gate {
            None => return Err(WakeRefusal::Removed),
            Some(Gate::OutOfFunds) => return Err(WakeRefusal::OutOfFunds),
            Some(Gate::Open) => {}
        }
        let running = self.running(pod).await.map_or(0, |running| running.len());
        let count = replicas.max(u32::try_from(running).unwrap_or(u32::MAX));
        let woken = self.world.engine.scale(pod, count).await;
        match &woken {
            Ok(_) => drop(self.memory().troubles.remove(&pod)),
            Err(EngineError::Pod(fault) | EngineError::Host(fault)) => self.note_trouble(pod, fault.clone()),
            Err(EngineError::Unknown) => self.close_gate(pod),
        }
        Ok(woken?)
    }

    /// Brings the pod to zero replicas.
    ///
    /// # Errors
    /// Some may run.
    #[instrument(skip_all, fields(pod = %pod.short()))]
    pub async fn idle(&self, pod: ChannelId) -> Result<(), EngineError> {
        let _scaling = self.scales.take(pod).await;
        match self.world.engine.scale(pod, 0).await {
            Ok(_) | Err(EngineError::Unknown) => Ok(()),
            Err(cause) => Err(cause),
        }
    }

    /// Stops one replica.
    ///
    /// # Errors
    /// It may run.
    pub async fn retire(&self, pod: ChannelId, replica: &str) -> Result<(), EngineError> {
        let _scaling = self.scales.take(pod).await;
        self.world.engine.stop(pod, replica).await
    }

    /// The replicas of a pod that are there.
    ///
    /// # Errors
    /// The engine cannot tell.
    pub async fn replicas(&self, pod: ChannelId) -> Result<Vec<Replica>, EngineError> {
        self.world.engine.replicas(pod).await
    }

    /// Nothing listens on a port of the pod, which runs.
    pub fn unheard(&self, pod: ChannelId, port: u16) {
        let text = format!(
            "nothing listens on port {port} of the pod: have it listen there on all addresses, not on localhost alone, or change the port and deploy again"
        );
        self.note_trouble(pod, Fault::lasting(Who::Publisher, "never-listens", text));
    }

    /// Returns once a replica ends: how, where nobody here asked for it.
    ///
    /// # Errors
    /// The engine cannot tell.
    pub async fn ended(&self, pod: ChannelId, replica: &str) -> Result<Option<ReplicaEnd>, EngineError> {
        let ended = self.world.engine.ended(pod, replica).await?;
        if let Some(end) = &ended {
            self.note_trouble(pod, faults::of_end(end.clone()));
        }
        Ok(ended)
    }
}
