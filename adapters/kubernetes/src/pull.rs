//! Has every node pull a pod's images before the pod is needed.

use std::collections::BTreeSet;
use std::time::Duration;

use apocryph_model::{Fault, Who};
use apocryph_provider::EngineError;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::runtime::wait::await_condition;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::cluster_error::ClusterError;
use crate::objects::{Prepared, pull_pod};
use crate::pod_state::{IMAGE_PULL, PodState, USER_UNKNOWN, refused, words};

/// Nodes that pull at a time: all of them from one registry.
const NODES_AT_A_TIME: usize = 4;
/// How long one node may take.
const PULL_TIMEOUT: Duration = Duration::from_secs(600);

/// Returns once all nodes have the pod's images.
pub(crate) async fn pull(
    cluster: &Cluster,
    pod: &Prepared,
    nodes: BTreeSet<String>,
) -> Result<(), EngineError> {
    let pulls = stream::iter(nodes).map(|node| async move { pull_to(cluster, pod, &node).await });
    pulls.buffer_unordered(NODES_AT_A_TIME).try_collect().await
}

/// A pull that broke is taken up once more, by a pod of another name: one that has failed is not
/// tried again by its kubelet for a while.
async fn pull_to(cluster: &Cluster, pod: &Prepared, node: &str) -> Result<(), EngineError> {
    match pull_once(cluster, pod, node).await {
        Err(EngineError::Host(fault)) if fault.code == IMAGE_PULL => pull_once(cluster, pod, node).await,
        pulled => pulled,
    }
}

async fn pull_once(cluster: &Cluster, pod: &Prepared, node: &str) -> Result<(), EngineError> {
    let name = format!("pull-{:016x}", rand::random::<u64>());
    cluster.create_pod(&pod.namespace, pull_pod(&cluster.config, pod, &name, node)).await?;
    let pulled = watch_pull(cluster, pod, &name).await;
    // What is left of a pull that was cut short goes with the next one or with the namespace.
    let deleted = cluster.delete_pod(&pod.namespace, &name, None, 0).await;
    let pulled = pulled.map_err(|error| name_users(pod, error));
    pulled.and(deleted.map(|_| ()).map_err(EngineError::from))
}

/// The runtime does not say which user it did not find.
fn name_users(pod: &Prepared, error: EngineError) -> EngineError {
    let EngineError::Pod(mut fault) = error else { return error };
    if fault.code == USER_UNKNOWN {
        let named = pod.spec.containers.iter().filter_map(|container| container.user.as_deref());
        let named: Vec<&str> = named.collect();
        fault.text = format!("{} (of: {})", fault.text, named.join(", "));
    }
    EngineError::Pod(fault)
}

async fn watch_pull(cluster: &Cluster, pod: &Prepared, name: &str) -> Result<(), EngineError> {
    let done = |pod: Option<&Pod>| pod.is_none_or(|pod| outcome(pod).is_some());
    let waited = timeout(PULL_TIMEOUT, await_condition(cluster.pods(&pod.namespace), name, done)).await;
    let late = |_| ClusterError::Late { what: "a pull".into(), seconds: PULL_TIMEOUT.as_secs() };
    let seen = waited.map_err(late)?.map_err(|error| {
        tracing::warn!(%error, "a pull is out of sight");
        unseen()
    })?;
    seen.as_ref().and_then(outcome).unwrap_or_else(|| Err(unseen()))
}

fn unseen() -> EngineError {
    let text = "the provider's cluster ended a pull of the images: try again";
    EngineError::Host(Fault::passing(Who::Provider, IMAGE_PULL, text))
}

/// How a pull went; `None` while it is under way.
fn outcome(pod: &Pod) -> Option<Result<(), EngineError>> {
    let statuses = pod.status.as_ref()?.container_statuses.clone().unwrap_or_default();
    if let Some(problem) = statuses.iter().find_map(problem) {
        return Some(Err(problem));
    }
    let wanted = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let made =
        |status: &&ContainerStatus| status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    if wanted > 0 && statuses.iter().filter(made).count() == wanted {
        return Some(Ok(()));
    }
    match PodState::of(pod) {
        PodState::Refused(error) if statuses.is_empty() => Some(Err(error)),
        PodState::Ended(fault) if statuses.is_empty() => Some(Err(EngineError::Host(fault))),
        _ => None,
    }
}

/// An image that a node cannot have.
fn problem(status: &ContainerStatus) -> Option<EngineError> {
    const OF_THE_IMAGE: [&str; 3] = ["failed to extract layer", "wrong diff id", "failed to unpack"];
    if let Some(refused) = refused(status) {
        return Some(refused);
    }
    // What ocicrypt and containerd say where a node has no key, or nothing to decrypt with.
    const OF_THE_NODE: [&str; 3] = ["private key", "key unwrapper", "no processor for media-type"];
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let told = waiting.message.as_deref().unwrap_or_default();
    let is_keyless = OF_THE_NODE.iter().any(|words| told.contains(words));
    if matches!(reason, "ErrImagePull")
        && !is_keyless
        && OF_THE_IMAGE.iter().any(|words| told.contains(words))
    {
        let text = format!("the image of container {} is refused: {}", status.name, words(told));
        return Some(EngineError::Pod(Fault::lasting(Who::Publisher, "image-refused", text)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn outcome_of(states: &[Value]) -> Option<Result<(), EngineError>> {
        let containers: Vec<Value> = (0..2).map(|n| json!({ "name": format!("c{n}") })).collect();
        let statuses: Vec<Value> = states
            .iter()
            .enumerate()
            .map(|(n, state)| {
                json!({
                    "name": format!("c{n}"), "state": state,
                    "image": "", "imageID": "", "ready": false, "restartCount": 0,
                })
            })
            .collect();
        let pod =
            json!({ "spec": { "containers": containers }, "status": { "containerStatuses": statuses } });
        outcome(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pull_is_done_when_every_container_was_made() {
        let made =
            json!({ "terminated": { "reason": "StartError", "exitCode": 128, "message": "exec: none" } });
        let waiting =
            |reason: &str, message: &str| json!({ "waiting": { "reason": reason, "message": message } });
        assert_eq!(outcome_of(&[made.clone(), made.clone()]), Some(Ok(())));
        assert_eq!(outcome_of(&[made.clone(), waiting("ContainerCreating", "")]), None);
        assert_eq!(outcome_of(&[made.clone(), waiting("ErrImagePull", "connection refused")]), None);
        let gone = outcome_of(&[made.clone(), waiting("ImagePullBackOff", "10.0.0.1 refused")]);
        assert!(matches!(gone, Some(Err(EngineError::Host(fault))) if !fault.text.contains("10.0.0.1")));
        let user = outcome_of(&[waiting("CreateContainerError", "no users found"), made.clone()]);
        assert!(matches!(user, Some(Err(EngineError::Pod(fault))) if fault.code == "user-unknown"));
        let keyless = "failed to extract layer sha256:0: decoder: missing private key needed for decryption";
        assert_eq!(
            outcome_of(&[made.clone(), waiting("ErrImagePull", keyless)]),
            None,
            "it may be given one"
        );
        let keyless = outcome_of(&[made.clone(), waiting("ImagePullBackOff", keyless)]);
        assert!(matches!(keyless, Some(Err(EngineError::Host(fault))) if fault.code == "image-pull"));
        let torn = outcome_of(&[made, waiting("ErrImagePull", "failed to extract layer sha256:0: bad")]);
        assert!(matches!(torn, Some(Err(EngineError::Pod(fault))) if fault.code == "image-refused"));
    }
}
