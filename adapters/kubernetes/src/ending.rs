//! The end of replicas. All that wants to end ends, whatever fails meanwhile: it is asked for until
//! the API server has taken it.
//!
//! What a replica used in the end is read before its Pod goes: with its Pod goes its cgroup. Kubelets
//! read processor time every 10 to 20 s, so one that is of no use any more stays for that long, at
//! most, where nobody waits for its end; its time is not billed from then on. Where its node has a
//! reader it need not stay.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use apocryph_model::ChannelId;
use tokio::time::{sleep, timeout};

use crate::cluster_error::ClusterError;
use crate::entry::Entry;
use crate::pod_state::{has_ended, has_running, lifetime, started};
use crate::replicas::Replicas;
use crate::usage::Seen;

/// How long the kubelet may take, beyond the grace, until a stopped pod is gone.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a replica that is to end is kept for its log and its last reading.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
const SETTLE_PERIOD: Duration = Duration::from_secs(1);
/// How soon an end is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

impl Replicas {
    /// Lets go of the replica: it is none any more, is not billed for its time any more, and ends
    /// once its last reading is there, or [`Replicas::stop`] is called.
    pub(crate) fn release(&self, id: &str) {
        self.change(id, |entry| {
            if !entry.record.stopping {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                entry.record.released_ms = u64::try_from(now.as_millis()).ok();
            }
            entry.record.stopping = true;
        });
        self.look_after_end(id);
    }

    /// Has those of some pods that are of no use any more end at once, whatever there is to be
    /// learned from them.
    pub(crate) fn hurry(&self, pods: impl Fn(ChannelId) -> bool) {
        let waits = |entry: &&mut Entry| {
            !entry.is_live() && !entry.record.ended && !entry.at_once && pods(entry.record.pod)
        };
        let waiting: Vec<_> = {
            let mut known = self.lock();
            known.values_mut().filter(waits).map(|entry| entry.record.id.clone()).collect()
        };
        for id in waiting {
            self.change(&id, |entry| entry.at_once = true);
        }
    }

    /// Those that are there, and are to end.
    pub(crate) fn of_no_use(&self) -> Vec<String> {
        let known = self.lock();
        let of_no_use = known.values().filter(|entry| !entry.is_live() && !entry.record.ended);
        of_no_use.map(|entry| entry.record.id.clone()).collect()
    }

    /// Reads the replica's counters a last time and ends it; returns once it is gone.
    pub(crate) async fn stop(&self, id: &str) -> Result<(), ClusterError> {
        let Some(node) = self.with(id, Entry::node) else { return Ok(()) };
        self.change(id, |entry| (entry.record.stopping, entry.at_once) = (true, true));
        self.read(node.into_iter().collect()).await;
        if let Err(error) = self.delete(id).await {
            self.look_after_end(id);
            return Err(error);
        }
        let mut changes = self.changes();
        let patience = self.cluster.config.stop_grace + END_TIMEOUT;
        let deadline = Instant::now() + patience;
        while self.with(id, |entry| !entry.record.ended) == Some(true) {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, changes.changed()).await.is_err() {
                let node = self.with(id, Entry::node).flatten().unwrap_or_default();
                let what = format!("the end of replica {id} on node {node}");
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
            self.finish(id);
        }
        Ok(())
    }

    /// Sees to the end of a replica that is to end, and that nobody sees to.
    pub(crate) fn look_after_end(&self, id: &str) {
        let due = |entry: &mut Entry| {
            let wanted = !entry.is_live() && !entry.gone && !entry.record.ended;
            let due = wanted && !entry.ending && !entry.creating && !entry.is_deleted();
            entry.ending |= due;
            due
        };
        if !self.lock().get_mut(id).is_some_and(due) {
            return;
        }
        let (me, id) = (self.me.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Some(replicas) = me.upgrade()
                && timeout(SETTLE_TIMEOUT, replicas.settle(&id)).await.is_err()
            {
                tracing::debug!(replica = id, "what a replica used in the end was not seen");
            }
            while let Some(replicas) = me.upgrade() {
                let Err(error) = replicas.delete(&id).await else { return };
                tracing::warn!(%error, replica = id, "a replica that is to end is still there");
                drop(replicas);
                sleep(AGAIN).await;
            }
        });
    }

    /// Returns once nothing more is to be learned from a replica, or it is to end at once.
    async fn settle(&self, id: &str) {
        let Some(object) = self.with(id, |entry| entry.object.clone()).flatten() else { return };
        if !has_running(&object) {
            // Its cgroup is gone: what was read before is all there is.
            let ended: Vec<String> = started(&object).collect();
            return self.logs.drained(id, &ended).await;
        }
        let Some((uid, node)) = self.with(id, |entry| entry.uid().zip(entry.node())).flatten() else {
            return;
        };
        if self.count(&node).await {
            let ended: Vec<String> = started(&object).filter(|name| has_ended(&object, name)).collect();
            return self.logs.drained(id, &ended).await;
        }
        let released = self.with(id, |entry| entry.record.released_ms).flatten();
        // Ends are told in whole seconds.
        let ended = lifetime(&object).1.map(|end| end + 1000);
        let since = ended.max(released).unwrap_or_default();
        while self.with(id, |entry| entry.at_once) == Some(false) {
            let seen = self.read(BTreeSet::from([node.clone()])).await;
            let seen = seen.get(&node).and_then(|pods| pods.get(&uid));
            let is_read =
                |seen: &Seen| seen.whole_at_ms > since || (ended.is_none() && seen.parts_at_ms > since);
            if seen.is_some_and(is_read) {
                return;
            }
            let _ = timeout(SETTLE_PERIOD, self.hurried(id)).await;
        }
    }

    /// Returns once the replica is to end at once.
    async fn hurried(&self, id: &str) {
        let hurried = |_: &bool| self.with(id, |entry| entry.at_once) != Some(false);
        // The sender lives as long as this.
        let _ = self.changes().wait_for(hurried).await;
    }
}
