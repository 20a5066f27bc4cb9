//! The replicas of one engine, from their launch to their last reading.
//!
//! ```text
//! [spare] --launch--> [live] --stop, or a container ends by itself--> shim ends
//!    |                  |                                          |
//!    |     daemon restarts: found by its record, connected again   v
//!   ends with the daemon
//!                                        settle: read what is final, write it down,
//!                                        clear everything else away --> [ended]
//! [ended] --forget, and its fault scaled away--> nothing
//! ```

mod compose;
mod ended;
mod live;
mod measured;
mod spare;
mod spares;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apocryph_model::{Cause, ChannelId, Digest, Fault, Who};
use apocryph_provider::{EngineError, Reading, Replica};

use crate::cgroup::Cgroups;
use crate::config::{CGROUP, Config};
use crate::host_error::{Doing as _, HostError};
use crate::network::{Network, Traffic};
use crate::pod_store::{PodStore, remove_all};
use crate::replica_files::{End, Record, Started, StopCommand, boot_ms, read_json};
use crate::run_dir::RunDir;
pub(crate) use compose::Prepared;
use ended::{Ended, EndedReplicas};
use live::{Live, Seen, until_closed};
use spare::Spare;
use spares::{Spares, on_a_thread};

/// How long a shim may take to end after its containers' grace.
const SHIM_GRACE: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Replicas {
    config: Config,
    run_dir: RunDir,
    store: PodStore,
    cgroups: Cgroups,
    spares: Spares,
    live: Mutex<BTreeMap<String, Arc<Live>>>,
    ended: EndedReplicas,
}

impl Replicas {
    /// Takes over what an earlier engine left: goes on with what runs, clears away what ended.
    pub(crate) async fn open(
        config: Config,
        run_dir: RunDir,
        store: PodStore,
        network: Network,
    ) -> Result<Arc<Self>, HostError> {
        let replicas = Arc::new(Self {
            spares: Spares::new(&config, network),
            cgroups: Cgroups::detect().doing("find the cgroups")?,
            ended: EndedReplicas::open(run_dir.ended())?,
            live: Mutex::default(),
            config,
            run_dir,
            store,
        });
        for id in names_in(replicas.run_dir.replicas())? {
            let record = read_json::<Record>(&replicas.run_dir.replica(&id).record());
            match record.doing("read a replica's record")? {
                Some(record) if !replicas.ended.contains(&id) => replicas.adopt(record, None).await?,
                record => replicas.clear_away(&id, record.map(|record| record.link)),
            }
        }
        replicas.sweep_scratch()?;
        Ok(replicas)
    }

    /// Sees to it that the next start finds a shim that is ready.
    pub(crate) fn fill_spares(self: &Arc<Self>) {
        let replicas = self.clone();
        tokio::spawn(async move { replicas.spares.fill().await });
    }

    /// Starts one replica and returns when its containers have been started.
    pub(crate) async fn launch(self: &Arc<Self>, pod: &Prepared) -> Result<(), EngineError> {
        let spare = self.spares.take().await?.ok_or_else(no_address)?;
        let record = self.record(pod, &spare);
        let launched = self.launch_as(pod, record.clone(), spare).await;
        if launched.is_err() {
            let address = record.address;
            self.in_background(move |replicas| replicas.clear_away(&record.id, Some(record.link))).await?;
            self.spares.give_back(address);
        }
        self.fill_spares();
        launched
    }

    async fn launch_as(
        self: &Arc<Self>,
        pod: &Prepared,
        record: Record,
        spare: Spare,
    ) -> Result<(), EngineError> {
        compose::write_files(&self.config, &self.run_dir, &self.store, pod, &record)?;
        let id = record.id.clone();
        let child = on_a_thread(move || spare.run(&id)).await??;
        tracing::info!(replica = record.id, address = %record.address, "run");
        Ok(self.adopt(record, Some(child)).await?)
    }

    fn record(&self, pod: &Prepared, spare: &Spare) -> Record {
        let id = format!("{}-{:016x}", pod.id.short(), rand::random::<u64>());
        Record {
            bounded: compose::bounded(&self.store, pod, &id),
            id,
            pod: pod.id,
            publisher: pod.publisher,
            spec: pod.digest,
            address: spare.address,
            link: spare.link.clone(),
            reserved: pod.spec.reserved(),
            layers: pod.layers(),
        }
    }

    /// Goes on with a replica that has been started, by this engine or an earlier one.
    async fn adopt(self: &Arc<Self>, record: Record, child: Option<Child>) -> Result<(), HostError> {
        self.spares.adopt(record.address);
        let dir = self.run_dir.replica(&record.id);
        let Ok((live, connection)) = Live::connect(&dir, record.clone()).await else {
            return self
                .in_background(move |replicas| replicas.settle(&record, Seen::default(), child))
                .await;
        };
        let live = Arc::new(live);
        lock(&self.live).insert(record.id, live.clone());
        // An engine that was dropped leaves the end to the one that takes over.
        let replicas = Arc::downgrade(self);
        tokio::spawn(async move {
            until_closed(connection).await;
            let Some(replicas) = replicas.upgrade() else { return };
            let settled = live.clone();
            let settle = move |replicas: &Self| {
                let seen = settled.see(Seen::default());
                replicas.settle(&settled.record, seen, child);
            };
            if let Err(error) = replicas.in_background(settle).await {
                tracing::error!(%error, replica = live.record.id, "a replica's end is not settled");
            }
            lock(&replicas.live).remove(&live.record.id);
            live.set_gone();
        });
        Ok(())
    }

