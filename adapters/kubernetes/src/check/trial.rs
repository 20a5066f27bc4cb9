//! Whether the cluster's network does what it should, by trying it, without any image: a Pod whose
//! image is nowhere still has a network of its own, whose kernel refuses connections (it answers
//! with a reset), and its node still asks the registry for the image.
//!
//! ```text
//! before the policy   refused: reached          silence: no route from here
//! with the policy     silence: enforced         refused: not enforced
//! ```

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::{Looked, fatal};
use crate::cluster::Cluster;
use crate::cluster_error::ClusterError;
use crate::objects::Object;

const POD: &str = "trial";
/// A port that nothing listens on.
const PORT: u16 = 9;
/// How long the node may take to set up the Pod and to ask for the image.
const SET_UP: Duration = Duration::from_secs(60);
/// How long a network may take to enforce a new policy.
const ENFORCED: Duration = Duration::from_secs(10);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// What a node says that did not reach the registry.
const NOT_REACHED: [&str; 6] =
    ["connection refused", "i/o timeout", "no route to host", "no such host", "HTTPS client", "tls:"];

/// What the network does and does not. Leaves nothing behind.
pub(super) async fn check(cluster: &Cluster) -> Result<Vec<Looked>, ClusterError> {
    let namespace = format!("apocryph-check-{:016x}", rand::random::<u64>());
    let tried = try_in(cluster, &namespace).await;
    cluster.delete_namespace(&namespace).await?;
    tried
}

async fn try_in(cluster: &Cluster, namespace: &str) -> Result<Vec<Looked>, ClusterError> {
    cluster
        .apply(&Object::new::<Namespace>(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace },
        })))
        .await?;
    let image = format!("{}/{POD}@sha256:{}", cluster.config.registry, "0".repeat(64));
    // The namespace's own service account comes a moment later than the namespace.
    let deadline = Instant::now() + SET_UP;
    while let Err(error) = cluster.create_pod(namespace, trial_pod(namespace, &image)).await {
        if Instant::now() > deadline {
            return Err(error);
        }
        sleep(Duration::from_millis(200)).await;
    }
    let is_set_up = |pod: Option<&Pod>| pod.is_some_and(|pod| address(pod).is_some() && pull(pod).is_some());
    let set_up = timeout(SET_UP, await_condition(cluster.pods(namespace), POD, is_set_up)).await;
    let late = ClusterError::Late { what: "a pod's network".into(), seconds: SET_UP.as_secs() };
    let Ok(Ok(Some(pod))) = set_up else { return Err(late) };
    let (Some(address), Some(pull)) = (address(&pod), pull(&pod)) else { return Err(late) };
    let registry = registry(&cluster.config.registry, &pull);
    Ok(vec![registry, policy(cluster, namespace, address).await?])
}

fn trial_pod(namespace: &str, image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": POD, "namespace": namespace },
        "spec": {
            "automountServiceAccountToken": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": POD, "image": image }],
        },
    })
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// What the node says of the image.
fn pull(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let waiting = statuses.first()?.state.as_ref()?.waiting.as_ref()?;
    waiting
        .message
        .clone()
        .filter(|_| waiting.reason.as_deref().is_some_and(|reason| reason.contains("Pull")))
}

fn registry(registry: &str, message: &str) -> Looked {
    if NOT_REACHED.iter().any(|words| message.contains(words)) {
        let remedy = "set kubernetes.registry-name to what nodes reach, and let their runtime pull from it";
        return Err(fatal(format!("nodes that reach the registry at {registry}: {message}"), remedy));
    }
    Ok(format!("registry: a node reaches it at {registry}"))
}

async fn policy(cluster: &Cluster, namespace: &str, address: IpAddr) -> Result<Looked, ClusterError> {
    if !is_reached(address).await {
        let what =
            format!("a route to the pods: {address} does not answer this host, so the gateway has none");
        return Ok(Err(fatal(what, "run the daemon in the cluster, or route its pods' network to here")));
    }
    cluster
        .apply(&Object::new::<NetworkPolicy>(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": POD, "namespace": namespace },
            "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"] },
        })))
        .await?;
    let deadline = Instant::now() + ENFORCED;
    while is_reached(address).await {
        if Instant::now() > deadline {
            return Ok(Err(fatal(
                "a network that enforces NetworkPolicy: one tenant reaches another's pods",
                "install Calico, Cilium or another that does; on a node of the cluster this is told too",
            )));
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(Ok("network: pods are reached from here, and NetworkPolicy is enforced".into()))
}

/// Whether the address answers at all.
async fn is_reached(address: IpAddr) -> bool {
    match timeout(ANSWER, TcpStream::connect((address, PORT))).await {
        Err(_silence) => false,
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(Ok(_)) => true,
    }
}
