//! The peer of a cluster: a Deployment of the same server, scaled by `kubectl scale` and asked
//! through its Service.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apocryph_testbed::cluster::Cluster;

use crate::clock::wait_for_answer;

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
    /// At zero replicas.
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        let namespace = format!("bench-{}", std::process::id());
        let manifest = std::env::temp_dir().join(format!("{namespace}.yaml"));
        std::fs::write(&manifest, include_str!("peer.yaml").replace("NAME", &namespace)).unwrap();
        cluster.run(&["apply", "-f", manifest.to_str().unwrap()]).unwrap();
        std::fs::remove_file(manifest).unwrap();
        let address = ["get", "service", "peer", "-n", &namespace, "-o", "jsonpath={.spec.clusterIP}"];
        let address = cluster.run(&address).unwrap();
        let service = SocketAddr::new(address.trim().parse().unwrap(), 80);
        Self { cluster, namespace, service }
    }

    /// How long it takes from the command to the first byte; at zero again afterwards.
    pub(crate) fn first_byte(&self) -> Duration {
        let begun = Instant::now();
        self.scale("1");
        wait_for_answer(self.service);
        let taken = begun.elapsed();
        self.scale("0");
        let gone = ["wait", "--for=delete", "pod", "-l", "app=peer", "-n", &self.namespace, "--timeout=60s"];
        self.cluster.run(&gone).unwrap();
        taken
    }

    fn scale(&self, replicas: &str) {
        let replicas = format!("--replicas={replicas}");
        self.cluster.run(&["scale", "deployment/peer", "-n", &self.namespace, &replicas]).unwrap();
    }
}
