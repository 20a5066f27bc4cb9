//! The step `meter`: what pods used goes into the ledger before it counts.

use crate::{Provider, Reading, faults};
use apocryph_ledger::{Ledger, LedgerError, Measurement, Pod};
use apocryph_model::{ChannelId, Fault, Resource, Usage};
use std::{collections::HashMap, time::Duration};
use tracing::{instrument, warn};

/// The source of what is reserved also at zero replicas.
const VOLUMES: &str = "volumes";

/// An ended replica whose last reading is written down.
type Ended = (ChannelId, String);

impl Provider {
    /// Reads everything and writes it down; then lets go of what has ended.
    ///
    /// # Errors
    /// Nothing was written; the next reading makes up for it.
    #[instrument(skip_all)]
    pub async fn meter(&self) -> Result<(), Fault> {
        let _alone = self.metering.lock().await;
        let begun = std::time::Instant::now();
        let readings = self.world.engine.sample().await.map_err(faults::of_engine)?;
        let now_ms = self.now_ms();
        // A longer gap was not observed: the daemon was not there.
        let observed = 2 * self.settings.meter_period;
        let ended = self.ledger(move |ledger| record(ledger, &readings, now_ms, observed)).await?;
        self.forget(ended).await;
        metrics::histogram!("apocryph_meter_seconds").record(begun.elapsed());
        Ok(())
    }

    /// First the engine forgets, then the ledger: a repeated last reading adds nothing.
    async fn forget(&self, ended: Vec<Ended>) {
        let mut forgotten = Vec::with_capacity(ended.len());
        for (pod, replica) in ended {
            match self.world.engine.forget(&replica).await {
                Ok(()) => forgotten.push((pod, replica)),
                Err(cause) => warn!(%cause, replica, "an ended replica could not be forgotten"),
            }
        }
        if forgotten.is_empty() {
            return;
        }
        // A failure is logged where it happens. What is kept then is never read again.
        let _ = self.ledger(move |ledger| ledger.forget_sources(&forgotten)).await;
    }
}

fn record(
    ledger: &Ledger,
    readings: &[Reading],
    now_ms: u64,
    observed: Duration,
) -> Result<Vec<Ended>, LedgerError> {
    let pods: HashMap<_, _> =
        ledger.pods_to_look_after()?.into_iter().map(|pod| (pod.channel, pod)).collect();
    let mut measurements = Vec::with_capacity(readings.len());
    for reading in readings {
        let epoch = match pods.get(&reading.pod) {
            Some(pod) => Some(pod.epoch),
            None => ledger.pod(reading.pod)?.map(|pod| pod.epoch),
        };
        // What never became a pod has nobody who pays for it.
        measurements.extend(epoch.map(|epoch| measurement(reading, epoch, now_ms)));
    }
    for pod in pods.values().filter(|pod| pod.is_live() && pod.persistent.0 > 0) {
        measurements.push(volumes(ledger, pod, now_ms, observed)?);
    }
    ledger.record(&measurements)?;
    let ended = readings.iter().filter(|reading| reading.last);
    Ok(ended.map(|reading| (reading.pod, reading.replica.clone())).collect())
}

fn measurement(reading: &Reading, epoch: u32, time_ms: u64) -> Measurement {
    Measurement {
        channel: reading.pod,
        epoch,
        source: reading.replica.clone(),
        time_ms,
        total: used(reading),
    }
}

/// What a replica used since it began.
fn used(reading: &Reading) -> Usage {
    let reserved = &reading.reserved;
    let over_time = |units: u64| units.saturating_mul(reading.running_ms);
    let mut usage = Usage::default();
    usage[Resource::CpuUsed] = reading.cpu_us;
    usage[Resource::CpuReserved] = over_time(reserved.cpu.0.into());
    usage[Resource::Memory] = over_time(reserved.memory.mebibytes());
    usage[Resource::Storage] = over_time(reserved.storage.mebibytes());
    usage[Resource::Ingress] = reading.ingress;
    usage[Resource::Egress] = reading.egress;
    usage
}

/// What a pod's volumes reserved since they were first seen: the time between two readings, as
/// far as it was observed.
fn volumes(ledger: &Ledger, pod: &Pod, now_ms: u64, observed: Duration) -> Result<Measurement, LedgerError> {
    let mut total = Usage::default();
    if let Some(last) = ledger.last_reading(pod.channel, VOLUMES)? {
        let bound = u64::try_from(observed.as_millis()).unwrap_or(u64::MAX);
        let gap = now_ms.saturating_sub(last.time_ms).min(bound);
        total = last.total;
        let more = pod.persistent.mebibytes().saturating_mul(gap);
        total[Resource::Storage] = total[Resource::Storage].saturating_add(more);
    }
    let source = VOLUMES.into();
    Ok(Measurement { channel: pod.channel, epoch: pod.epoch, source, time_ms: now_ms, total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::{Bytes, Millicores, Resources};

    #[test]
    fn a_replica_pays_for_what_it_reserves_and_uses() {
        let reading = Reading {
            pod: ChannelId([1; 32]),
            replica: "a".into(),
            reserved: Resources { cpu: Millicores(250), memory: Bytes(64 << 20), storage: Bytes(1) },
            cpu_us: 7,
            running_ms: 1_000,
            ingress: 3,
            egress: 4,
            last: false,
        };
        assert_eq!(used(&reading), Usage([7, 250_000, 64_000, 1_000, 3, 4, 0, 0]));
    }
}
