//! The provider, as the gateway scales pods by it.

use apocryph_gateway::{Backend, End, Pods, StopError, WakeError};
use apocryph_model::ChannelId;
use apocryph_provider::{EngineError, Provider, Replica, ReplicaEnd, WakeRefusal};
use async_trait::async_trait;
use std::{
    future,
    sync::{Arc, OnceLock, Weak},
};
use tracing::warn;

/// Set once there is a provider, which needs the gateway first.
#[derive(Default)]
pub(crate) struct EnginePods(OnceLock<Weak<Provider>>);

impl EnginePods {
    /// Names the provider. Only the first counts.
    pub(crate) fn set(&self, provider: &Arc<Provider>) {
        // A second provider for one gateway does not exist.
        let _ = self.0.set(Arc::downgrade(provider));
    }

    fn provider(&self) -> Option<Arc<Provider>> {
        self.0.get()?.upgrade()
    }

    async fn replica(&self, pod: ChannelId, backend: Backend) -> Result<Option<Replica>, EngineError> {
        let Some(provider) = self.provider() else { return Ok(None) };
        let replicas = provider.replicas(pod).await?;
        Ok(replicas.into_iter().find(|replica| backend_of(replica) == backend))
    }
}

/// A replica as the gateway knows it.
pub(crate) fn backend_of(replica: &Replica) -> Backend {
    Backend::of_replica(&replica.id, replica.address)
}

#[async_trait]
impl Pods for EnginePods {
    async fn wake(&self, pod: ChannelId, replicas: u32) -> Result<Vec<Backend>, WakeError> {
        let provider = self.provider().ok_or(WakeError::Removed)?;
        let woken = provider.wake(pod, replicas).await.map_err(refused)?;
        Ok(woken.iter().map(backend_of).collect())
    }

    async fn retire(&self, pod: ChannelId, backend: Backend) -> Result<(), StopError> {
        let stop = async {
            match (self.provider(), self.replica(pod, backend).await?) {
                (Some(provider), Some(replica)) => provider.retire(pod, &replica.id).await,
                _ => Ok(()),
            }
        };
        stop.await.map_err(|error| StopError::Engine(error.into()))
    }

    async fn idle(&self, pod: ChannelId) -> Result<(), StopError> {
        match self.provider() {
            Some(provider) => provider.idle(pod).await.map_err(|error| StopError::Engine(error.into())),
            None => Ok(()),
        }
    }

    fn unheard(&self, pod: ChannelId, port: u16) {
        if let Some(provider) = self.provider() {
            provider.unheard(pod, port);
        }
    }

    async fn died(&self, pod: ChannelId, backend: Backend) -> End {
        let died = async {
            match (self.provider(), self.replica(pod, backend).await?) {
                (Some(provider), Some(replica)) => provider.ended(pod, &replica.id).await,
                _ => Ok(None),
            }
        };
        match died.await {
            Ok(Some(ReplicaEnd::Failed(fault))) => End::Died(fault.into()),
            Ok(Some(ReplicaEnd::Leaving)) => End::Leaving,
            Ok(None) => End::Died(WakeError::Removed),
            Err(error) => {
                // Unknown is not ended: whoever dials finds out.
                warn!(%error, pod = pod.short(), "the end of a replica cannot be told");
                future::pending().await
            }
        }
    }
}

fn refused(refusal: WakeRefusal) -> WakeError {
    match refusal {
        WakeRefusal::OutOfFunds => WakeError::OutOfFunds,
        WakeRefusal::Removed => WakeError::Removed,
        WakeRefusal::Engine(EngineError::Pod(fault) | EngineError::Host(fault)) => fault.into(),
        WakeRefusal::Engine(error @ EngineError::Unknown) => WakeError::Engine(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_cause() {
        assert_eq!(refused(WakeRefusal::OutOfFunds).code(), "out_of_funds");
        assert_eq!(refused(WakeRefusal::Removed).code(), "removed");
        assert_eq!(refused(WakeRefusal::Engine(EngineError::Unknown)).code(), "engine");
    }
}
