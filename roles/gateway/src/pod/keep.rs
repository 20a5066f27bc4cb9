//! The step `idle`: what nobody uses is fenced, then stopped.

use super::{Phase, Pod, members::StillInFlight, state::Review};
use crate::{Backend, StopError};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, instrument, warn};

/// How soon the engine is asked again to stop what it could not stop.
const STOP_AGAIN: Duration = Duration::from_secs(5);

impl Pod {
    /// Watches over the pod until it is removed.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let review = self.state().review(Instant::now());
            match review {
                Review::Wait => drop(changes.changed().await),
                Review::Until(time) => {
                    tokio::select! {
                        () = sleep_until(time) => {}
                        _ = changes.changed() => {}
                    }
                }
                Review::Wake(replicas) => self.clone().wake(replicas).await,
                Review::Grow(replicas) => self.clone().grow(replicas).await,
                Review::Idle => {
                    if let Some(replicas) = self.idle().await {
                        self.clone().wake(replicas).await;
                    }
                }
                Review::Shrink(run) => self.shrink(run).await,
                Review::End => return,
            }
        }
    }

    /// Has the engine stop the pod, to which nothing is routed any more. If the engine cannot, it
    /// is asked again, until somebody wants the pod: then it is started, which settles what runs.
    /// Gives how many replicas are to be started where another gateway uses them still.
    #[instrument(name = "idle", skip_all, fields(pod = %self.id.short()))]
    async fn idle(&self) -> Option<u32> {
        loop {
            match self.environment.pods.idle(self.id).await {
                Ok(()) => {
                    self.environment.meters.stopped();
                    info!("at zero");
                    break;
                }
                Err(StopError::InUse) => {
                    debug!("another gateway uses it");
                    return self.state().still_in_use();
                }
                Err(error) => warn!(cause = &error as &dyn std::error::Error, "the pod may still run"),
            }
            let wanted = self.until(|state| state.busy() || state.phase() != Phase::Draining);
            if timeout(STOP_AGAIN, wanted).await.is_ok() {
                break;
            }
        }
        self.state().stopped();
        self.changes.send_replace(());
        None
    }

    /// Stops a fenced replica as soon as nothing is under way on it, unless it is needed again.
    async fn shrink(self: &Arc<Self>, run: u64) {
        let mut fenced: Result<Option<Backend>, StillInFlight> = Err(StillInFlight);
        let mut changes = self.changes.subscribe();
        while fenced.is_err() {
            fenced = self.state().take_fenced(run);
            if fenced.is_err() && changes.changed().await.is_err() {
                return;
            }
        }
        if let Ok(Some(backend)) = fenced {
            self.stop(backend).await;
        }
    }

    #[instrument(name = "idle", skip_all, fields(pod = %self.id.short(), run = backend.run))]
    async fn stop(self: &Arc<Self>, backend: Backend) {
        match self.environment.pods.retire(self.id, backend).await {
            Ok(()) => info!("one replica less"),
            Err(StopError::InUse) => {
                self.state().stays(backend, Instant::now());
                return self.changed();
            }
            Err(error) => warn!(cause = &error as &dyn std::error::Error, "the replica may still run"),
        }
        self.state().shrunk();
        self.changes.send_replace(());
    }
}
