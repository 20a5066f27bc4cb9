//! The replicas of all pods: started, watched, stopped, and remembered until they are forgotten.
//!
//! ```text
//!  launch: record written, Pod created          stop: record says so, Pod deleted
//!        |                                            |
//!        v                                            v
//!    starting ------> running ----------------> stopping ------> ended: last reading
//!        |               | a container ends           ^             ^
//!        | refused       v                            |             |
//!        +--------> failed: told at once --- settled -+- Pod gone --+
//! ```
//!
//! A failed replica is told at once. Its Pod stays until its log is drained and what its ended
//! container used has been read with the whole pod's processor time, for some seconds at most.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use apocryph_model::{ChannelId, Digest, Fault, Resources, Who};
use apocryph_provider::{EngineError, Reading, Replica, ReplicaState};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::cluster_error::ClusterError;
use crate::labels::{CHANNEL, REPLICA, RESERVED, ROLE, SPEC};
use crate::objects::{Prepared, replica};
use crate::pod_logs::PodLogs;
use crate::pod_state::{PodState, has_running, lifetime, started};
use crate::record::{Counters, Record, Records};
use crate::usage::{Seen, look};
use crate::watch::Observer;

/// How long the kubelet may take, beyond the grace, until a stopped pod is gone.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a failed replica is kept for its log and its last reading: kubelets read a whole pod's
/// processor time every 10 to 15 s.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);
const SETTLE_PERIOD: Duration = Duration::from_secs(1);

/// All replicas.
pub(crate) struct Replicas {
    me: Weak<Self>,
    cluster: Cluster,
    records: Records,
    logs: Arc<PodLogs>,
    known: Mutex<HashMap<String, Entry>>,
    /// Something of `known` has changed, or all has been seen.
    changed: watch::Sender<bool>,
}

struct Entry {
    record: Record,
    /// As it was seen last.
    object: Option<Arc<Pod>>,
    /// Whether the API server was asked to create it and has not answered.
    creating: bool,
    /// Whether a task looks after its end.
    ending: bool,
}

impl Entry {
    fn state(&self) -> PodState {
        self.object.as_ref().map_or(PodState::Starting(None), |pod| PodState::of(pod))
    }

    /// Counts as a replica of its pod's.
    fn is_live(&self) -> bool {
        !self.record.ended && !self.record.stopping && self.record.fault.is_none()
    }

    fn node(&self) -> Option<String> {
        self.object.as_ref()?.spec.as_ref()?.node_name.clone()
    }

    fn uid(&self) -> Option<String> {
        self.object.as_ref()?.metadata.uid.clone()
    }

    fn replica(&self) -> Option<Replica> {
        let state = match (&self.record.fault, self.is_live(), self.state()) {
            (Some(fault), ..) => ReplicaState::Failed(fault.clone()),
            (None, true, PodState::Running) => ReplicaState::Running,
            _ => return None,
        };
        Some(Replica { id: self.record.id.clone(), address: self.record.address?, state })
    }

    /// Takes in what a kubelet saw. How long it ran is by the node's own clock.
    fn see(&mut self, seen: &Seen) {
        let start = self.object.as_ref().and_then(|pod| lifetime(pod).0);
        let running_ms = start.map_or(0, |start| seen.at_ms.saturating_sub(start));
        self.record.used = self.record.used.max(Counters { running_ms, ..seen.used });
    }

    /// Takes in how long it ran in the end.
    fn see_end(&mut self) {
        let lifetime = self.object.as_ref().map(|pod| lifetime(pod));
        if let Some((Some(start), Some(end))) = lifetime {
            let running_ms = end.saturating_sub(start);
            self.record.used = self.record.used.max(Counters { running_ms, ..Counters::default() });
        }
    }
}

