//! What the provider needs of its gateway.

use apocryph_model::{ChannelId, Endpoint, PodSpec};
use async_trait::async_trait;

/// Why a pod cannot be reached as it asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Another pod has the host name.
    #[error("the host name {0} is taken: choose another, or one under the provider's own domain")]
    HostTaken(String),
    /// Another pod, or something else on the host, has the port.
    #[error("TCP port {0} is taken: leave `published` out to be given a free one")]
    PortTaken(u16),
    /// The gateway could not listen.
    #[error("the gateway cannot listen: {0}")]
    Listen(String),
}

/// The gateway's route table. Level-triggered: what was put last is what holds.
#[async_trait]
pub trait Routes: Send + Sync {
    /// Routes to the pod, replacing its earlier routes, and tells where it is reached. Ports
    /// given out earlier (`earlier`) are given out again.
    async fn put(
        &self,
        pod: ChannelId,
        spec: &PodSpec,
        earlier: &[Endpoint],
    ) -> Result<Vec<Endpoint>, RouteError>;

    /// Ends the pod's routes: no new requests; those under way are drained within the grace.
    async fn remove(&self, pod: ChannelId);
}
