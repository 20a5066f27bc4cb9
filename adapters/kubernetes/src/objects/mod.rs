//! The objects of a pod in the cluster, as the engine wants them. Plain functions from a prepared
//! pod to JSON; nothing here talks to the cluster.
//!
//! ```text
//! Namespace            apocryph-<hash>, Pod Security "baseline"
//!   ServiceAccount     tenant: of no rights, and its token is mounted nowhere
//!   ResourceQuota      bounds: what all replicas together may hold
//!   LimitRange         bounds: what a container gets that names no limits
//!   NetworkPolicy      bounds: in from gateway and pod, out to DNS and the public internet
//!   Secret             pull: opens the pod's images at the provider's registry, and no others
//!   Secret             env-<container>-<spec>, files-<volume>-<spec>
//!   PersistentVolumeClaim   <volume>
//!   Pod                one for each replica; and one on each node for the time of a pull
//! ```
//!
//! Replicas are bare Pods, not a Deployment's: an update must leave those that run as they are, one
//! that ends by itself has ended (a Deployment's containers are restarted), one certain replica can
//! be stopped, and nothing but the daemon may start what somebody has to pay for.

mod bounds;
mod pod;
mod policy;
mod pull;
mod secrets;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;

use apocryph_model::{Address, ChannelId, ContainerSpec, Digest, Name, PodSpec, VolumeKind};
use k8s_openapi::api::core::v1::{
    LimitRange, Namespace, PersistentVolumeClaim, ResourceQuota, Secret, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Resource;
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::config::Config;
use crate::labels::{CHANNEL, INSTANCE, SPEC};
use crate::node_registry::NodeImage;

pub(crate) use pod::replica;
pub(crate) use policy::is_public;
pub(crate) use pull::pull_pod;

/// The ServiceAccount, and the Secret that opens the images.
const SERVICE_ACCOUNT: &str = "tenant";
const PULL_SECRET: &str = "pull";
/// Quota, limits and policy.
const BOUNDS: &str = "bounds";

/// A pod of which replicas can be started.
pub(crate) struct Prepared {
    pub(crate) id: ChannelId,
    pub(crate) publisher: Address,
    pub(crate) namespace: String,
    pub(crate) spec: PodSpec,
    /// Of the spec: tells replicas of this one from those of earlier ones.
    pub(crate) digest: Digest,
    /// By container.
    pub(crate) images: HashMap<Name, NodeImage>,
    pub(crate) token: String,
}

/// One object, to be applied.
pub(crate) struct Object {
    pub(crate) resource: ApiResource,
    pub(crate) value: Value,
}

impl Object {
    pub(crate) fn new<K: Resource<DynamicType = ()>>(value: Value) -> Self {
        Self { resource: ApiResource::erase::<K>(&()), value }
    }

    pub(crate) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(&self.resource, self.name())
    }

    /// For people, such as `Secret pull`.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.resource.kind, self.name())
    }
}

/// What tells an object from others of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(kind: &ApiResource, name: &str) -> Self {
        Self { kind: kind.kind.clone(), name: name.into() }
    }
}

/// What pods have; all but Pods themselves.
pub(crate) fn kinds() -> [ApiResource; 7] {
    [
        ApiResource::erase::<Namespace>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<ResourceQuota>(&()),
        ApiResource::erase::<LimitRange>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<PersistentVolumeClaim>(&()),
    ]
}

/// Those of which a pod's specs name different ones: what no spec names any more is taken away.
pub(crate) fn kinds_of_specs() -> [ApiResource; 2] {
    [ApiResource::erase::<Secret>(&()), ApiResource::erase::<PersistentVolumeClaim>(&())]
}

/// What tells whose an object is.
pub(crate) fn labels(config: &Config) -> Value {
    json!({ "app.kubernetes.io/managed-by": "apocryph", INSTANCE: config.instance.as_str() })
}

/// The namespace; `prepared` is the digest of the spec that all in it was last prepared for.
pub(crate) fn namespace(config: &Config, pod: &Prepared, prepared: Option<&str>) -> Object {
    let mut labels = labels(config);
    for mode in ["enforce", "warn"] {
        labels[format!("pod-security.kubernetes.io/{mode}")] = "baseline".into();
    }
    let mut annotations = json!({
        CHANNEL: pod.id.to_string(),
        "apocryph.network/publisher": pod.publisher.to_string(),
    });
    if let Some(prepared) = prepared {
        annotations[SPEC] = prepared.into();
    }
    Object::new::<Namespace>(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": pod.namespace, "labels": labels, "annotations": annotations },
    }))
}

/// All that stands in the namespace at zero replicas.
pub(crate) fn standing(config: &Config, pod: &Prepared, nodes: &Nodes) -> Vec<Object> {
    let meta = |name: &str| meta(config, pod, name);
    let mut objects = vec![
        Object::new::<ServiceAccount>(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": meta(SERVICE_ACCOUNT),
            "automountServiceAccountToken": false,
        })),
        Object::new::<ResourceQuota>(bounds::quota(&pod.spec, nodes.count, meta(BOUNDS))),
        Object::new::<LimitRange>(bounds::limits(meta(BOUNDS))),
        Object::new::<NetworkPolicy>(policy::policy(&config.gateways, &nodes.addresses, meta(BOUNDS))),
        Object::new::<Secret>(secrets::pull(config, pod, meta(PULL_SECRET))),
    ];
    objects.extend(secrets::of_spec(config, pod));
    for volume in &pod.spec.volumes {
        if let VolumeKind::Persistent { size } = volume.kind {
            let claim = claim(config, meta(volume.name.as_str()), size.0);
            objects.push(Object::new::<PersistentVolumeClaim>(claim));
        }
    }
    objects
}

/// What the cluster's nodes are, as far as a pod's objects depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    /// At least so many.
    pub(crate) count: u32,
    /// Those that are public, sorted.
    pub(crate) addresses: Vec<std::net::IpAddr>,
}

fn meta(config: &Config, pod: &Prepared, name: &str) -> Value {
    json!({ "name": name, "namespace": pod.namespace, "labels": labels(config) })
}

fn claim(config: &Config, metadata: Value, size: u64) -> Value {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": quantity(size) } },
    });
    if let Some(class) = &config.storage_class {
        spec["storageClassName"] = class.as_str().into();
    }
    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec })
}

/// As the API server itself writes quantities of bytes.
fn quantity(bytes: u64) -> String {
    apocryph_model::Bytes(bytes).to_string()
}

/// As the API server itself writes quantities of cores.
fn cores(millicores: u64) -> String {
    if millicores.is_multiple_of(1000) { (millicores / 1000).to_string() } else { format!("{millicores}m") }
}

/// How nodes name the image of a container.
fn image(config: &Config, pod: &Prepared, container: &ContainerSpec) -> String {
    // A container without an image is refused when the pod is prepared.
    let manifest = pod.images.get(&container.name).map(|image| image.manifest);
    let manifest = manifest.map(|digest| digest.to_string()).unwrap_or_default();
    format!("{}/{}@{manifest}", config.registry, pod.namespace)
}