impl Replicas {
    pub(crate) fn open(
        cluster: Cluster,
        records: Records,
        logs: Arc<PodLogs>,
    ) -> Result<Arc<Self>, ClusterError> {
        let entry = |record: Record| {
            (record.id.clone(), Entry { record, object: None, creating: false, ending: false })
        };
        let known = Mutex::new(records.all()?.into_iter().map(entry).collect());
        let (changed, _) = watch::channel(false);
        Ok(Arc::new_cyclic(|me| Self { me: me.clone(), cluster, records, logs, known, changed }))
    }

    /// Returns once all pods of the cluster have been seen.
    pub(crate) async fn complete(&self) {
        // The sender lives as long as this.
        let _ = self.changed.subscribe().wait_for(|complete| *complete).await;
    }

    /// Creates a replica; its id. It may not run yet.
    pub(crate) async fn create(&self, pod: &Prepared) -> Result<String, ClusterError> {
        let id = format!("r-{:016x}", rand::random::<u64>());
        let record = Record {
            id: id.clone(),
            pod: pod.id,
            namespace: pod.namespace.clone(),
            spec: pod.digest,
            reserved: pod.spec.reserved(),
            address: None,
            used: Counters::default(),
            stopping: false,
            fault: None,
            ended: false,
            unread: true,
        };
        self.records.put(&record)?;
        self.lock().insert(id.clone(), Entry { record, object: None, creating: true, ending: false });
        let created = self.cluster.create_pod(&pod.namespace, replica(&self.cluster.config, pod, &id)).await;
        self.change(&id, |entry| entry.creating = false);
        if let Err(error) = created {
            // It may be there all the same; then it is stopped as soon as it is seen.
            self.change(&id, |entry| entry.record.stopping = true);
            self.end_unseen(&id).await;
            return Err(error);
        }
        Ok(id)
    }

    /// Makes sure that a replica whose creation failed does not stay.
    async fn end_unseen(&self, id: &str) {
        let Some(namespace) = self.with(id, |entry| entry.record.namespace.clone()) else { return };
        if let Ok(false) = self.cluster.delete_pod(&namespace, id, None, 0).await {
            self.finish(id, |record| record.unread = false);
        }
    }

    /// Returns once the replica has been started, or cannot be.
    pub(crate) async fn started(&self, id: &str) -> Result<(), EngineError> {
        let mut changes = self.changed.subscribe();
        let deadline = Instant::now() + self.cluster.config.start_timeout;
        loop {
            match self.with(id, |entry| (entry.is_live(), entry.state())) {
                Some((_, PodState::Refused(error))) => return Err(error),
                Some((true, PodState::Starting(waiting))) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if timeout(left, changes.changed()).await.is_err() {
                        return Err(EngineError::Host(waiting.unwrap_or_else(late)));
                    }
                }
                _ => return Ok(()),
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
        let failed = |entry: &&Entry| entry.record.pod == pod && entry.record.fault.is_some();
        let failed: Vec<String> = self.lock().values().filter(failed).map(|e| e.record.id.clone()).collect();
        for id in failed {
            self.change(&id, |entry| {
                entry.record.fault = None;
                entry.record.stopping = true;
            });
        }
    }

    /// Reads the replica's counters a last time and ends it; returns once it is gone.
    pub(crate) async fn stop(&self, id: &str) -> Result<(), ClusterError> {
        let Some(node) = self.with(id, Entry::node) else { return Ok(()) };
        self.change(id, |entry| entry.record.stopping = true);
        self.read(node.into_iter().collect()).await;
        self.delete(id).await?;
        let mut changes = self.changed.subscribe();
        let patience = self.cluster.config.stop_grace + END_TIMEOUT;
        let deadline = Instant::now() + patience;
        while self.with(id, |entry| !entry.record.ended) == Some(true) {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, changes.changed()).await.is_err() {
                let what = format!("the end of replica {id}");
                return Err(ClusterError::Late { what, seconds: patience.as_secs() });
            }
        }
        Ok(())
    }

