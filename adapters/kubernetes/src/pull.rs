//! Has every node pull a pod's images before the pod is needed.
//!
//! A node that got an image and could not unpack it does not know why: its disk was full, or it had no key;
//! what decrypts for it ended too early, which containerd takes for the layer's end where it does not see in
//! time that the program failed. So whether the image is wrong is found here, from what was shipped.

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
use crate::node_registry::NodeRegistry;
use crate::objects::{Prepared, pull_pod};
use crate::pod_state::{IMAGE_PULL, PodState, USER_UNKNOWN, cannot_pull, refused};

/// Nodes that pull at a time: all of them from one registry.
const NODES_AT_A_TIME: usize = 4;
/// How long one node may take.
const PULL_TIMEOUT: Duration = Duration::from_secs(600);

/// Why a node does not have a pod's images.
#[derive(Debug, PartialEq)]
enum Trouble {
    /// It could not unpack the image of a container, and told this.
    Unpacking { container: String, told: String },
    /// Anything else.
    Told(EngineError),
}

impl From<ClusterError> for Trouble {
    fn from(error: ClusterError) -> Self {
        Self::Told(error.into())
    }
}

/// Returns once all nodes have the pod's images, which `registry` gives out.
pub(crate) async fn pull(
    cluster: &Cluster,
    registry: &dyn NodeRegistry,
    pod: &Prepared,
    nodes: BTreeSet<String>,
) -> Result<(), EngineError> {
    let pulls = stream::iter(nodes).map(|node| async move { pull_to(cluster, registry, pod, &node).await });
    pulls.buffer_unordered(NODES_AT_A_TIME).try_collect().await
}

/// A pull that broke is taken up once more, by a pod of another name: one that has failed is not
/// tried again by its kubelet for a while.
async fn pull_to(
    cluster: &Cluster,
    registry: &dyn NodeRegistry,
    pod: &Prepared,
    node: &str,
) -> Result<(), EngineError> {
    match pull_once(cluster, registry, pod, node).await {
        Err(EngineError::Host(fault)) if fault.code == IMAGE_PULL => {
            pull_once(cluster, registry, pod, node).await
        }
        pulled => pulled,
    }
}

async fn pull_once(
    cluster: &Cluster,
    registry: &dyn NodeRegistry,
    pod: &Prepared,
    node: &str,
) -> Result<(), EngineError> {
    let name = format!("pull-{:016x}", rand::random::<u64>());
    cluster.create_pod(&pod.namespace, pull_pod(&cluster.config, pod, &name, node)).await?;
    let pulled = watch_pull(cluster, pod, &name).await;
    // What is left of a pull that was cut short goes with the next one or with the namespace.
    let deleted = cluster.delete_pod(&pod.namespace, &name, None, 0).await;
    match pulled {
        Ok(()) => Ok(deleted.map(|_| ())?),
        Err(Trouble::Unpacking { container, told }) => {
            Err(find_fault(registry, pod, &container, &told).await)
        }
        Err(Trouble::Told(error)) => Err(name_users(pod, error)),
    }
}

/// The image's fault where it is found there, and else the node's.
async fn find_fault(registry: &dyn NodeRegistry, pod: &Prepared, container: &str, told: &str) -> EngineError {
    let node = EngineError::Host(cannot_pull(container, told));
    let image = pod.images.iter().find(|(name, _)| name.as_str() == container);
    let Some((_, image)) = image else { return node };
    registry.check(&pod.token, image.manifest).await.err().unwrap_or(node)
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

async fn watch_pull(cluster: &Cluster, pod: &Prepared, name: &str) -> Result<(), Trouble> {
    let done = |pod: Option<&Pod>| pod.is_none_or(|pod| outcome(pod).is_some());
    let waited = timeout(PULL_TIMEOUT, await_condition(cluster.pods(&pod.namespace), name, done)).await;
    let late = |_| ClusterError::Late { what: "a pull".into(), seconds: PULL_TIMEOUT.as_secs() };
    let seen = waited.map_err(late)?.map_err(|error| {
        tracing::warn!(%error, "a pull is out of sight");
        unseen()
    })?;
    seen.as_ref().and_then(outcome).unwrap_or_else(|| Err(unseen()))
}

fn unseen() -> Trouble {
    let text = "the provider's cluster ended a pull of the images: try again";
    Trouble::Told(EngineError::Host(Fault::passing(Who::Provider, IMAGE_PULL, text)))
}

/// How a pull went; `None` while it is under way.
fn outcome(pod: &Pod) -> Option<Result<(), Trouble>> {
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
        PodState::Refused(error) if statuses.is_empty() => Some(Err(Trouble::Told(error))),
        PodState::Ended(fault) if statuses.is_empty() => Some(Err(Trouble::Told(EngineError::Host(fault)))),
        _ => None,
    }
}

/// An image that a node cannot have.
fn problem(status: &ContainerStatus) -> Option<Trouble> {
    unpacking(status).or_else(|| refused(status).map(Trouble::Told))
}

