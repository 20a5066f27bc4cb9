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
                    let mut last = None;
                    // Where the time is up, what was told until then counts.
                    let _ = timeout(LAST_READING_TIMEOUT, read_last(readers, &place, &mut last)).await;
                    if let Some(replicas) = me.upgrade() {
                        replicas.end(&id, last);
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

/// Reads what the Pod used until that is all, or nobody knows; `last` is what was told last.
async fn read_last(readers: Arc<dyn NodeReaders>, place: &Place, last: &mut Option<NodeReading>) {
    loop {
        match readers.read(&place.node, std::slice::from_ref(&place.uid)).await {
            Some(read) => {
                let reading = read.get(&place.uid).copied();
                *last = reading.or(*last);
                if reading.is_none_or(|reading| !reading.there) {
                    return;
                }
            }
            None if readers.returned(&place.node).await => {}
            None => return,
        }
        sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use crate::config::Config;
    use crate::pod_logs::PodLogs;
    use crate::record::{Counters, Record, Records};
    use apocryph_model::{Bytes, ChannelId, Digest, Millicores, Resources};
    use async_trait::async_trait;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use std::collections::HashMap;
    use std::convert::Infallible;
    use std::future::pending;
    use tower::service_fn;

    const KNOWN: Counters = Counters { cpu_us: 123, running_ms: 45, ingress: 6, egress: 7 };
    /// What readers tell of a Pod that does not end.
    const GOES_ON: NodeReading = NodeReading { cpu_us: 500, there: true, whole: false };

    /// How a node's reader fails.
    #[derive(Debug, Clone, Copy)]
    enum Reader {
        NeverAnswers,
        ComesAndGoes,
        SeesNoEnd,
    }

    #[async_trait]
    impl NodeReaders for Reader {
        async fn read(&self, _: &str, pods: &[String]) -> Option<HashMap<String, NodeReading>> {
            match self {
                Self::NeverAnswers => pending().await,
                Self::ComesAndGoes => None,
                Self::SeesNoEnd => Some(pods.iter().map(|pod| (pod.clone(), GOES_ON)).collect()),
            }
        }

        async fn returned(&self, _: &str) -> bool {
            true
        }
    }

    /// What is billed of processor time where the node's reader does not tell the end.
    async fn billed(reader: Reader) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new("test".parse().unwrap(), dir.path().into(), "registry.local:5000".into());
        let nobody =
            service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let cluster = Cluster { client: Client::new(nobody, "default"), config };
        let records = Records::open(dir.path()).unwrap();
        let reserved = Resources { cpu: Millicores(10), memory: Bytes(1), storage: Bytes(0) };
        let (pod, spec) = (ChannelId([1; 32]), Digest([2; 32]));
        let mut record = Record::new("r-1".into(), pod, "n".into(), spec, reserved);
        record.place = Some(Place { node: "node".into(), uid: "uid".into() });
        (record.used, record.stopping) = (KNOWN, true);
        records.put(&record).unwrap();

        let logs = Arc::new(PodLogs::new(cluster.clone(), records.clone()));
        let replicas = Replicas::open(cluster, records.clone(), logs, Some(Arc::new(reader))).unwrap();
        let mut changes = replicas.changes();
        replicas.finish("r-1");
        let ended = async {
            while replicas.with("r-1", |entry| !entry.record.ended).unwrap() {
                changes.changed().await.unwrap();
            }
        };
        timeout(LAST_READING_TIMEOUT * 2, ended).await.expect("it is given up");
        let reading = replicas.sample().await.remove(0);
        let told = (reading.running_ms, reading.ingress, reading.egress, reading.last);
        assert_eq!(told, (KNOWN.running_ms, KNOWN.ingress, KNOWN.egress, true), "{reader:?}");
        replicas.forget("r-1");
        assert_eq!(records.all().unwrap(), [], "{reader:?}: its record goes");
        reading.cpu_us
    }

    #[tokio::test]
    async fn a_reader_that_never_tells_the_end_is_given_up_and_what_is_known_is_billed() {
        use Reader::{ComesAndGoes, NeverAnswers, SeesNoEnd};
        let billed = tokio::join!(billed(NeverAnswers), billed(ComesAndGoes), billed(SeesNoEnd));
        assert_eq!(billed, (KNOWN.cpu_us, KNOWN.cpu_us, GOES_ON.cpu_us));
    }
}
