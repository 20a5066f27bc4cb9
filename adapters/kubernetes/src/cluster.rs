//! The cluster, as this engine speaks to it.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;
use tower::util::MapRequestLayer;

use crate::cluster_error::{ANSWER_TIMEOUT, ClusterError, Doing as _, answer, answer_within};
use crate::config::Config;
use crate::covers::covers;
use crate::labels::{FIELD_MANAGER, selector};
use crate::objects::{Nodes, Object};

/// How long the API server may take over its first word.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(10);
/// The most names that a reason is looked up for.
const MOST_NODES: u32 = 5000;

/// How often a Pod is tried again that met others at its namespace's quota, and the pauses before, in
/// milliseconds: Pods that pull come several at once.
const QUOTA_RETRIES: usize = 8;
const QUOTA_PAUSE_MS: std::ops::RangeInclusive<u64> = 10..=200;

/// Counts what is asked of the API server.
fn counted(request: Request<Body>) -> Request<Body> {
    let method = kind(&request).to_owned();
    metrics::counter!("apocryph_cluster_requests_total", "method" => method).increment(1);
    request
}

/// The method; a watch is none of the reads, which end at once.
fn kind<B>(request: &Request<B>) -> &str {
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    if parameters.any(|parameter| parameter == "watch=true") { "WATCH" } else { request.method().as_str() }
}

/// How the cluster is spoken to: as the file says, or as the service account of the pod that this runs in, or the
/// user. Does not ask anything yet.
pub(crate) async fn client(kubeconfig: Option<&Path>) -> Result<Client, ClusterError> {
    let mut access = match kubeconfig {
        None => kube::Config::infer().await.map_err(|error| ClusterError::Access(error.to_string()))?,
        Some(path) => {
            let access = |error: kube::config::KubeconfigError| ClusterError::Access(error.to_string());
            let file = Kubeconfig::read_from(path).map_err(access)?;
            let options = KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(file, &options).await.map_err(access)?
        }
    };
    access.connect_timeout = Some(ANSWER_TIMEOUT);
    let builder = ClientBuilder::try_from(access);
    let builder = builder.map_err(|error| ClusterError::Access(error.to_string()))?;
    Ok(builder.with_layer(&MapRequestLayer::new(counted)).build())
}

/// Asks for something that the engine will need, and that costs little.
///
/// # Errors
/// The API server does not answer, or does not let this account in.
pub(crate) async fn is_there(client: &Client) -> Result<(), ClusterError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let one = ListParams::default().limit(1);
    answer_within(FIRST_WORD_TIMEOUT, "ask the cluster", namespaces.list_metadata(&one)).await.map(drop)
}

/// A client with this engine's configuration.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) config: Config,
}

impl Cluster {
    /// Does not ask anything yet.
    pub(crate) async fn open(config: Config) -> Result<Self, ClusterError> {
        Ok(Self { client: client(config.kubeconfig.as_deref()).await?, config })
    }

    pub(crate) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    pub(crate) async fn namespace(&self, name: &str) -> Result<Option<Namespace>, ClusterError> {
        answer(format!("look at namespace {name}"), self.namespaces().get_opt(name)).await
    }

    /// Those of this engine.
    pub(crate) async fn own_namespaces(&self) -> Result<Vec<Namespace>, ClusterError> {
        let own = ListParams::default().labels(&selector(&self.config.instance));
        Ok(answer("list namespaces", self.namespaces().list(&own)).await?.items)
    }

    /// Takes a namespace away with all in it, which goes on after this returns.
    pub(crate) async fn delete_namespace(&self, name: &str) -> Result<(), ClusterError> {
        let (namespaces, params) = (self.namespaces(), DeleteParams::default());
        absent_is_fine(answer(format!("delete namespace {name}"), namespaces.delete(name, &params)).await)
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, ClusterError> {
        let all = ListParams::default().limit(MOST_NODES);
        let nodes: Api<Node> = Api::all(self.client.clone());
        Ok(answer("list nodes", nodes.list(&all)).await?.items)
    }

    /// Brings an object to what is wanted. Writes nothing where it is so already; tells whether it
    /// did.
    pub(crate) async fn apply(&self, object: &Object) -> Result<bool, ClusterError> {
        let api = self.dynamic(object);
        let live = answer(format!("look at {}", object.title()), api.get_opt(object.name())).await?;
        let as_wanted = live.and_then(|live| serde_json::to_value(live).ok());
        if as_wanted.is_some_and(|live| covers(&live, &object.value)) {
            return Ok(false);
        }
        let apply = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&object.value);
        answer(format!("apply {}", object.title()), api.patch(object.name(), &apply, &patch)).await?;
        Ok(true)
    }

    fn dynamic(&self, object: &Object) -> Api<DynamicObject> {
        match object.value["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &object.resource),
            None => Api::all_with(self.client.clone(), &object.resource),
        }
    }

    /// Takes away the Secrets and volumes of a namespace that are not in `wanted`.
    pub(crate) async fn prune(&self, namespace: &str, wanted: &[Object]) -> Result<(), ClusterError> {
        let names = |kind: &str| {
            let of_kind = wanted.iter().filter(|object| object.resource.kind == kind);
            of_kind.map(|object| object.name().to_owned()).collect::<HashSet<_>>()
        };
        self.prune_kind::<Secret>(namespace, &names("Secret")).await?;
        self.prune_kind::<PersistentVolumeClaim>(namespace, &names("PersistentVolumeClaim")).await
    }

