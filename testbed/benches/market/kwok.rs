//! Further nodes of a cluster, which only say that they are there: kwok speaks for their kubelets.
//! They are ready and have no room: Pods that pull images come to them, replicas do not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::service::Service;
use apocryph_testbed::until::until;
use serde_json::{Value, json};

/// What tells them from others.
const LABEL: &str = "testbed.local/kwok";
const PATIENCE: Duration = Duration::from_secs(60);

/// They go with this.
pub(crate) struct Nodes {
    cluster: Cluster,
    _kwok: Service,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Nodes that stay are not ready, and in nobody's way.
        let _ = self.cluster.run(&["delete", "nodes", "-l", LABEL]);
    }
}

impl Nodes {
    /// Returns once all are ready; kwok's files are kept in `folder`.
    pub(crate) async fn add(cluster: &Cluster, count: u8, folder: &Path) -> Self {
        let (stages, nodes) = (folder.join("kwok.yaml"), folder.join("nodes.json"));
        std::fs::write(&stages, include_str!("kwok.yaml")).unwrap();
        let items: Vec<Value> = (1..=count).map(node).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        std::fs::write(&nodes, list.to_string()).unwrap();
        let mut command = tokio::process::Command::new(program());
        command.arg("--kubeconfig").arg(&cluster.kubeconfig).arg("--config").arg(&stages);
        command.arg(format!("--manage-nodes-with-label-selector={LABEL}"));
        command.args(["--node-ip=192.0.2.254", "--node-lease-duration-seconds=40", "--server-address="]);
        let kwok = Service::start("kwok", command, &folder.join("kwok.log")).unwrap();
        let added = Self { cluster: cluster.clone(), _kwok: kwok };
        cluster.run(&["apply", "-f", nodes.to_str().unwrap()]).unwrap();
        until("kwok's nodes are ready", PATIENCE, async || added.are_ready(count)).await.unwrap();
        added
    }

    /// Ready, and without the taint of those that are not.
    fn are_ready(&self, count: u8) -> std::io::Result<bool> {
        let listed = self.cluster.run(&["get", "nodes", "-l", LABEL, "-o", "json"])?;
        let listed: Value = serde_json::from_str(&listed)?;
        let is_ready = |node: &&Value| {
            let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
            let mut ready =
                conditions.filter(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            ready.next().is_some() && node["spec"]["taints"].is_null()
        };
        let nodes = listed["items"].as_array().into_iter().flatten();
        Ok(nodes.filter(is_ready).count() == usize::from(count))
    }
}

/// Of an address for documentation.
fn node(number: u8) -> Value {
    let name = format!("kwok-{number}");
    let room = json!({ "cpu": "1m", "memory": "1Mi", "pods": "110" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": { LABEL: "", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" },
        },
        "status": {
            "addresses": [{ "type": "InternalIP", "address": format!("192.0.2.{number}") }],
            "allocatable": room,
            "capacity": room,
        },
    })
}

/// Built from its Go module where it is not yet.
fn program() -> PathBuf {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/cluster");
    let built = Command::new(driver).args(["build", "kwok"]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    String::from_utf8(built.stdout).unwrap().trim().into()
}
