//! The replicas of all pods: started, watched, ended, and remembered until they are forgotten.
//!
//! ```text
//!  create: record written, Pod created         release, stop: record says so
//!        |                                            |
//!        v                                            v
//!    starting ------> running ----------------> stopping ------> ended: last reading
//!        |               | a container ends,          ^             ^
//!        | refused       v or its node is lost        | Pod deleted |
//!        +--------> failed: told at once --- settled -+- Pod gone --+
//! ```
//!
//! A failed replica is told at once. Its Pod stays until its log is drained and what its ended
//! container used has been read with the whole pod's processor time, for some seconds at most. Where
//! its node has a reader, that is asked after the Pod is gone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use apocryph_model::{Cause, ChannelId, Digest, Fault, Who};
use apocryph_provider::{EngineError, Replica, ReplicaEnd};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::cluster_error::ClusterError;
use crate::entry::Entry;
use crate::labels::{REPLICA, ROLE};
use crate::node_readers::NodeReaders;
use crate::objects::{Prepared, replica};
use crate::pod_logs::PodLogs;
use crate::pod_state::{PodState, started};
use crate::record::{Record, Records};
use crate::watch::Observer;

/// How long no node may have room for a replica until that counts as refused: others may be ending.
const NO_ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// All replicas.
pub(crate) struct Replicas {
    pub(crate) me: Weak<Self>,
    pub(crate) cluster: Cluster,
    pub(crate) records: Records,
    pub(crate) logs: Arc<PodLogs>,
    /// Where nodes have some.
    pub(crate) readers: Option<Arc<dyn NodeReaders>>,
    /// Held by whoever writes records: the newest is written last.
    writing: Mutex<()>,
    known: Mutex<HashMap<String, Entry>>,
    /// Something of `known` has changed, or all has been seen.
    changed: watch::Sender<bool>,
}

impl Replicas {
    pub(crate) fn open(
        cluster: Cluster,
        records: Records,
        logs: Arc<PodLogs>,
        readers: Option<Arc<dyn NodeReaders>>,
    ) -> Result<Arc<Self>, ClusterError> {
        let all = records.all()?.into_iter().map(|record| (record.id.clone(), Entry::known(record)));
        let (known, (changed, _)) = (Mutex::new(all.collect()), watch::channel(false));
        Ok(Arc::new_cyclic(|me| {
            let (me, writing) = (me.clone(), Mutex::default());
            Self { me, cluster, records, logs, readers, writing, known, changed }
        }))
    }

    /// Returns once all pods of the cluster have been seen.
    pub(crate) async fn complete(&self) {
        // The sender lives as long as this.
        let _ = self.changes().wait_for(|complete| *complete).await;
    }

