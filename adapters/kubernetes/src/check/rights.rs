//! What the engine must be allowed, asked right by right (SelfSubjectAccessReview).

use futures::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use super::{Lack, Looked, fatal, unreachable};
use crate::cluster::Cluster;
use crate::cluster_error::{ClusterError, Doing as _};

/// Questions under way at a time.
const AT_A_TIME: usize = 8;

/// API group, resource, and what is done with it, in all namespaces.
type Right = (&'static str, &'static str, &'static [&'static str]);

const RIGHTS: [Right; 13] = [
    ("", "namespaces", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "pods", &["get", "list", "watch", "create", "delete"]),
    ("", "pods/log", &["get"]),
    ("", "nodes", &["list", "watch"]),
    ("", "nodes/proxy", &["get"]),
    ("", "secrets", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "persistentvolumeclaims", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "resourcequotas", &["get", "list", "watch", "create", "patch"]),
    ("", "limitranges", &["get", "list", "watch", "create", "patch"]),
    ("", "serviceaccounts", &["get", "list", "watch", "create", "patch"]),
    ("networking.k8s.io", "networkpolicies", &["get", "list", "watch", "create", "patch"]),
    ("storage.k8s.io", "storageclasses", &["list"]),
    ("node.k8s.io", "runtimeclasses", &["get"]),
];

/// One lack for each resource with something that is not allowed; one line where all is.
pub(super) async fn check(cluster: &Cluster) -> Vec<Looked> {
    let questions: Vec<_> = RIGHTS.into_iter().map(|right| missing(cluster, right)).collect();
    let answers: Vec<_> = stream::iter(questions).buffered(AT_A_TIME).collect().await;
    let lack = |answer: Result<Option<Lack>, ClusterError>| answer.unwrap_or_else(|e| Some(unreachable(&e)));
    let lacks: Vec<Looked> = answers.into_iter().filter_map(lack).map(Err).collect();
    let all: usize = RIGHTS.iter().map(|(_, _, verbs)| verbs.len()).sum();
    if lacks.is_empty() { vec![Ok(format!("rights: all {all} that it takes"))] } else { lacks }
}

async fn missing(cluster: &Cluster, (group, resource, verbs): Right) -> Result<Option<Lack>, ClusterError> {
    let mut missing = Vec::new();
    for verb in verbs {
        if !is_allowed(cluster, group, resource, verb).await? {
            missing.push(*verb);
        }
    }
    let dot = if group.is_empty() { "" } else { "." };
    let what = format!("the right to {} {resource}{dot}{group}", missing.join(", "));
    let lack = || fatal(what, "give it to the daemon's account by a ClusterRole");
    Ok((!missing.is_empty()).then(lack))
}

async fn is_allowed(
    cluster: &Cluster,
    group: &str,
    resource: &str,
    verb: &str,
) -> Result<bool, ClusterError> {
    let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(r, s)| (r, Some(s)));
    let attributes = ResourceAttributes {
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: subresource.map(Into::into),
        verb: Some(verb.into()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.doing("ask for rights")?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
