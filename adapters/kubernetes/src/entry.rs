//! What is known of one replica: its record, and its Pod as it was seen last.

use std::sync::Arc;

use apocryph_model::{Fault, Resources, Who};
use apocryph_provider::Replica;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::labels::{CHANNEL, RESERVED, SPEC};
use crate::node_readers::NodeReading;
use crate::pod_state::{PodState, has_grace, has_running, lifetime};
use crate::record::{Counters, Place, Record};
use crate::usage::Seen;

/// One replica.
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// As it is in the daemon's files.
    pub(crate) written: Option<Record>,
    /// As it was seen last.
    pub(crate) object: Option<Arc<Pod>>,
    /// Whether the API server was asked to create it and has not answered.
    pub(crate) creating: bool,
    /// Whether nothing of it is in the cluster any more, though its last reading may be missing.
    pub(crate) gone: bool,
    /// Whether a task looks after its end.
    pub(crate) ending: bool,
    /// Whether its end does not wait for anything that is yet to be learned from it.
    pub(crate) at_once: bool,
}

impl Entry {
    /// One that stands in the daemon's files.
    pub(crate) fn known(record: Record) -> Self {
        Self { written: Some(record.clone()), ..Self::new(record) }
    }

    /// One that the API server is about to be asked for; it stands in the files.
    pub(crate) fn to_create(record: Record) -> Self {
        Self { creating: true, ..Self::known(record) }
    }

    fn new(record: Record) -> Self {
        Self {
            record,
            written: None,
            object: None,
            creating: false,
            gone: false,
            ending: false,
            at_once: false,
        }
    }

    /// The record of a replica whose file is lost, from its Pod.
    pub(crate) fn adopt(pod: &Pod) -> Option<Self> {
        let annotation = |name: &str| pod.annotations().get(name);
        let reserved: Resources = serde_json::from_str(annotation(RESERVED)?).ok()?;
        let channel = annotation(CHANNEL)?.parse().ok()?;
        let spec = format!("sha256:{}", annotation(SPEC)?).parse().ok()?;
        Some(Self::new(Record::new(pod.name_any(), channel, pod.namespace()?, spec, reserved)))
    }

    pub(crate) fn state(&self) -> PodState {
        self.object.as_ref().map_or(PodState::Starting(None), |pod| PodState::of(pod))
    }

    /// Counts as a replica of its pod's.
    pub(crate) fn is_live(&self) -> bool {
        !self.record.ended && !self.record.stopping && self.record.end().is_none()
    }

    /// Whether the cluster was asked to end it, by whomever.
    pub(crate) fn is_deleted(&self) -> bool {
        self.object.as_ref().is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    /// Of one that was put on a node.
    pub(crate) fn place(&self) -> Option<Place> {
        self.record.place.clone()
    }

    pub(crate) fn node(&self) -> Option<String> {
        Some(self.record.place.as_ref()?.node.clone())
    }

    pub(crate) fn uid(&self) -> Option<String> {
        self.object.as_ref()?.metadata.uid.clone()
    }

    /// As the provider sees it.
    pub(crate) fn replica(&self) -> Option<Replica> {
        let end = self.record.end();
        let runs = self.is_live() && self.state() == PodState::Running;
        let address = self.record.address.filter(|_| runs || end.is_some())?;
        Some(Replica { id: self.record.id.clone(), address, end })
    }

    /// Takes in the Pod as it is now.
    pub(crate) fn observe(&mut self, pod: &Arc<Pod>) {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
        self.record.address = address.or(self.record.address);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        if let (Some(node), Some(uid)) = (node, pod.metadata.uid.clone()) {
            self.record.place = Some(Place { node, uid });
        }
        self.object = Some(pod.clone());
        if self.is_live() {
            match PodState::of(pod) {
                PodState::Ended(fault) => self.record.fault = Some(fault),
                // Whoever did this was not this engine: a drained node, one that is lost.
                _ if self.is_deleted() && has_grace(pod) && has_running(pod) => self.record.leaving = true,
                _ if self.is_deleted() => self.record.fault = Some(lost()),
                _ => {}
            }
        }
        self.see_end();
    }

    /// Nothing of the replica is in the cluster any more.
    pub(crate) fn leave(&mut self) {
        self.see_end();
        if self.is_live() {
            self.record.fault = Some(lost());
        }
    }

    /// Takes in what its node's reader counted.
    pub(crate) fn count(&mut self, reading: &NodeReading) {
        let counted = Counters { cpu_us: reading.cpu_us, ..Counters::default() };
        self.record.used = self.record.used.max(counted);
    }

    /// Takes in what a kubelet saw. How long it ran is by the node's own clock.
    pub(crate) fn see(&mut self, seen: &Seen) {
        let start = self.object.as_ref().and_then(|pod| lifetime(pod).0);
        let running_ms = start.map_or(0, |start| self.billed_until(seen.at_ms).saturating_sub(start));
        self.record.used = self.record.used.max(Counters { running_ms, ..seen.used });
    }

    /// Takes in how long it ran in the end.
    fn see_end(&mut self) {
        let lifetime = self.object.as_ref().map(|pod| lifetime(pod));
        if let Some((Some(start), Some(end))) = lifetime {
            let running_ms = self.billed_until(end).saturating_sub(start);
            self.record.used = self.record.used.max(Counters { running_ms, ..Counters::default() });
        }
    }

    fn billed_until(&self, time_ms: u64) -> u64 {
        self.record.released_ms.map_or(time_ms, |released| released.min(time_ms))
    }
}

fn lost() -> Fault {
    Fault::passing(Who::Provider, "replica-lost", "the provider's cluster lost the replica: start it again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::{Bytes, ChannelId, Digest, Millicores};
    use apocryph_provider::ReplicaEnd;
    use serde_json::json;

    #[test]
    fn what_others_end_is_leaving_while_it_is_given_time() {
        let end = |grace: u64| {
            let pod = json!({
                "metadata": {
                    "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace,
                },
                "status": { "phase": "Running", "containerStatuses": [{
                    "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } },
                }] },
            });
            let pod = Arc::new(serde_json::from_value(pod).unwrap());
            let reserved =
                Resources { cpu: Millicores(250), memory: Bytes(1 << 20), storage: Bytes(1 << 20) };
            let (channel, spec) = (ChannelId([1; 32]), Digest([2; 32]));
            let record = Record::new("replica".into(), channel, "n".into(), spec, reserved);
            let mut entry = Entry::new(record);
            entry.observe(&pod);
            entry.record.end()
        };
        assert_eq!(end(30), Some(ReplicaEnd::Leaving));
        assert_eq!(end(0), Some(ReplicaEnd::Failed(lost())), "the API server forgets it at once");
    }
}