    /// Tells that something has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<bool> {
        self.changed.subscribe()
    }

    /// Creates a replica; its id. It may not run yet.
    pub(crate) async fn create(&self, pod: &Prepared) -> Result<String, ClusterError> {
        let id = format!("r-{:016x}", rand::random::<u64>());
        let record = Record::new(id.clone(), pod.id, pod.namespace.clone(), pod.digest, pod.spec.reserved());
        self.records.put(&record)?;
        self.lock().insert(id.clone(), Entry::to_create(record));
        let created = self.cluster.create_pod(&pod.namespace, replica(&self.cluster.config, pod, &id)).await;
        // Where that failed it may be there all the same.
        self.change(&id, |entry| (entry.creating, entry.record.stopping) = (false, created.is_err()));
        if created.is_err() {
            self.look_after_end(&id);
        }
        created.map(|_| id)
    }

    /// Returns once the replica has been started, or cannot be.
    pub(crate) async fn started(&self, id: &str) -> Result<(), EngineError> {
        let mut changes = self.changes();
        let deadline = Instant::now() + self.cluster.config.start_timeout;
        let mut without_room = None;
        loop {
            let (is_live, state) = match self.with(id, |entry| (entry.is_live(), entry.state())) {
                Some((_, PodState::Refused(error))) => return Err(error),
                Some(seen) => seen,
                None => return Ok(()),
            };
            let PodState::Starting(waiting) = state else { return Ok(()) };
            if !is_live {
                return Ok(());
            }
            let mut until = deadline;
            if waiting.as_ref().and_then(Fault::cause) == Some(Cause::NoRoom) {
                self.hurry(|_| true);
                let since = *without_room.get_or_insert_with(Instant::now);
                until = until.min(since + NO_ROOM_TIMEOUT);
            } else {
                without_room = None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if timeout(left, changes.changed()).await.is_err() {
                return Err(EngineError::Host(waiting.unwrap_or_else(late)));
            }
        }
    }

    /// Replicas that run or are about to, and the specs that they are of.
    pub(crate) fn live(&self, pod: ChannelId) -> Vec<(String, Digest)> {
        let known = self.lock();
        let live = known.values().filter(|entry| entry.record.pod == pod && entry.is_live());
        let mut live: Vec<_> = live.map(|entry| (entry.record.id.clone(), entry.record.spec)).collect();
        // Those that run go first.
        live.sort_by_key(|(id, _)| known.get(id).map(|entry| entry.state() != PodState::Running));
        live
    }

    /// All of which something is in the cluster, failed ones too.
    pub(crate) fn not_ended(&self, pod: ChannelId) -> Vec<String> {
        let known = self.lock();
        let there = known.values().filter(|entry| entry.record.pod == pod && !entry.record.ended);
        there.map(|entry| entry.record.id.clone()).collect()
    }

    /// Those that run, and those that failed and were not scaled away.
    pub(crate) fn of(&self, pod: ChannelId) -> Vec<Replica> {
        let known = self.lock();
        let of_pod = known.values().filter(|entry| entry.record.pod == pod);
        let mut replicas: Vec<_> = of_pod.filter_map(Entry::replica).collect();
        replicas.sort_by(|a, b| a.id.cmp(&b.id));
        replicas
    }

    /// Scales the pod's failed replicas away.
    pub(crate) fn dismiss_failed(&self, pod: ChannelId) {
        let failed = |entry: &&Entry| entry.record.pod == pod && entry.record.end().is_some();
        let failed: Vec<String> = self.lock().values().filter(failed).map(|e| e.record.id.clone()).collect();
        for id in failed {
            self.change(&id, |entry| entry.record.dismiss());
        }
    }

    /// Returns once the replica ends, or is none any more.
    pub(crate) async fn ended(&self, pod: ChannelId, id: &str) -> Option<ReplicaEnd> {
        let mut changes = self.changes();
        loop {
            let seen = self.with(id, |e| (e.record.pod == pod, e.is_live(), e.record.end()));
            match seen {
                Some((true, true, _)) => changes.changed().await.ok()?,
                Some((true, false, end)) => return end,
                _ => return None,
            }
        }
    }

    pub(crate) fn forget(&self, id: &str) {
        self.change(id, |entry| {
            if entry.record.ended {
                entry.record.unread = false;
            }
        });
    }

    /// Changes a record, and writes it down where that makes a difference.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        match self.lock().get_mut(id) {
            Some(entry) => change(entry),
            None => return,
        }
        self.write_down([id.to_owned()]);
        self.changed.send_modify(|_| ());
    }

    /// Makes the files of these replicas say what is known of them; one that nobody wants any more is
    /// forgotten. What cannot be written is written with the next change.
    pub(crate) fn write_down(&self, ids: impl IntoIterator<Item = String>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = self.unwritten(ids);
        records.retain(|record| match self.records.put(record) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, replica = record.id, "a replica's record is not written down");
                false
            }
        });
        let mut known = self.lock();
        for record in records {
            if !record.is_wanted() {
                known.remove(&record.id);
            } else if let Some(entry) = known.get_mut(&record.id) {
                entry.written = Some(record);
            }
        }
    }

    /// What is known of these replicas where their files say something else.
    fn unwritten(&self, ids: impl IntoIterator<Item = String>) -> Vec<Record> {
        let known = self.lock();
        let entries = ids.into_iter().filter_map(|id| known.get(&id));
        let unwritten = entries.filter(|entry| entry.written.as_ref() != Some(&entry.record));
        unwritten.map(|entry| entry.record.clone()).collect()
    }

    pub(crate) fn with<T>(&self, id: &str, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.lock().get(id).map(look)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Replicas {
    fn observe(&self, pod: Arc<Pod>) {
        if pod.labels().get(ROLE).is_none_or(|role| role != REPLICA) {
            return;
        }
        let id = pod.name_any();
        if !self.lock().contains_key(&id) {
            let Some(entry) = Entry::adopt(&pod) else { return };
            self.lock().insert(id.clone(), entry);
        }
        self.change(&id, |entry| entry.observe(&pod));
        if let Some((channel, namespace)) = self.with(&id, |e| (e.record.pod, e.record.namespace.clone())) {
            started(&pod).for_each(|container| self.logs.follow(channel, &namespace, &id, &container));
        }
        self.look_after_end(&id);
    }

    fn gone(&self, pod: Arc<Pod>) {
        let id = pod.name_any();
        self.change(&id, |entry| entry.object = Some(pod));
        if self.with(&id, |_| ()).is_some() {
            self.finish(&id);
        }
    }

    fn complete(&self, there: &HashMap<String, Arc<Pod>>) {
        let missing: HashSet<String> = {
            let known = self.lock();
            let missing = known.values().filter(|entry| {
                !entry.record.ended && !entry.creating && !there.contains_key(&entry.record.id)
            });
            // One that has just been created may be younger than the list.
            let missing = missing.filter(|entry| entry.object.is_none());
            missing.map(|entry| entry.record.id.clone()).collect()
        };
        if !*self.changed.borrow() {
            missing.iter().for_each(|id| self.finish(id));
        }
        self.changed.send_replace(true);
    }
}

fn late() -> Fault {
    Fault::passing(
        Who::Provider,
        "start-late",
        "the provider's cluster did not start the pod in time: try again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::{Bytes, Millicores, Resources};
    use http::{Request, Response};
    use kube::client::Body;
    use std::fs;
    use std::path::Path;
    use tower::service_fn;

    /// Three replicas that stand in the files, of a cluster that does not answer.
    fn three(folder: &Path) -> Arc<Replicas> {
        let config = crate::Config::new("test".parse().unwrap(), folder.into(), "registry.local:5000".into());
        let silent = service_fn(|_: Request<Body>| async {
            Err::<Response<Body>, _>(std::io::Error::from(std::io::ErrorKind::NotConnected))
        });
        let cluster = Cluster { client: kube::Client::new(silent, "default"), config };
        let records = Records::open(folder).unwrap();
        let reserved = Resources { cpu: Millicores(10), memory: Bytes(1), storage: Bytes(0) };
        for id in ["a", "b", "c"] {
            let (pod, spec) = (ChannelId([1; 32]), Digest([2; 32]));
            records.put(&Record::new(id.into(), pod, "n".into(), spec, reserved)).unwrap();
        }
        let logs = Arc::new(PodLogs::new(cluster.clone(), records.clone()));
        Replicas::open(cluster, records, logs, None).unwrap()
    }

    /// Meters so much of each replica, and writes all of them down.
    fn meter(replicas: &Replicas, cpu_us: u64) {
        replicas.lock().values_mut().for_each(|entry| entry.record.used.cpu_us = cpu_us);
        replicas.write_down(["a", "b", "c"].map(str::to_owned));
    }

    /// What a daemon that starts now finds.
    fn found(folder: &Path) -> Vec<(String, u64)> {
        let records = Records::open(folder).unwrap().all().unwrap();
        let mut found: Vec<_> = records.into_iter().map(|r| (r.id, r.used.cpu_us)).collect();
        found.sort();
        found
    }

    #[tokio::test]
    async fn a_metering_writes_what_is_new_and_lets_go_of_what_nobody_wants() {
        let folder = tempfile::tempdir().unwrap();
        let replicas = three(folder.path());
        let done = |entry: &mut Entry| (entry.record.ended, entry.record.unread) = (true, false);
        replicas.lock().get_mut("c").map(done).unwrap();
        meter(&replicas, 7);
        assert_eq!(found(folder.path()), [("a".into(), 7), ("b".into(), 7)]);
        assert!(replicas.with("c", |_| ()).is_none());
        fs::remove_file(folder.path().join("replicas/a.json")).unwrap();
        meter(&replicas, 7);
        assert_eq!(found(folder.path()), [("b".into(), 7)], "what has not changed is not written again");
    }

    #[tokio::test]
    async fn what_cannot_be_written_keeps_nothing_back_and_is_written_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let replicas = three(folder.path());
        let obstacle = folder.path().join("replicas/b.partial");
        fs::create_dir(&obstacle).unwrap();
        meter(&replicas, 7);
        assert_eq!(found(folder.path()), [("a".into(), 7), ("b".into(), 0), ("c".into(), 7)]);
        fs::remove_dir(&obstacle).unwrap();
        meter(&replicas, 7);
        assert_eq!(found(folder.path()), [("a".into(), 7), ("b".into(), 7), ("c".into(), 7)]);
    }
}
