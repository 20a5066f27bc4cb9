//! The pod that has a node pull images before they are needed. Its containers are told to run a
//! program that no image has: each ends as soon as it has been made, and with that its image is
//! there, whole, verified, unpacked, and its user known.

use serde_json::{Value, json};

use super::pod::{confined, security};
use super::{Prepared, image, labels};
use crate::config::Config;
use crate::labels::{CHANNEL, PULL, ROLE};

/// A program that no image has.
const NOWHERE: &str = "/.apocryph-pull";

/// The pod for one node.
pub(crate) fn pull_pod(config: &Config, pod: &Prepared, name: &str, node: &str) -> Value {
    let mut labels = labels(config);
    labels[ROLE] = PULL.into();
    let containers = pod.spec.containers.iter().map(|container| {
        json!({
            "name": container.name.as_str(),
            "image": image(config, pod, container),
            "imagePullPolicy": "IfNotPresent",
            "command": [NOWHERE],
            "resources": {
                "requests": { "cpu": "1m", "memory": "1Mi" },
                "limits": { "cpu": "100m", "memory": "64Mi" },
            },
            "securityContext": security(),
        })
    });
    let mut spec = confined(config);
    spec["containers"] = containers.collect();
    spec["nodeName"] = node.into();
    spec["terminationGracePeriodSeconds"] = 0.into();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": pod.namespace,
            "labels": labels,
            "annotations": { CHANNEL: pod.id.to_string() },
        },
        "spec": spec,
    })
}