    /// Of those that run: their ids and the digests of their specs.
    pub(crate) fn running(&self, pod: ChannelId) -> Vec<(String, Digest)> {
        let of_pod =
            |live: &Arc<Live>| (live.record.pod == pod).then(|| (live.record.id.clone(), live.record.spec));
        lock(&self.live).values().filter_map(of_pod).collect()
    }

    /// Every replica of the pod that is there, failed ones included.
    pub(crate) fn of(&self, pod: ChannelId) -> Vec<Replica> {
        let replica = |live: &Arc<Live>| Replica {
            id: live.record.id.clone(),
            address: live.record.address.into(),
            end: None,
        };
        let live = lock(&self.live);
        let mut found: Vec<_> = live.values().filter(|live| live.record.pod == pod).map(replica).collect();
        drop(live);
        found.extend(self.ended.failed(pod));
        found
    }

    /// Every pod of which a replica runs.
    pub(crate) fn pods(&self) -> Vec<ChannelId> {
        lock(&self.live).values().map(|live| live.record.pod).collect()
    }

    /// What the replicas that run have on the disk, besides what is their own.
    pub(crate) fn paths_in_use(&self) -> Vec<PathBuf> {
        let live = lock(&self.live);
        let paths = live.values().flat_map(|live| {
            let bounded = live.record.bounded.iter().map(|bounded| bounded.path.clone());
            live.record.layers.iter().cloned().chain(bounded)
        });
        paths.collect()
    }

    /// Ends a replica and returns when nothing but its last reading is left. One that is not there
    /// is no error.
    pub(crate) async fn stop(&self, id: &str) -> Result<(), HostError> {
        self.stop_by(id, StopCommand { fault: None, at_once: false }).await
    }

    async fn stop_by(&self, id: &str, command: StopCommand) -> Result<(), HostError> {
        let Some(live) = lock(&self.live).get(id).cloned() else { return Ok(()) };
        tracing::info!(replica = id, "stop");
        // It fails where the shim is ending already.
        let _ = live.ask_to_stop(&command).await;
        let patience = self.config.stop_grace + SHIM_GRACE;
        if tokio::time::timeout(patience, live.gone()).await.is_ok() {
            return Ok(());
        }
        tracing::warn!(replica = id, "the shim does not end: killing it");
        live.kill().doing("kill a shim")?;
        let killed = tokio::time::timeout(SHIM_GRACE, live.gone()).await;
        killed.doing(format!("end the replica {id}"))
    }

    /// Returns when the replica has ended, with the reason where it did so by itself.
    pub(crate) async fn ended(&self, pod: ChannelId, id: &str) -> Option<Fault> {
        let live = lock(&self.live).get(id).filter(|live| live.record.pod == pod).cloned();
        if let Some(live) = live {
            live.gone().await;
        }
        self.ended.fault(pod, id)
    }

    /// Scales a pod's failed replicas away.
    pub(crate) fn dismiss_failed(&self, pod: ChannelId) -> Result<(), HostError> {
        self.ended.dismiss(pod)
    }

    pub(crate) fn forget(&self, id: &str) -> Result<(), HostError> {
        self.ended.forget(id)
    }

    /// Reads what every replica used.
    pub(crate) async fn sample(self: &Arc<Self>) -> Result<Vec<Reading>, HostError> {
        self.in_background(Self::sample_now).await?
    }

    fn sample_now(&self) -> Result<Vec<Reading>, HostError> {
        let live: Vec<_> = lock(&self.live).values().cloned().collect();
        let traffic = Network::traffic().doing("read the links' counters")?;
        let now = boot_ms().doing("read the clock")?;
        let mut readings =
            live.iter().map(|live| self.read(live, &traffic, now)).collect::<Result<Vec<_>, _>>()?;
        let ended = self.ended.readings();
        // One that ended meanwhile is read for the last time.
        readings.retain(|reading| !ended.iter().any(|last| last.replica == reading.replica));
        readings.extend(ended);
        Ok(readings)
    }

