//! The cluster, as this engine speaks to it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::time::sleep;
use tower::util::MapRequestLayer;

use crate::cluster_error::{ANSWER_TIMEOUT, ClusterError, Doing as _, answer, answer_within};
use crate::config::Config;
use crate::covers::covers;
use crate::labels::{FIELD_MANAGER, selector};
use crate::objects::{Nodes, Object, is_public};

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
        self.bring(live.and_then(|live| serde_json::to_value(live).ok()).as_ref(), object).await
    }

    /// The same for an object that has been seen as `live`, or not at all.
    pub(crate) async fn bring(&self, live: Option<&Value>, object: &Object) -> Result<bool, ClusterError> {
        if live.is_some_and(|live| covers(live, &object.value)) {
            return Ok(false);
        }
        let (api, apply) = (self.dynamic(object), PatchParams::apply(FIELD_MANAGER).force());
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

    /// The names of this engine's objects of a kind in a namespace, but of those that are about to go.
    pub(crate) async fn names(
        &self,
        namespace: &str,
        kind: &ApiResource,
    ) -> Result<Vec<String>, ClusterError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, kind);
        let own = ListParams::default().labels(&selector(&self.config.instance));
        let listed = answer(format!("list {}", kind.plural), api.list_metadata(&own)).await?.items;
        let stays = listed.into_iter().filter(|object| object.metadata.deletion_timestamp.is_none());
        Ok(stays.map(|object| object.name_any()).collect())
    }

    /// Takes an object away; one that is not there is no error.
    pub(crate) async fn delete(
        &self,
        namespace: &str,
        kind: &ApiResource,
        name: &str,
    ) -> Result<(), ClusterError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, kind);
        let params = DeleteParams::default();
        let deleted = api.delete(name, &params);
        absent_is_fine(answer(format!("delete {} {name}", kind.kind), deleted).await)
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

/// What a pod's objects depend on. The count is rounded up, so that not all of them are written again for every
/// node that comes or goes.
pub(crate) fn summary<'a>(nodes: impl Iterator<Item = &'a Node>) -> Nodes {
    let of_node = |node: &Node| node.status.clone().and_then(|status| status.addresses).unwrap_or_default();
    let (mut count, mut addresses) = (0_u32, Vec::new());
    for node in nodes {
        count = count.saturating_add(1);
        addresses.extend(of_node(node).iter().filter_map(|address| address.address.parse::<IpAddr>().ok()));
    }
    addresses.retain(|address| is_public(*address));
    addresses.sort_unstable();
    addresses.dedup();
    Nodes { count: count.checked_next_power_of_two().unwrap_or(count), addresses }
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
