//! The end of a pod: `evict` by the provider, `remove` at the publisher's wish. Everything of it
//! goes; what was used is claimed; the reason stays in the ledger for `status`.
//!
//! The ledger is told first: a kill in between leaves strays, which `reconcile` takes away.

use crate::{Authorisation, Provider, faults};
use apocryph_ledger::{Pod, PodState};
use apocryph_model::{ChannelId, Fault, Method};
use tracing::{info, instrument, warn};

impl Provider {
    /// Removes a pod at its publisher's wish. One that has ended is no error.
    #[instrument(skip_all, fields(pod = %call.statement.channel.short()))]
    pub(crate) async fn remove(&self, call: Authorisation) -> Result<(), Fault> {
        let caller = self.authorise(Method::Remove, &call).await?;
        let _life = self.lives.take(caller.channel).await;
        match self.pod(caller.channel).await? {
            Some(pod) if pod.is_live() => self.end(pod, PodState::Removed).await,
            _ => self.claim_rest(caller.channel).await,
        }
        .map(|()| info!("removed"))
    }

    /// Removes a pod whose channel has ended. The caller holds its lock.
    #[instrument(skip_all, fields(pod = %pod.channel.short(), reason = reason.code))]
    pub(crate) async fn evict(&self, pod: Pod, reason: Fault) -> Result<(), Fault> {
        self.end(pod, PodState::Evicted(reason)).await?;
        metrics::counter!("apocryph_evictions_total").increment(1);
        info!("evicted");
        Ok(())
    }

    async fn end(&self, pod: Pod, state: PodState) -> Result<(), Fault> {
        let channel = pod.channel;
        let ended = Pod { state, sealed: Vec::new(), endpoints: Vec::new(), ..pod };
        self.ledger(move |ledger| ledger.put_pod(&ended)).await?;
        self.take_away(channel).await?;
        // What cannot be read or claimed now is read and claimed later.
        if let Err(fault) = self.meter().await {
            warn!(%fault, "the pod's last usage is not read yet");
        }
        self.claim_rest(channel).await
    }

    async fn claim_rest(&self, channel: ChannelId) -> Result<(), Fault> {
        if let Err(fault) = self.claim_last(channel).await {
            warn!(%fault, "the pod's last money is not claimed yet");
        }
        Ok(())
    }

    /// Leaves nothing of a pod on this host.
    pub(crate) async fn take_away(&self, channel: ChannelId) -> Result<(), Fault> {
        self.forget_pod(channel);
        self.world.routes.remove(channel).await;
        {
            let _scaling = self.scales.take(channel).await;
            self.world.engine.remove(channel).await.map_err(faults::of_engine)?;
        }
        self.world.registry.dismiss(channel);
        let let_go = self.world.blobs.keep_only(channel, &[]).await;
        let_go.map_err(|cause| faults::of_blob(&cause))
    }

    fn forget_pod(&self, channel: ChannelId) {
        let mut memory = self.memory();
        memory.gates.remove(&channel);
        memory.troubles.remove(&channel);
        memory.doubted.remove(&channel);
        memory.restore_at.remove(&channel);
    }
}