/// What a node says that got an image and could not unpack it.
fn unpacking(status: &ContainerStatus) -> Option<Trouble> {
    const UNPACKING: [&str; 3] = ["failed to extract layer", "wrong diff id", "failed to unpack"];
    // What ocicrypt and containerd say where a node has no key, or nothing to decrypt with.
    const OF_THE_NODE: [&str; 3] = ["private key", "key unwrapper", "no processor for media-type"];
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let told = waiting.message.as_deref().unwrap_or_default();
    let tells = |words: &[&str]| words.iter().any(|words| told.contains(words));
    let is_pull = matches!(waiting.reason.as_deref()?, "ErrImagePull" | "ImagePullBackOff");
    (is_pull && tells(&UNPACKING) && !tells(&OF_THE_NODE))
        .then(|| Trouble::Unpacking { container: status.name.clone(), told: told.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::node_registry::{NodeImage, Shipped};
    use crate::objects::tests::prepared;
    use apocryph_model::Digest;
    use async_trait::async_trait;
    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tower::service_fn;

    /// A registry that finds its images wrong, or not.
    struct Images {
        wrong: bool,
    }

    #[async_trait]
    impl NodeRegistry for Images {
        async fn open(&self, _: Shipped<'_>) -> Result<NodeImage, EngineError> {
            unreachable!("they are open")
        }

        async fn check(&self, _: &str, _: Digest) -> Result<(), EngineError> {
            let refused = || Fault::lasting(Who::Publisher, "image-refused", "a layer is refused");
            if self.wrong { Err(EngineError::Pod(refused())) } else { Ok(()) }
        }

        fn retain(&self, _: &str, _: &[Digest]) {}
    }

    /// A cluster whose only Pod's container waits with these words, and the count of Pods made.
    fn waiting(reason: &str, message: &str) -> (Cluster, Arc<AtomicUsize>) {
        let config = Config::new("test".parse().unwrap(), "/data".into(), "registry.local:5000".into());
        let pod = json!({
            "metadata": { "name": "pull" }, "spec": { "containers": [{ "name": "main" }] },
            "status": { "containerStatuses": [{
                "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": reason, "message": message } },
            }] },
        });
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let serve = service_fn(move |request: Request<Body>| {
            let body = match *request.method() {
                Method::GET => json!({ "metadata": { "resourceVersion": "1" }, "items": [pod] }),
                _ => pod.clone(),
            };
            count.fetch_add(usize::from(request.method() == Method::POST), Ordering::Relaxed);
            let response = Response::builder().body(Body::from(body.to_string().into_bytes()));
            async move { response }
        });
        (Cluster { client: Client::new(serve, "default"), config }, made)
    }

    /// How a pull ends, and after how many tries.
    async fn pulled(reason: &str, message: &str, wrong: bool) -> (EngineError, usize) {
        let (cluster, made) = waiting(reason, message);
        let nodes = BTreeSet::from(["node".to_owned()]);
        let error = pull(&cluster, &Images { wrong }, &prepared(), nodes).await.unwrap_err();
        (error, made.load(Ordering::Relaxed))
    }

    /// By a node whose decrypting program failed: unnoticed, or before any of the layer came.
    const CUT_SHORT: [&str; 2] = [
        "failed to pull and unpack image: wrong diff id calculated on extraction \"sha256:0\"",
        "failed to pull and unpack image: failed to extract layer sha256:0: failed to get stream processor \
         for application/vnd.oci.image.layer.v1.tar+gzip+encrypted: EOF",
    ];

    #[tokio::test]
    async fn a_node_that_cannot_unpack_is_the_providers_fault_unless_the_image_is_found_wrong() {
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            for told in CUT_SHORT {
                let (error, tries) = pulled(reason, told, false).await;
                let EngineError::Host(fault) = error else { panic!("{error:?}") };
                assert!(fault.retry && fault.who == Who::Provider && fault.code == "image-pull", "{fault:?}");
                assert_eq!(tries, 2, "{reason}: it may have passed");

                let (error, tries) = pulled(reason, told, true).await;
                let EngineError::Pod(fault) = error else { panic!("{error:?}") };
                assert_eq!((fault.code.as_str(), tries), ("image-refused", 1), "{reason}: once is enough");
            }
        }
    }

    #[tokio::test]
    async fn what_a_node_cannot_get_is_tried_again() {
        let (error, tries) = pulled("ImagePullBackOff", "connection refused", true).await;
        assert!(matches!(error, EngineError::Host(fault) if fault.code == "image-pull"));
        assert_eq!(tries, 2);
        let (error, tries) = pulled("CreateContainerError", "no users found", true).await;
        assert!(matches!(error, EngineError::Pod(fault) if fault.code == "user-unknown"));
        assert_eq!(tries, 1);
    }

    fn outcome_of(states: &[Value]) -> Option<Result<(), Trouble>> {
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
        assert!(
            matches!(gone, Some(Err(Trouble::Told(EngineError::Host(fault)))) if !fault.text.contains("10.0.0.1"))
        );
        let user = outcome_of(&[waiting("CreateContainerError", "no users found"), made.clone()]);
        assert!(
            matches!(user, Some(Err(Trouble::Told(EngineError::Pod(fault)))) if fault.code == "user-unknown")
        );
        let keyless = "failed to extract layer sha256:0: decoder: missing private key needed for decryption";
        assert_eq!(
            outcome_of(&[made.clone(), waiting("ErrImagePull", keyless)]),
            None,
            "it may be given one"
        );
        let keyless = outcome_of(&[made.clone(), waiting("ImagePullBackOff", keyless)]);
        assert!(
            matches!(keyless, Some(Err(Trouble::Told(EngineError::Host(fault)))) if fault.code == "image-pull")
        );
        let torn = outcome_of(&[made, waiting("ErrImagePull", "failed to extract layer sha256:0: bad")]);
        assert!(matches!(torn, Some(Err(Trouble::Unpacking { container, .. })) if container == "c1"));
    }
}
