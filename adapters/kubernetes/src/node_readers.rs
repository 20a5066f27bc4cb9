//! What the engine needs of readers on the nodes, which know better than kubelets what Pods used.

use std::collections::HashMap;

use async_trait::async_trait;

/// What a node's reader tells of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeReading {
    /// Processor time of all processes that ever were in it, in core-microseconds, by the kernel's own
    /// counter.
    pub cpu_us: u64,
    /// Whether it may still use some.
    pub there: bool,
    /// Whether it was read after the last process was gone.
    pub whole: bool,
}

/// Reads Pods on their nodes, also for a while after they ended.
#[async_trait]
pub trait NodeReaders: Send + Sync + 'static {
    /// What those of these Pods used that the node's reader knows, by uid, read after this was
    /// called. `None` where it does not answer: unknown, not nothing.
    async fn read(&self, node: &str, pods: &[String]) -> Option<HashMap<String, NodeReading>>;

    /// Waits for a reader that was there a moment ago or may yet come after the daemon's start, some
    /// seconds at most; tells whether it is there.
    async fn returned(&self, node: &str) -> bool;
}
