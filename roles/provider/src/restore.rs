//! Bringing a pod of the ledger back to where it can be woken: after a restart of the daemon, or
//! when the engine lost it. Replicas that run are adopted.

use crate::{Provider, faults, hosts::with_kept_hosts};
use apocryph_ledger::Pod;
use apocryph_model::{Endpoint, Fault, PodSpec};
use tracing::{info, instrument, warn};

/// How long after a failure it is tried again, in milliseconds.
const AGAIN_MS: u64 = 10_000;

impl Provider {
    /// Restores a pod unless that failed a moment ago; tells whether it did. The caller holds the
    /// pod's lock.
    #[instrument(skip_all, fields(pod = %pod.channel.short()))]
    pub(crate) async fn restore(&self, pod: &Pod) -> bool {
        let now = self.now_ms();
        let later = self.memory().restore_at.get(&pod.channel).is_some_and(|at| now < *at);
        if later {
            return false;
        }
        let restored = self.try_restore(pod).await;
        match &restored {
            Ok(()) => {
                let mut memory = self.memory();
                memory.restore_at.remove(&pod.channel);
                memory.troubles.remove(&pod.channel);
                info!("restored");
            }
            Err(fault) => {
                warn!(%fault, "a pod cannot be restored yet");
                self.memory().restore_at.insert(pod.channel, now.saturating_add(AGAIN_MS));
                self.note_trouble(pod.channel, fault.clone());
            }
        }
        restored.is_ok()
    }

    async fn try_restore(&self, pod: &Pod) -> Result<(), Fault> {
        let prepared = self.unseal(pod).await?;
        self.world.engine.prepare(&prepared).await.map_err(faults::of_engine)?;
        let endpoints = self.route_as_kept(pod, &prepared.spec).await?;
        if endpoints != pod.endpoints {
            // A port was lost to someone else, or the gateway's address was changed.
            let moved = Pod { endpoints, ..pod.clone() };
            self.ledger(move |ledger| ledger.put_pod(&moved)).await?;
        }
        Ok(())
    }

    /// Routes to a pod of the ledger by the host names that it still has.
    pub(crate) async fn route_as_kept(&self, pod: &Pod, spec: &PodSpec) -> Result<Vec<Endpoint>, Fault> {
        let running = self.running(pod.channel).await?;
        let spec = with_kept_hosts(spec, &pod.endpoints);
        let routed = self.world.routes.put(pod.channel, &spec, &pod.endpoints, &running).await;
        routed.map_err(|cause| faults::of_route(&cause))
    }
}
