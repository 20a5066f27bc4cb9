//! The loops that run for as long as the provider does.

use crate::Provider;
use apocryph_model::Fault;
use std::{future::Future, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

impl Provider {
    /// Meters, reconciles and claims until dropped. Safe to drop, or kill, at any instruction.
    pub async fn run(&self) {
        describe_meters();
        let metering = every(self.settings.meter_period, "meter", || self.meter());
        let mending = every(self.settings.reconcile_period, "reconcile", || self.reconcile());
        let claiming = every(self.settings.reconcile_period, "claim", || self.claim());
        tokio::join!(metering, mending, claiming);
    }

    /// Takes no new pods, and writes down what was used until now. Pods go on running.
    pub async fn wind_down(&self) {
        self.memory().stopping = true;
        if let Err(fault) = self.meter().await {
            warn!(%fault, "the last usage is read after the next start");
        }
    }

    /// Stops every replica of every pod; their pods wait at zero for the next start.
    ///
    /// # Errors
    /// Some may run.
    pub async fn stop_pods(&self) -> Result<(), Fault> {
        for pod in self.world.engine.pods().await.map_err(crate::faults::of_engine)? {
            // Gateways elsewhere outlive this one.
            self.world.routes.fence(pod).await;
            self.idle(pod).await.map_err(crate::faults::of_engine)?;
        }
        self.meter().await
    }
}

async fn every<F: Future<Output = Result<(), Fault>>>(period: Duration, step: &str, work: impl Fn() -> F) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(fault) = work().await {
            warn!(step, %fault, code = fault.code, "tried again at the next round");
        }
    }
}

fn describe_meters() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("apocryph_pods", "Pods that live, at zero replicas or more");
    describe_counter!("apocryph_provisions_total", "Calls to provision or update, by outcome");
    describe_counter!("apocryph_evictions_total", "Pods that were removed because their channel ended");
    describe_counter!("apocryph_claims_total", "Channels claimed from, by outcome of the transaction");
    describe_counter!("apocryph_chain_failures_total", "Rounds in which the chain did not answer");
    describe_histogram!("apocryph_meter_seconds", Unit::Seconds, "Time of one reading of all usage");
}
