//! What the provider needs of its gateway.

use crate::Replica;
use apocryph_model::{ChannelId, Endpoint, Hostname, PodSpec};
use async_trait::async_trait;

/// Why a pod cannot be reached as it asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Another pod has the host name.
    #[error("the host name {0} is taken: choose another, or leave `host` out to be given one")]
    HostTaken(String),
    /// The host name is one that the provider itself gives.
    #[error(
        "the host name {host} is under {domain}, where the provider gives the names: leave `host` out to be given one"
    )]
    HostReserved {
        /// As asked for.
        host: String,
        /// The provider's own domain.
        domain: String,
    },
    /// Another pod, or something else on the host, has the port.
    #[error("TCP port {0} is taken: leave `published` out to be given a free one")]
    PortTaken(u16),
    /// The provider publishes other ports.
    #[error(
        "TCP port {port} is not offered here, {first} to {last} are: leave `published` out to be given one"
    )]
    PortNotOffered {
        /// As asked for.
        port: u16,
        /// The lowest that is offered.
        first: u16,
        /// The highest that is offered.
        last: u16,
    },
    /// The gateway could not listen.
    #[error("the gateway cannot listen: {0}")]
    Listen(String),
}

/// The gateway's route table. Level-triggered: what was put last is what holds.
#[async_trait]
pub trait Routes: Send + Sync {
    /// The host names that the pod brings: those that it asks for but for the one which it would
    /// be given anyway. One under the provider's own domain is refused.
    fn brought(&self, pod: ChannelId, spec: &PodSpec) -> Result<Vec<Hostname>, RouteError>;

    /// Routes to the pod, of which `running` runs, replacing its earlier routes, and tells where
    /// it is reached. Ports given out earlier (`earlier`) are given out again. After an error the
    /// earlier routes hold.
    async fn put(
        &self,
        pod: ChannelId,
        spec: &PodSpec,
        earlier: &[Endpoint],
        running: &[Replica],
    ) -> Result<Vec<Endpoint>, RouteError>;

    /// Routes nothing new to the replicas that run now, and waits until nothing is under way on
    /// them, within the grace: then they can be stopped. Requests that arrive wait for new ones.
    async fn fence(&self, pod: ChannelId);

    /// Ends the pod's routes: no new requests; those under way are drained within the grace.
    async fn remove(&self, pod: ChannelId);
}