    fn read(&self, live: &Live, traffic: &HashMap<String, Traffic>, now: u64) -> Result<Reading, HostError> {
        let record = &live.record;
        let started = read_json::<Started>(&self.run_dir.replica(&record.id).started());
        let started = started.doing("read a start")?;
        let running_ms = started.map_or(0, |started| now.saturating_sub(started.boot_ms));
        let traffic = traffic.get(&record.link).copied().unwrap_or_default();
        let cpu_us = self.cgroups.cpu_us(&self.cgroup(&record.id)).doing("read a cgroup")?;
        let seen = live.see(Seen { cpu_us, running_ms, traffic });
        Ok(Reading {
            pod: record.pod,
            replica: record.id.clone(),
            reserved: record.reserved,
            cpu_us: seen.cpu_us,
            running_ms: seen.running_ms,
            ingress: seen.traffic.ingress,
            egress: seen.traffic.egress,
            last: false,
        })
    }

    /// Nothing runs, and no reading is kept.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.live).is_empty() && self.ended.is_empty()
    }

    /// Ends what waits for replicas to come; from now on nothing does.
    pub(crate) async fn close_spares(&self) {
        self.spares.close().await;
    }

    /// Removes the cgroup of all replicas, none of which is left.
    pub(crate) fn close(&self) -> Result<(), HostError> {
        let removed = self.cgroups.remove(&self.config.name.cgroup());
        removed.and_then(|()| self.cgroups.remove_if_empty(CGROUP)).doing("remove the cgroup")
    }

    /// Writes down the end of a replica whose shim has closed its connection, and clears it away.
    fn settle(&self, record: &Record, seen: Seen, child: Option<Child>) {
        if let Some(mut child) = child {
            // Fails only where it was waited for before.
            let _ = child.wait();
        }
        let ended = self.end_of(record, seen);
        match self.ended.write(&ended) {
            Ok(()) => {
                self.clear_away(&record.id, Some(record.link.clone()));
                self.spares.give_back(record.address);
            }
            // The record stays: the next start settles it.
            Err(error) => tracing::error!(%error, replica = record.id, "a last reading is not written"),
        }
        self.ended.show(ended);
    }

    fn end_of(&self, record: &Record, seen: Seen) -> Ended {
        let end: Option<End> = read_json(&self.run_dir.replica(&record.id).end()).unwrap_or_default();
        let end = end.unwrap_or_else(|| End {
            // What nobody saw is not billed.
            running_ms: seen.running_ms,
            ingress: seen.traffic.ingress,
            egress: seen.traffic.egress,
            fault: Some(Fault::passing(
                Who::Provider,
                "shim-killed",
                "the provider's host ended the replica",
            )),
        });
        let group = self.cgroup(&record.id);
        let final_cpu = self.cgroups.remove_below(&group).and_then(|()| self.cgroups.cpu_us(&group));
        if let Err(error) = &final_cpu {
            tracing::error!(%error, replica = record.id, "its last processor time cannot be read");
        }
        Ended {
            id: record.id.clone(),
            pod: record.pod,
            address: record.address,
            reserved: record.reserved,
            cpu_us: final_cpu.unwrap_or_default().max(seen.cpu_us),
            running_ms: end.running_ms.max(seen.running_ms),
            ingress: end.ingress.max(seen.traffic.ingress),
            egress: end.egress.max(seen.traffic.egress),
            unread: true,
            fault: end.fault,
        }
    }

    /// Removes everything of a replica that does not run; its own directory last. What cannot be
    /// removed now is at the next start.
    fn clear_away(&self, id: &str, link: Option<String>) {
        let dir = self.run_dir.replica(id);
        let steps = [
            self.cgroups.remove(&self.cgroup(id)).doing("remove a cgroup"),
            link.map_or(Ok(()), |link| Network::disconnect(&link)).doing("delete a link"),
            self.remove_runtime_state(id),
            remove_all(&self.store.scratch().join(id)),
            remove_all(&dir.0),
        ];
        for error in steps.into_iter().filter_map(Result::err) {
            tracing::error!(%error, replica = id, "something of a replica is left");
        }
    }

    fn remove_runtime_state(&self, id: &str) -> Result<(), HostError> {
        let own = format!("{id}.");
        let names = names_in(self.run_dir.runtime())?;
        let mut states = names.iter().filter(|name| name.starts_with(&own));
        states.try_for_each(|name| remove_all(&self.run_dir.runtime().join(name)))
    }

    /// Writable layers of replicas that a host took along when it went down.
    fn sweep_scratch(&self) -> Result<(), HostError> {
        let live = lock(&self.live);
        let names = names_in(self.store.scratch())?;
        let mut orphans = names.iter().filter(|name| !live.contains_key(*name));
        orphans.try_for_each(|name| remove_all(&self.store.scratch().join(name)))
    }

    fn cgroup(&self, id: &str) -> String {
        format!("{}/{id}", self.config.name.cgroup())
    }

    async fn in_background<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, HostError> {
        let replicas = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&replicas)).await;
        done.map_err(|error| HostError::new("work in the background", error))
    }
}

fn names_in(dir: PathBuf) -> Result<Vec<String>, HostError> {
    let entries = fs::read_dir(&dir).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    entries.doing(format!("list {}", dir.display()))
}

fn no_address() -> EngineError {
    let text = "the provider has no address left for another replica: try again later";
    EngineError::Host(Fault::of(Cause::AddressesUsedUp, text))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
