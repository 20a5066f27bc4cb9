//! What a cluster has and lacks for the engine, one line each, with the remedy. What can be tried is
//! tried, in a namespace that ends with the trial.

mod rights;
mod trial;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde::Deserialize;

use crate::cluster::{Cluster, takes_pods};
use crate::cluster_error::{ClusterError, Doing as _};
use crate::config::Config;

/// The oldest minor version of Kubernetes 1 that is known to do.
const LEAST_MINOR: u32 = 32;
/// Marks the storage class that is taken where none is named.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Something that is missing, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing, and what follows from that.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether no pod can run without it.
    pub fatal: bool,
}

/// What was found, in words, or is missing.
pub type Looked = Result<String, Lack>;

/// What the cluster has and lacks. Takes some seconds. The endpoint that nodes pull from must be served
/// meanwhile. `readers` are the nodes that have one, where nodes are to.
pub async fn check(config: &Config, readers: Option<&BTreeSet<String>>) -> Vec<Looked> {
    match Cluster::open(config.clone()).await {
        Ok(cluster) => look(&cluster, readers).await,
        Err(error) => vec![Err(unreachable(&error))],
    }
}

async fn look(cluster: &Cluster, readers: Option<&BTreeSet<String>>) -> Vec<Looked> {
    let mut looked = match version(cluster).await {
        Ok(version) => vec![version],
        Err(error) => return vec![Err(unreachable(&error))],
    };
    looked.extend(rights::check(cluster).await);
    if looked.iter().any(Result::is_err) {
        // The rest would only say so again.
        return looked;
    }
    let parts = [
        nodes(cluster, readers).await,
        storage(cluster).await.map(|looked| vec![looked]),
        isolation(cluster).await.map(Vec::from_iter),
        trial::check(cluster).await,
    ];
    let of_part = |part: Result<_, _>| part.unwrap_or_else(|error| vec![Err(unreachable(&error))]);
    looked.extend(parts.into_iter().flat_map(of_part));
    looked
}

fn fatal(what: impl Into<String>, remedy: impl Into<String>) -> Lack {
    Lack { what: what.into(), remedy: remedy.into(), fatal: true }
}

fn advice(what: impl Into<String>, remedy: impl Into<String>) -> Lack {
    Lack { fatal: false, ..fatal(what, remedy) }
}

fn unreachable(error: &ClusterError) -> Lack {
    fatal(format!("the cluster: {error}"), "set kubernetes.kubeconfig, and look after the API server")
}

async fn version(cluster: &Cluster) -> Result<Looked, ClusterError> {
    let version = cluster.client.apiserver_version().await.doing("ask for the cluster's version")?;
    let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    let old = digits.parse::<u32>().is_ok_and(|minor| version.major == "1" && minor < LEAST_MINOR);
    let version = version.git_version;
    Ok(if old {
        Err(fatal(format!("Kubernetes 1.{LEAST_MINOR} or later: this is {version}"), "upgrade the cluster"))
    } else {
        Ok(format!("Kubernetes {version}"))
    })
}

async fn nodes(cluster: &Cluster, readers: Option<&BTreeSet<String>>) -> Result<Vec<Looked>, ClusterError> {
    let nodes = cluster.nodes().await?;
    let ready: Vec<&Node> = nodes.iter().filter(|node| takes_pods(node)).collect();
    let Some(first) = ready.first() else {
        let what = format!("a node that takes pods: none of {} does", nodes.len());
        return Ok(vec![Err(fatal(what, "kubectl describe nodes"))]);
    };
    let there = Ok(format!("nodes: {} of {} take pods", ready.len(), nodes.len()));
    let bound = bound_on_pids(cluster, &first.name_any()).await?;
    Ok([there, bound].into_iter().chain(readers.map(|readers| read(&ready, readers))).collect())
}

/// What ends on a node without a reader, ends before its last seconds are counted.
fn read(nodes: &[&Node], readers: &BTreeSet<String>) -> Looked {
    let unread: Vec<String> =
        nodes.iter().map(|node| node.name_any()).filter(|name| !readers.contains(name)).collect();
    let Some(first) = unread.first() else { return Ok("readers: every node has one".into()) };
    let what = format!(
        "a reader on {} of {} nodes, such as {first}: up to 20 s of processor time of each replica that ends there are not billed",
        unread.len(),
        nodes.len()
    );
    Err(advice(what, "see that the DaemonSet of readers runs there, and reaches listen.node-readers"))
}

/// Nothing in a Pod can bound its processes: the node must.
async fn bound_on_pids(cluster: &Cluster, node: &str) -> Result<Looked, ClusterError> {
    #[derive(Deserialize)]
    struct Configz {
        kubeletconfig: Kubelet,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kubelet {
        pod_pids_limit: Option<i64>,
    }
    let doing = || format!("read the kubelet's configuration of node {node}");
    let path = format!("/api/v1/nodes/{node}/proxy/configz");
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError).doing(doing())?;
    let config: Configz = cluster.client.request(request).await.doing(doing())?;
    let limit = config.kubeletconfig.pod_pids_limit.filter(|limit| *limit > 0);
    let found = |limit| format!("processes: at most {limit} of a pod, on node {node}");
    Ok(limit.map(found).ok_or_else(|| {
        let what =
            format!("a bound on processes: on node {node} one pod can start as many as the node bears");
        advice(what, "set podPidsLimit in the kubelets' configuration")
    }))
}

async fn storage(cluster: &Cluster) -> Result<Looked, ClusterError> {
    let classes: Api<StorageClass> = Api::all(cluster.client.clone());
    let classes = classes.list(&ListParams::default()).await.doing("list storage classes")?.items;
    let names: BTreeSet<String> = classes.iter().map(|class| class.name_any()).collect();
    let is_default =
        |class: &StorageClass| class.annotations().get(DEFAULT_CLASS).is_some_and(|v| v == "true");
    let default = classes.iter().find(|class| is_default(class)).map(|class| class.name_any());
    Ok(match (&cluster.config.storage_class, default) {
        (Some(name), _) if !names.contains(name) => Err(fatal(
            format!("the storage class {name}: there are {names:?}"),
            "set kubernetes.storage-class",
        )),
        (None, None) => Err(advice(
            "a default storage class: pods with persistent volumes do not start",
            "set kubernetes.storage-class, or mark one as the default",
        )),
        (Some(name), _) => Ok(format!("storage class: {name}")),
        (None, Some(name)) => Ok(format!("storage class: {name}, the cluster's default")),
    })
}

async fn isolation(cluster: &Cluster) -> Result<Option<Looked>, ClusterError> {
    let Some(name) = &cluster.config.runtime_class else { return Ok(None) };
    let classes: Api<RuntimeClass> = Api::all(cluster.client.clone());
    let found = classes.get_opt(name).await.doing("look at runtime classes")?;
    let lack = || fatal(format!("the runtime class {name}"), "install it, or set kubernetes.runtime-class");
    Ok(Some(found.map(|_| format!("runtime class: {name}")).ok_or_else(lack)))
}
