//! What a pod may hold of the cluster.

use apocryph_model::{PodSpec, VolumeKind};
use serde_json::{Value, json};

use super::{cores, quantity};

/// Replicas that may be there beside the wanted ones, for the time that others take to end.
const ENDING: u64 = 2;
/// For the pods that have nodes pull images, all together.
const PULL_CORES: u64 = 1000;
const PULL_BYTES: u64 = 1 << 30;

/// What opens a way in, or makes pods by itself.
const NONE: [&str; 11] = [
    "count/cronjobs.batch",
    "count/daemonsets.apps",
    "count/deployments.apps",
    "count/ingresses.networking.k8s.io",
    "count/jobs.batch",
    "count/replicasets.apps",
    "count/replicationcontrollers",
    "count/statefulsets.apps",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// Bounds the sum over all of the pod's replicas. Nothing in a replica can speak to the API server;
/// this holds against mistakes.
pub(super) fn quota(spec: &PodSpec, nodes: u32, metadata: Value) -> Value {
    let replicas = u64::from(spec.scale.max) + ENDING;
    let reserved = spec.reserved();
    let claims = spec.volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::Persistent { .. }));
    let cpu = cores((reserved.cpu.0 as u64).saturating_mul(replicas).saturating_add(PULL_CORES));
    let memory = quantity(reserved.memory.0.saturating_mul(replicas).saturating_add(PULL_BYTES));
    let mut hard = json!({
        "pods": (replicas + u64::from(nodes)).to_string(),
        "requests.cpu": cpu,
        "requests.memory": memory,
        "persistentvolumeclaims": claims.count().to_string(),
        "requests.storage": quantity(spec.persistent().0),
    });
    for kind in NONE {
        hard[kind] = "0".into();
    }
    json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": { "hard": hard } })
}

/// For containers that name no limits, which this engine's never are.
pub(super) fn limits(metadata: Value) -> Value {
    let least = json!({ "cpu": "10m", "memory": "16Mi", "ephemeral-storage": "16Mi" });
    json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": metadata,
        "spec": { "limits": [{ "type": "Container", "default": least, "defaultRequest": least }] },
    })
}
