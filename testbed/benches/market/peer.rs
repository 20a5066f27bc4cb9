//! The peer of a cluster: a Deployment of the same server, scaled by `kubectl scale` and asked
//! through its Service.

use std::net::SocketAddr;
use std::time::Duration;

use apocryph_testbed::cluster::Cluster;

use crate::clock::{Answer, now, wait_for_answer};

/// Goes with this.
pub(crate) struct Peer<'a> {
    cluster: &'a Cluster,
    namespace: String,
    service: SocketAddr,
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        // Only tidiness: a namespace that stays is in nobody's way.
        let _ = self.cluster.delete_namespace(&self.namespace);
    }
}

impl<'a> Peer<'a> {
    /// Of an image that the node has, with so much of a core; at zero replicas.
    pub(crate) fn new(cluster: &'a Cluster, image: &str, cpu: &str) -> Self {
        let namespace = format!("bench-{}", std::process::id());
        let manifest = std::env::temp_dir().join(format!("{namespace}.yaml"));
        let text =
            include_str!("peer.yaml").replace("NAME", &namespace).replace("IMAGE", image).replace("CPU", cpu);
        std::fs::write(&manifest, text).unwrap();
        cluster.run(&["apply", "-f", manifest.to_str().unwrap()]).unwrap();
        std::fs::remove_file(manifest).unwrap();
        let address = ["get", "service", "peer", "-n", &namespace, "-o", "jsonpath={.spec.clusterIP}"];
        let address = cluster.run(&address).unwrap();
        let service = SocketAddr::new(address.trim().parse().unwrap(), 80);
        Self { cluster, namespace, service }
    }

    /// How long it takes from the command to the first byte, and what was answered; at zero again
    /// afterwards.
    pub(crate) fn answer(&self) -> (Duration, Answer) {
        let begun = now();
        self.scale("1");
        let answer = wait_for_answer(self.service);
        self.scale("0");
        let gone = ["wait", "--for=delete", "pod", "-l", "app=peer", "-n", &self.namespace, "--timeout=60s"];
        self.cluster.run(&gone).unwrap();
        (answer.since(begun), answer)
    }

    fn scale(&self, replicas: &str) {
        let replicas = format!("--replicas={replicas}");
        self.cluster.run(&["scale", "deployment/peer", "-n", &self.namespace, &replicas]).unwrap();
    }
}
