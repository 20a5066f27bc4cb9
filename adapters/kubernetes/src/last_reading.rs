//! What a replica used in the end, where its node has a reader: it knows that when the cluster has
//! nothing of the replica any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::node_readers::{NodeReaders, NodeReading};
use crate::record::Place;
use crate::replicas::Replicas;

/// How long the end of a replica may take to be counted: its Pod may have been taken out of the API
/// before its end, and its reader may be away.
const LAST_READING_TIMEOUT: Duration = Duration::from_secs(20);
/// How soon a cgroup that is still there is looked at again.
const AGAIN: Duration = Duration::from_millis(100);

impl Replicas {
    /// Nothing of the replica is in the cluster any more. It has ended once its last reading is there,
    /// or cannot be had.
    pub(crate) fn finish(&self, id: &str) {
        let mut first = false;
        self.change(id, |entry| {
            first = !std::mem::replace(&mut entry.gone, true) && !entry.record.ended;
            entry.leave();
        });
        self.logs.release(id);
        let place = self.with(id, |entry| entry.place()).flatten();
        match (self.readers.clone(), place) {
            _ if !first => {}
            (Some(readers), Some(place)) => {
                let (me, id) = (self.me.clone(), id.to_owned());
                tokio::spawn(async move {
                    let last = timeout(LAST_READING_TIMEOUT, read_last(readers, &place)).await;
                    if let Some(replicas) = me.upgrade() {
                        replicas.end(&id, last.ok().flatten());
                    }
                });
            }
            _ => self.change(id, |entry| entry.record.ended = true),
        }
    }

    fn end(&self, id: &str, last: Option<NodeReading>) {
        let seen = match last {
            Some(reading) if reading.whole => "whole",
            Some(_) => "part",
            None => "none",
        };
        metrics::counter!("apocryph_last_readings_total", "seen" => seen).increment(1);
        if last.is_none() {
            tracing::warn!(replica = id, "its node's reader does not tell what a replica used in the end");
        }
        self.change(id, |entry| {
            last.iter().for_each(|reading| entry.count(reading));
            entry.record.ended = true;
        });
    }
}

/// What the Pod used in all; `None` where nobody knows.
async fn read_last(readers: Arc<dyn NodeReaders>, place: &Place) -> Option<NodeReading> {
    loop {
        match readers.read(&place.node, std::slice::from_ref(&place.uid)).await {
            Some(read) => match read.get(&place.uid) {
                Some(reading) if reading.there => sleep(AGAIN).await,
                known => return known.copied(),
            },
            None if readers.returned(&place.node).await => sleep(AGAIN).await,
            None => return None,
        }
    }
}