    async fn prune_kind<K>(&self, namespace: &str, wanted: &HashSet<String>) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let own = ListParams::default().labels(&selector(&self.config.instance));
        let kind = K::kind(&());
        for object in answer(format!("list {kind}s"), api.list_metadata(&own)).await?.items {
            let name = object.name_any();
            if !wanted.contains(&name) && object.metadata.deletion_timestamp.is_none() {
                let params = DeleteParams::default();
                absent_is_fine(answer(format!("delete {kind} {name}"), api.delete(&name, &params)).await)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn create_pod(&self, namespace: &str, pod: Value) -> Result<Pod, ClusterError> {
        let pod: Pod =
            serde_json::from_value(pod).map_err(std::io::Error::other).doing("write down a pod")?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let (pods, doing) = (self.pods(namespace), "create a pod");
        for _ in 0..QUOTA_RETRIES {
            match answer(doing, pods.create(&params, &pod)).await {
                Err(error) if error.is_quota_conflict() => {
                    sleep(Duration::from_millis(rand::random_range(QUOTA_PAUSE_MS))).await;
                }
                done => return done,
            }
        }
        answer(doing, pods.create(&params, &pod)).await
    }

    /// Asks for the end of a pod; one that is not there is no error. Told is whether it was.
    pub(crate) async fn delete_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<String>,
        grace_seconds: u32,
    ) -> Result<bool, ClusterError> {
        let mut params =
            DeleteParams { grace_period_seconds: Some(grace_seconds), ..DeleteParams::default() };
        if uid.is_some() {
            params = params.preconditions(Preconditions { uid, resource_version: None });
        }
        match answer(format!("delete pod {name}"), self.pods(namespace).delete(name, &params)).await {
            Err(error) if error.is_absent() => Ok(false),
            deleted => deleted.map(|_| true),
        }
    }
}

fn absent_is_fine<T>(deleted: Result<T, ClusterError>) -> Result<(), ClusterError> {
    match deleted {
        Err(error) if error.is_absent() => Ok(()),
        deleted => deleted.map(|_| ()),
    }
}

/// Whether pods can be put on a node now.
pub(crate) fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let closed = spec.and_then(|spec| spec.unschedulable).unwrap_or_default();
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && !closed && !taints.iter().any(|taint| taint.effect != "PreferNoSchedule")
}

/// What a pod's objects depend on.
pub(crate) fn summary(nodes: &[Node]) -> Nodes {
    let of_node = |node: &Node| node.status.clone().and_then(|status| status.addresses).unwrap_or_default();
    let addresses = nodes.iter().flat_map(of_node).filter_map(|address| address.address.parse().ok());
    let mut addresses: Vec<std::net::IpAddr> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    let count = u32::try_from(nodes.iter().filter(|node| takes_pods(node)).count()).unwrap_or(u32::MAX);
    Nodes { count, addresses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tower::service_fn;

    /// A cluster whose API server refuses with `refusal` for so many times, and then creates; with the
    /// count of requests.
    fn refusing(refusal: Value, times: usize) -> (Cluster, Arc<AtomicUsize>) {
        let config = Config::new("test".parse().unwrap(), "/data".into(), "registry.local:5000".into());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let serve = service_fn(move |_: Request<Body>| {
            let (status, body) = match count.fetch_add(1, Ordering::Relaxed) {
                earlier if earlier < times => (409, refusal.clone()),
                _ => (201, json!({ "metadata": { "name": "created" } })),
            };
            let response =
                http::Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
            async move { response }
        });
        (Cluster { client: Client::new(serve, "default"), config }, asked)
    }

    fn refusal(reason: &str, kind: &str) -> Value {
        json!({
            "kind": "Status", "status": "Failure", "code": 409, "reason": reason, "message": "refused",
            "details": { "name": "bounds", "kind": kind },
        })
    }

    #[tokio::test]
    async fn a_pod_that_met_others_at_the_quota_is_tried_again() {
        let (cluster, asked) = refusing(refusal("Conflict", "resourcequotas"), 3);
        let created = cluster.create_pod("n", json!({})).await.unwrap();
        assert_eq!((created.name_any().as_str(), asked.load(Ordering::Relaxed)), ("created", 4));
    }

    #[tokio::test]
    async fn it_is_not_tried_for_ever_or_for_other_reasons() {
        let (cluster, asked) = refusing(refusal("Conflict", "resourcequotas"), usize::MAX);
        assert!(cluster.create_pod("n", json!({})).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 1 + QUOTA_RETRIES);
        let (cluster, asked) = refusing(refusal("AlreadyExists", "pods"), usize::MAX);
        assert!(cluster.create_pod("n", json!({})).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_watch_is_counted_apart_from_reads() {
        let kind_of = |uri: &str| kind(&Request::get(uri).body(()).unwrap()).to_owned();
        assert_eq!(kind_of("/api/v1/pods?watch=true&timeoutSeconds=60"), "WATCH");
        assert_eq!(kind_of("/api/v1/pods?labelSelector=watch%3Dtrue"), "GET");
        assert_eq!(kind(&Request::patch("/api/v1/namespaces/a").body(()).unwrap()), "PATCH");
    }
}
