//! The readers on a cluster's nodes, as its engine asks them.

use apocryph_kubernetes::{NodeReaders, NodeReading};
use apocryph_link::nodes::{NodeReaders as Linked, PodReading, PodUid};
use async_trait::async_trait;
use std::collections::HashMap;

/// Those that are linked to this daemon.
pub(super) struct LinkedReaders(pub(super) Linked);

#[async_trait]
impl NodeReaders for LinkedReaders {
    async fn read(&self, node: &str, pods: &[String]) -> Option<HashMap<String, NodeReading>> {
        let node = node.parse().ok()?;
        let pods: Vec<PodUid> = pods.iter().filter_map(|pod| pod.parse().ok()).collect();
        let read = self.0.read(&node, &pods).await?;
        let reading =
            |PodReading { uid, cpu_us, there, whole }| (uid.into(), NodeReading { cpu_us, there, whole });
        Some(read.into_iter().map(reading).collect())
    }

    async fn returned(&self, node: &str) -> bool {
        match node.parse() {
            Ok(node) => self.0.returned(&node).await,
            Err(_) => false,
        }
    }
}