    async fn delete(&self, id: &str) -> Result<(), ClusterError> {
        let Some((namespace, uid)) = self.with(id, |e| (e.record.namespace.clone(), e.uid())) else {
            return Ok(());
        };
        let grace = self.cluster.config.grace_seconds();
        if !self.cluster.delete_pod(&namespace, id, uid, grace).await? {
            // The watch will tell, but what was never created it tells nothing of.
            self.finish(id, |_| ());
        }
        Ok(())
    }

    /// Returns once the replica has ended.
    pub(crate) async fn ended(&self, pod: ChannelId, id: &str) -> Option<Fault> {
        let mut changes = self.changed.subscribe();
        loop {
            let entry = self.with(id, |e| (e.record.pod == pod, e.record.fault.clone(), e.record.ended));
            match entry {
                Some((true, None, false)) => changes.changed().await.ok()?,
                Some((true, fault, _)) => return fault,
                _ => return None,
            }
        }
    }

    /// Reads all nodes that have replicas, and tells of every replica that has started.
    pub(crate) async fn sample(&self) -> Vec<Reading> {
        let nodes = {
            let known = self.lock();
            let there = known.values().filter(|entry| !entry.record.ended);
            there.filter_map(Entry::node).collect()
        };
        self.read(nodes).await;
        let known = self.lock();
        let has_started = |entry: &&Entry| {
            let record = &entry.record;
            record.unread && (record.ended || record.address.is_some())
        };
        let mut readings: Vec<_> = known.values().filter(has_started).map(|e| e.record.reading()).collect();
        readings.sort_by(|a, b| a.replica.cmp(&b.replica));
        readings
    }

    pub(crate) fn forget(&self, id: &str) {
        self.change(id, |entry| {
            if entry.record.ended {
                entry.record.unread = false;
            }
        });
    }

    /// Takes in what these nodes' kubelets see.
    async fn read(&self, nodes: BTreeSet<String>) -> HashMap<String, Seen> {
        let seen = look(&self.cluster, nodes).await;
        let uids = |entry: &Entry| entry.uid().filter(|_| !entry.record.ended);
        let there: Vec<(String, String)> =
            self.lock().iter().filter_map(|(id, entry)| Some((id.clone(), uids(entry)?))).collect();
        for (id, uid) in there {
            if let Some(seen) = seen.get(&uid) {
                self.change(&id, |entry| entry.see(seen));
            }
        }
        seen
    }

