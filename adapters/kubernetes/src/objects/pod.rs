//! A replica.

use apocryph_model::{ContainerSpec, VolumeKind, VolumeSpec};
use serde_json::{Value, json};

use super::secrets::{env_key, env_secret, file_key, files_secret};
use super::{PULL_SECRET, Prepared, SERVICE_ACCOUNT, cores, image, labels, quantity};
use crate::config::Config;
use crate::labels::{CHANNEL, REPLICA, RESERVED, ROLE, SPEC};

/// What root in a container may do: change owners and users within its own files, listen on any
/// port. Not: raw packets, devices, another root directory, anything of the host's.
const CAPABILITIES: [&str; 9] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID"];
/// The group that owns a pod's volumes, which all of its containers are in: whatever user they run
/// as, they can write to them.
const VOLUME_GROUP: u32 = 65_533;
/// Log files on the node, which the kubelet counts as the container's storage.
const LOG_BYTES: u64 = 64 << 20;

/// The replica of this name.
pub(crate) fn replica(config: &Config, pod: &Prepared, name: &str) -> Value {
    let mut labels = labels(config);
    labels[ROLE] = REPLICA.into();
    // Plain structs of integers always have a JSON form.
    let reserved = serde_json::to_string(&pod.spec.reserved()).unwrap_or_default();
    // The kubelet counts ephemeral volumes with all containers' storage together.
    let mut shared = pod.spec.reserved().storage.0 - own_storage(pod);
    let containers = pod.spec.containers.iter();
    let containers: Vec<Value> =
        containers.map(|c| container(config, pod, c, std::mem::take(&mut shared))).collect();
    let volumes: Vec<Value> = pod.spec.volumes.iter().map(|volume| self::volume(pod, volume)).collect();
    let mut spec = confined(config);
    spec["hostname"] = pod.spec.name.as_str().into();
    spec["containers"] = containers.into();
    spec["volumes"] = volumes.into();
    spec["terminationGracePeriodSeconds"] = config.grace_seconds().into();
    spec["securityContext"]["fsGroup"] = VOLUME_GROUP.into();
    spec["securityContext"]["fsGroupChangePolicy"] = "OnRootMismatch".into();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": pod.namespace,
            "labels": labels,
            "annotations": {
                CHANNEL: pod.id.to_string(), SPEC: pod.digest.hex(), RESERVED: reserved,
            },
        },
        "spec": spec,
    })
}

/// What is the same for everything that runs in a tenant's namespace.
pub(super) fn confined(config: &Config) -> Value {
    let mut spec = json!({
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "restartPolicy": "Never",
        "imagePullSecrets": [{ "name": PULL_SECRET }],
        "securityContext": { "seccompProfile": seccomp(config) },
    });
    if let Some(class) = &config.runtime_class {
        spec["runtimeClassName"] = class.as_str().into();
    }
    spec
}

fn seccomp(config: &Config) -> Value {
    match &config.seccomp_profile {
        Some(profile) => json!({ "type": "Localhost", "localhostProfile": profile }),
        None => json!({ "type": "RuntimeDefault" }),
    }
}

pub(super) fn security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"], "add": CAPABILITIES },
    })
}

/// What the containers reserve for their own files.
fn own_storage(pod: &Prepared) -> u64 {
    pod.spec.containers.iter().map(|container| container.resources.storage.0).sum()
}

/// `shared` is storage that is not the container's own.
fn container(config: &Config, pod: &Prepared, container: &ContainerSpec, shared: u64) -> Value {
    let resources = &container.resources;
    let amount = |storage: u64| {
        json!({
            "cpu": cores(resources.cpu.0.into()),
            "memory": quantity(resources.memory.0),
            "ephemeral-storage": quantity(storage),
        })
    };
    let storage = resources.storage.0.saturating_add(shared);
    let secret = env_secret(&container.name, pod.digest);
    let env = container.env.keys().enumerate().map(|(n, name)| {
        json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": secret, "key": env_key(n) } } })
    });
    let mounts = container.mounts.iter().map(|mount| {
        json!({ "name": mount.volume.as_str(), "mountPath": mount.path, "readOnly": mount.read_only })
    });
    let mut value = json!({
        "name": container.name.as_str(),
        "image": image(config, pod, container),
        "imagePullPolicy": "IfNotPresent",
        "env": env.collect::<Vec<_>>(),
        "resources": { "requests": amount(storage), "limits": amount(storage.saturating_add(LOG_BYTES)) },
        "securityContext": security(),
        "volumeMounts": mounts.collect::<Vec<_>>(),
    });
    for (field, words) in [("command", &container.entrypoint), ("args", &container.command)] {
        if let Some(words) = words {
            value[field] = words.iter().map(|word| literal(word)).collect();
        }
    }
    if let Some(group) = pod.images.get(&container.name).and_then(|image| image.group) {
        value["securityContext"]["runAsGroup"] = group.into();
    }
    if let Some(dir) = &container.working_dir {
        value["workingDir"] = dir.as_str().into();
    }
    value
}

/// Kubernetes replaces `$(NAME)` in commands, and reads `$$` as `$`.
fn literal(word: &str) -> String {
    word.replace('$', "$$")
}

fn volume(pod: &Prepared, volume: &VolumeSpec) -> Value {
    let name = volume.name.as_str();
    match volume.kind {
        VolumeKind::Ephemeral { size } => {
            json!({ "name": name, "emptyDir": { "sizeLimit": quantity(size.0) } })
        }
        VolumeKind::Persistent { .. } => {
            json!({ "name": name, "persistentVolumeClaim": { "claimName": name } })
        }
        VolumeKind::Secret => {
            let files = volume.files.keys().enumerate();
            let items = files.map(|(n, file)| json!({ "key": file_key(n), "path": file }));
            let secret = files_secret(&volume.name, pod.digest);
            let items: Vec<Value> = items.collect();
            json!({ "name": name, "secret": { "secretName": secret, "items": items, "defaultMode": 0o444 } })
        }
    }
}
