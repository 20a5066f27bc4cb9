//! What replicas used, read from their nodes' kubelets: when the provider asks, when one ends, and
//! in between, so that little is missed of what ends by itself. Where nodes have readers, these tell the
//! processor time, to the end: see `last_reading.rs`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Weak;
use std::time::{Duration, Instant};

use apocryph_provider::Reading;
use futures::future::join_all;
use tokio::time::sleep;

use crate::entry::Entry;
use crate::replicas::Replicas;
use crate::usage::{Seen, look};

/// How often kubelets are read while anything runs; less often where an answer takes long, so that
/// they are busy with it for no more than a part of their time.
const READ_PERIOD: Duration = Duration::from_secs(1);
const BUSY_PART: u32 = 20;
/// How soon a node that does not answer is asked again.
const UNANSWERED_PAUSE: Duration = Duration::from_secs(10);

/// Reads what runs for as long as there are replicas to look after.
pub(crate) async fn keep_reading(replicas: Weak<Replicas>) {
    loop {
        let Some(all) = replicas.upgrade() else { return };
        let mut changes = all.changes();
        let nodes = all.nodes();
        if nodes.is_empty() {
            drop(all);
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let begun = Instant::now();
        let answered = all.read(nodes.clone()).await.len() == nodes.len();
        drop(all);
        let rest = if answered { READ_PERIOD.max(begun.elapsed() * BUSY_PART) } else { UNANSWERED_PAUSE };
        sleep(rest).await;
    }
}

impl Replicas {
    /// Those with replicas.
    fn nodes(&self) -> BTreeSet<String> {
        let known = self.lock();
        known.values().filter(|entry| !entry.record.ended).filter_map(Entry::node).collect()
    }

    /// Reads all nodes that have replicas, and tells of every replica that has started.
    pub(crate) async fn sample(&self) -> Vec<Reading> {
        self.read(self.nodes()).await;
        let ids: Vec<_> = self.lock().keys().cloned().collect();
        self.write_down(ids);
        let known = self.lock();
        let has_started = |entry: &&Entry| {
            let record = &entry.record;
            record.unread && (record.ended || record.address.is_some())
        };
        let mut readings: Vec<_> = known.values().filter(has_started).map(|e| e.record.reading()).collect();
        readings.sort_by(|a, b| a.replica.cmp(&b.replica));
        readings
    }

    /// Takes in what these nodes' kubelets see, those that answer, by node and the pod's uid; and what
    /// their readers count. It is not written down yet: as long as a replica runs, they say it again.
    pub(crate) async fn read(&self, nodes: BTreeSet<String>) -> HashMap<String, HashMap<String, Seen>> {
        // A question to each, of which none waits for another's answer.
        let counting: Vec<_> = nodes.iter().map(|node| self.count(node)).collect();
        let looking = async {
            let seen = look(&self.cluster, nodes.clone()).await;
            for entry in self.lock().values_mut().filter(|entry| !entry.record.ended) {
                let on_node = entry.node().and_then(|node| seen.get(&node));
                if let Some(seen) = on_node.zip(entry.uid()).and_then(|(pods, uid)| pods.get(&uid)) {
                    entry.see(seen);
                }
            }
            seen
        };
        tokio::join!(looking, join_all(counting)).0
    }

    /// Takes in what a node's reader counts; tells whether it answered.
    pub(crate) async fn count(&self, node: &str) -> bool {
        let Some(readers) = &self.readers else { return false };
        let here = |entry: &Entry| entry.place().filter(|place| place.node == node && !entry.record.ended);
        let pods: Vec<String> = self.lock().values().filter_map(here).map(|place| place.uid).collect();
        let Some(read) = readers.read(node, &pods).await else { return false };
        for entry in self.lock().values_mut() {
            if let Some(reading) = here(entry).and_then(|place| read.get(&place.uid)) {
                entry.count(reading);
            }
        }
        true
    }
}
