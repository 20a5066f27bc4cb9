//! What a pod keeps secret, as Secrets. Their names hold the spec's digest, so that an update that
//! fails has changed nothing of the earlier version.

use apocryph_model::{ContainerSpec, Digest, Name, VolumeKind, VolumeSpec};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value, json};

use super::{Object, Prepared, meta};
use crate::config::Config;

/// Whatever stands before the colon is ignored by the registry.
const PULL_USER: &str = "pod";

/// The Secret with a container's environment.
pub(super) fn env_secret(container: &Name, spec: Digest) -> String {
    format!("env-{container}-{}", &spec.hex()[..16])
}

/// The Secret with a volume's files.
pub(super) fn files_secret(volume: &Name, spec: Digest) -> String {
    format!("files-{volume}-{}", &spec.hex()[..16])
}

/// The key of the variable with this number: names of variables are freer than keys.
pub(super) fn env_key(number: usize) -> String {
    format!("v{number}")
}

/// The key of the file with this number.
pub(super) fn file_key(number: usize) -> String {
    format!("f{number}")
}

/// Opens the pod's images at the provider's registry.
pub(super) fn pull(config: &Config, pod: &Prepared, metadata: Value) -> Value {
    let auth = STANDARD.encode(format!("{PULL_USER}:{}", pod.token));
    let access = json!({ "username": PULL_USER, "password": pod.token, "auth": auth });
    let access = json!({ "auths": { config.registry.as_str(): access } }).to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": STANDARD.encode(access) },
    })
}

/// Those of the pod's spec.
pub(super) fn of_spec(config: &Config, pod: &Prepared) -> Vec<Object> {
    let secret = |name: String, data: Map<String, Value>| {
        Object::new::<Secret>(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": meta(config, pod, &name),
            "type": "Opaque",
            "data": data,
        }))
    };
    let containers = pod.spec.containers.iter().filter(|container| !container.env.is_empty());
    let env = containers.map(|c| secret(env_secret(&c.name, pod.digest), environment(c)));
    let volumes = pod.spec.volumes.iter().filter(|volume| volume.kind == VolumeKind::Secret);
    let files = volumes.map(|volume| secret(files_secret(&volume.name, pod.digest), contents(volume)));
    env.chain(files).collect()
}

fn environment(container: &ContainerSpec) -> Map<String, Value> {
    let values = container.env.values().enumerate();
    values.map(|(n, value)| (env_key(n), STANDARD.encode(value).into())).collect()
}

fn contents(volume: &VolumeSpec) -> Map<String, Value> {
    let files = volume.files.values().enumerate();
    files.map(|(n, bytes)| (file_key(n), STANDARD.encode(bytes).into())).collect()
}
