//! The step `wake`: a pod is started, its replicas are watched.

use super::{Pod, members::Unwatched};
use crate::{Backend, End, WakeError, endpoint::Endpoint};
use futures::future::join_all;
use std::{future::pending, net::SocketAddr, sync::Arc};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, instrument, warn};

impl Pod {
    /// Has the engine start the pod. Whoever waits is told of the outcome; that they leave
    /// meanwhile does not end the start.
    #[instrument(name = "wake", skip_all, fields(pod = %self.id.short(), replicas))]
    pub(super) async fn wake(self: Arc<Self>, replicas: u32) {
        let began = Instant::now();
        let woken = self.environment.pods.wake(self.id, replicas).await;
        match woken {
            Ok(backends) => {
                self.environment.meters.started(began.elapsed());
                info!(replicas = backends.len(), took_us = began.elapsed().as_micros(), "started");
                self.state().woken(&backends, Instant::now());
            }
            Err(cause) => {
                self.report(&cause);
                self.state().start_failed(cause, Instant::now());
            }
        }
        self.changed();
    }

    /// Has the engine start more replicas of a pod that serves.
    #[instrument(name = "wake", skip_all, fields(pod = %self.id.short(), replicas))]
    pub(super) async fn grow(self: Arc<Self>, replicas: u32) {
        match self.environment.pods.wake(self.id, replicas).await {
            Ok(backends) => self.state().grown(&backends, Instant::now()),
            Err(cause) => {
                self.report(&cause);
                self.state().growth_refused(Instant::now());
            }
        }
        self.changed();
    }

    fn report(&self, cause: &WakeError) {
        self.environment.meters.start_failed(cause.code());
        warn!(cause = cause as &dyn std::error::Error, "the pod did not start");
    }

    /// Tells whoever waits that something has changed, and has new replicas watched.
    pub(super) fn changed(self: &Arc<Self>) {
        let mut state = self.state();
        for unwatched in state.unwatched() {
            let run = unwatched.backend.run;
            let watch = tokio::spawn(self.clone().watch(unwatched));
            state.watched(run, AbortOnDropHandle::new(watch));
        }
        drop(state);
        self.changes.send_replace(());
    }

    async fn watch(self: Arc<Self>, replica: Unwatched) {
        let Unwatched { backend, ports, gone } = replica;
        let listening = async {
            join_all(ports.iter().map(|port| self.listen(backend, *port, &gone))).await;
            pending::<()>().await;
        };
        tokio::select! {
            end = self.environment.pods.died(self.id, backend) => match end {
                End::Died(cause) => self.lost(backend, cause),
                End::Leaving => self.leaves(backend).await,
            },
            () = listening => {}
        }
    }

    /// Others are ending a replica: it is cut off when nothing is under way there any more, which ends this too,
    /// or that takes too long.
    async fn leaves(&self, backend: Backend) {
        info!(pod = %self.id.short(), run = backend.run, "a replica is ended by others");
        self.state().leaves(backend.run);
        self.changes.send_replace(());
        sleep(self.environment.config.drain).await;
        self.state().cut_off(backend.run);
        self.changes.send_replace(());
    }

    async fn listen(&self, backend: Backend, port: u16, gone: &CancellationToken) {
        let endpoint = Endpoint::listening(SocketAddr::new(backend.address, port), gone.clone()).await;
        self.state().listening(backend.run, port, endpoint);
        self.changes.send_replace(());
    }

    fn lost(&self, backend: Backend, cause: WakeError) {
        warn!(pod = %self.id.short(), run = backend.run, cause = &cause as &dyn std::error::Error, "a replica ended");
        self.environment.meters.start_failed(cause.code());
        self.state().lost(backend.run, cause, Instant::now());
        self.changes.send_replace(());
    }
}