    /// Changes a record, and writes it down where that makes a difference.
    fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        let mut known = self.lock();
        let Some(entry) = known.get_mut(id) else { return };
        let before = entry.record.clone();
        change(entry);
        if entry.record != before
            && let Err(error) = self.records.put(&entry.record)
        {
            tracing::error!(%error, replica = id, "a replica's record is not written down");
        }
        if !entry.record.is_wanted() {
            known.remove(id);
        }
        drop(known);
        self.changed.send_modify(|_| ());
    }

    /// Nothing of the replica is in the cluster any more.
    fn finish(&self, id: &str, change: impl FnOnce(&mut Record)) {
        self.change(id, |entry| {
            entry.see_end();
            if !entry.record.stopping && entry.record.fault.is_none() {
                entry.record.fault = Some(lost());
            }
            entry.record.ended = true;
            change(&mut entry.record);
        });
        self.logs.release(id);
    }

    fn with<T>(&self, id: &str, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.lock().get(id).map(look)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to end a replica that has failed, or was told to end by a daemon that is gone.
    fn look_after_end(&self, id: &str) {
        let due = |entry: &mut Entry| {
            let gone_wrong = entry.record.fault.is_some() || entry.record.stopping;
            let deleted = entry.object.as_ref().is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
            let due = gone_wrong && !entry.ending && !entry.creating && !deleted;
            entry.ending |= due;
            due
        };
        if !self.lock().get_mut(id).is_some_and(due) {
            return;
        }
        let (me, id) = (self.me.clone(), id.to_owned());
        tokio::spawn(async move {
            let Some(replicas) = me.upgrade() else { return };
            let settled = timeout(SETTLE_TIMEOUT, replicas.settle(&id)).await;
            if settled.is_err() {
                tracing::debug!(replica = id, "what a replica used in the end was not seen");
            }
            if let Err(error) = replicas.delete(&id).await {
                tracing::warn!(%error, replica = id, "an ended replica is still there");
                replicas.change(&id, |entry| entry.ending = false);
            }
        });
    }

    /// Returns once nothing more is to be learned from a failed replica, or it is to end at once.
    async fn settle(&self, id: &str) {
        let Some(object) = self.with(id, |entry| entry.object.clone()).flatten() else { return };
        let ended: Vec<String> = started(&object).collect();
        if !has_running(&object) {
            // Its cgroup is gone: what was read before is all there is.
            return self.logs.drained(id, &ended).await;
        }
        let end = lifetime(&object).1.unwrap_or_default();
        let (Some(uid), Some(node)) = (object.uid(), self.with(id, Entry::node).flatten()) else { return };
        while self.with(id, |entry| entry.record.stopping) == Some(false) {
            let seen = self.read(BTreeSet::from([node.clone()])).await;
            // Ends are told in whole seconds.
            if seen.get(&uid).is_some_and(|seen| seen.whole_at_ms > end + 1000) {
                return;
            }
            tokio::time::sleep(SETTLE_PERIOD).await;
        }
    }
}

impl Observer for Replicas {
    fn observe(&self, pod: Arc<Pod>) {
        if pod.labels().get(ROLE).is_none_or(|role| role != REPLICA) {
            return;
        }
        let id = pod.name_any();
        if !self.lock().contains_key(&id) {
            let Some(record) = adopt(&pod) else { return };
            self.lock().insert(id.clone(), Entry { record, object: None, creating: false, ending: false });
        }
        self.change(&id, |entry| {
            let record = &mut entry.record;
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
            record.address = address.or(record.address);
            if let PodState::Ended(fault) = PodState::of(&pod)
                && !record.stopping
                && record.fault.is_none()
            {
                record.fault = Some(fault);
            }
            entry.object = Some(pod.clone());
            entry.see_end();
        });
        if let Some((channel, namespace)) = self.with(&id, |e| (e.record.pod, e.record.namespace.clone())) {
            started(&pod).for_each(|container| self.logs.follow(channel, &namespace, &id, &container));
        }
        self.look_after_end(&id);
    }

    fn gone(&self, pod: Arc<Pod>) {
        let id = pod.name_any();
        self.change(&id, |entry| entry.object = Some(pod));
        if self.with(&id, |_| ()).is_some() {
            self.finish(&id, |_| ());
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
            missing.iter().for_each(|id| self.finish(id, |_| ()));
        }
        self.changed.send_replace(true);
    }
}

/// The record of a replica whose file is lost, from its Pod.
fn adopt(pod: &Pod) -> Option<Record> {
    let annotation = |name: &str| pod.annotations().get(name);
    let reserved: Resources = serde_json::from_str(annotation(RESERVED)?).ok()?;
    Some(Record {
        id: pod.name_any(),
        pod: annotation(CHANNEL)?.parse().ok()?,
        namespace: pod.namespace()?,
        spec: format!("sha256:{}", annotation(SPEC)?).parse().ok()?,
        reserved,
        address: None,
        used: Counters::default(),
        stopping: false,
        fault: None,
        ended: false,
        unread: true,
    })
}

fn lost() -> Fault {
    Fault::passing(Who::Provider, "replica-lost", "the provider's cluster lost the replica: start it again")
}

fn late() -> Fault {
    Fault::passing(
        Who::Provider,
        "start-late",
        "the provider's cluster did not start the pod in time: try again",
    )
}
