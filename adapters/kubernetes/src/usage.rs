//! What replicas use, by the summary of each node's kubelet ("Summary API", `/stats/summary`), which
//! is asked by way of the API server.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::cluster_error::{ClusterError, Doing as _, answer_within};
use crate::pod_state::millis;
use crate::record::Counters;

/// Kubelets that are asked at a time.
const NODES_AT_A_TIME: usize = 16;
/// How long one may take: readings of all others wait for it.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a kubelet saw of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Processor time and traffic; not how long it ran.
    pub(crate) used: Counters,
    /// The latest that any of it was seen, by the node's clock, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// When the whole pod's processor time was read, that of ended containers too.
    pub(crate) whole_at_ms: u64,
    /// When the processor time of every container that runs had been read.
    pub(crate) parts_at_ms: u64,
}

/// By node, and the pod's uid. Nodes that do not answer are left out.
pub(crate) async fn look(
    cluster: &Cluster,
    nodes: BTreeSet<String>,
) -> HashMap<String, HashMap<String, Seen>> {
    let answers = stream::iter(nodes).map(|node| async move { (look_at(cluster, &node).await, node) });
    let answers: Vec<_> = answers.buffer_unordered(NODES_AT_A_TIME).collect().await;
    let mut seen = HashMap::new();
    for (answer, node) in answers {
        match answer {
            Ok(pods) => drop(seen.insert(node, pods)),
            Err(error) => tracing::warn!(%error, node, "a node's pods are not read"),
        }
    }
    seen
}

async fn look_at(cluster: &Cluster, node: &str) -> Result<HashMap<String, Seen>, ClusterError> {
    let doing = || format!("read the summary of node {node}");
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError).doing(doing())?;
    let summary: Summary = answer_within(NODE_TIMEOUT, doing(), cluster.client.request(request)).await?;
    Ok(summary.pods.into_iter().map(PodStats::seen).collect())
}

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    pods: Vec<PodStats>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStats {
    pod_ref: PodRef,
    #[serde(default)]
    containers: Vec<ContainerStats>,
    cpu: Option<Cpu>,
    network: Option<Network>,
}

#[derive(Deserialize)]
struct PodRef {
    uid: String,
}

#[derive(Deserialize)]
struct ContainerStats {
    cpu: Option<Cpu>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Option<Time>,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    rx_bytes: Option<u64>,
    tx_bytes: Option<u64>,
}

impl PodStats {
    /// Kubelets read both every 10 to 20 s, each at times of its own, and nothing makes them do it
    /// sooner; only of containers that are younger than that they ask the runtime. The whole pod's
    /// holds that of ended containers too. Both never exceed what was used.
    fn seen(self) -> (String, Seen) {
        let nanos = |cpu: &Cpu| cpu.usage_core_nano_seconds.unwrap_or_default();
        let time = |cpu: &Cpu| cpu.time.as_ref().map(millis).unwrap_or_default();
        let containers = || self.containers.iter().filter_map(|container| container.cpu.as_ref());
        let whole = self.cpu.as_ref().map(nanos).unwrap_or_default();
        let parts: u64 = containers().map(nanos).fold(0, u64::saturating_add);
        let whole_at_ms = self.cpu.as_ref().map(time).unwrap_or_default();
        let network = self.network.as_ref();
        let used = Counters {
            cpu_us: whole.max(parts) / 1000,
            running_ms: 0,
            ingress: network.and_then(|network| network.rx_bytes).unwrap_or_default(),
            egress: network.and_then(|network| network.tx_bytes).unwrap_or_default(),
        };
        let at_ms = containers().map(time).max().unwrap_or_default().max(whole_at_ms);
        let parts_at_ms = containers().map(time).min().unwrap_or_default();
        (self.pod_ref.uid, Seen { used, at_ms, whole_at_ms, parts_at_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_greater_of_the_whole_and_its_parts_was_used() {
        let cpu = |seconds: u64, nanos: u64| json!({ "time": format!("2026-11-23T10:00:0{seconds}Z"), "usageCoreNanoSeconds": nanos });
        let summary = json!({ "node": {}, "pods": [{
            "podRef": { "name": "r-1", "namespace": "n", "uid": "u-1" },
            "cpu": cpu(1, 3_000_999),
            "containers": [{ "name": "a", "cpu": cpu(4, 2_000_000) }, { "name": "b", "cpu": cpu(5, 2_000_000) }],
            "network": { "name": "eth0", "rxBytes": 5, "txBytes": 6 },
        }, { "podRef": { "uid": "u-2" }, "network": null }] });
        let summary: Summary = serde_json::from_value(summary).unwrap();
        let pods: HashMap<_, _> = summary.pods.into_iter().map(PodStats::seen).collect();
        let one = pods["u-1"];
        assert_eq!(one.used, Counters { cpu_us: 4000, running_ms: 0, ingress: 5, egress: 6 });
        assert_eq!((one.at_ms - one.whole_at_ms, one.at_ms - one.parts_at_ms), (4000, 1000));
        assert_eq!(pods["u-2"], Seen::default());
    }
}
