//! What the provider needs of the thing that runs pods.

use apocryph_model::{Address, ChannelId, Fault, LogLine, LogQuery, PodSpec, Resources};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::net::IpAddr;

/// Everything that an engine is told of a pod.
#[derive(Clone)]
pub struct EnginePod {
    /// Names the pod at this provider.
    pub id: ChannelId,
    /// Whose it is. Nothing of one publisher's is shared with another's.
    pub publisher: Address,
    /// What runs.
    pub spec: PodSpec,
    /// Bearer token that opens the pod's images, and no others, at the provider's registry.
    pub registry_token: String,
    /// The private key (PKCS #8, DER) that unwraps the layers' keys.
    pub image_key: Vec<u8>,
}

/// One running copy of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Unique among all replicas that ever were; at most 64 characters of `[a-z0-9-]`.
    pub id: String,
    /// Where its containers' ports are reached from this host.
    pub address: IpAddr,
    /// How it ends; none while all of its containers run and are to go on.
    pub end: Option<ReplicaEnd>,
}

/// The end of a replica that nobody here asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaEnd {
    /// It has ended: a container by itself, or all of it with its host.
    Failed(Fault),
    /// Whoever runs the machines is ending it: what is under way there may come to its end.
    Leaving,
}

/// What was used by one replica since it began. A reading never goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The pod.
    pub pod: ChannelId,
    /// The replica's id.
    pub replica: String,
    /// What it reserves while it runs: its spec's, which an update of the pod does not change.
    pub reserved: Resources,
    /// Processor time used, in microseconds.
    pub cpu_us: u64,
    /// How long it has been running, in milliseconds.
    pub running_ms: u64,
    /// Traffic into the replica, in bytes.
    pub ingress: u64,
    /// Traffic out of the replica, in bytes.
    pub egress: u64,
    /// Whether the replica has ended: this is its last reading, repeated until it is forgotten.
    pub last: bool,
}

/// Why an engine did not do what it was asked. None of these means that a pod is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The pod cannot run as it is: its image, command or key is wrong.
    #[error("{0}")]
    Pod(Fault),
    /// The host lacks something: space, memory, a runtime.
    #[error("{0}")]
    Host(Fault),
    /// No such pod is prepared.
    #[error("the engine knows no such pod")]
    Unknown,
}

/// Runs pods. A contract that every engine passes as one suite of tests:
///
/// - Every call is idempotent and safe to repeat after a kill at any instruction.
/// - A failed `prepare` leaves nothing behind, or the earlier version as it was.
/// - `replicas` and `sample` see replicas that outlived a restart of the daemon.
/// - A replica that ends by itself, or is stopped, leaves its last [`Reading`] until `forget`.
/// - After `remove` (and `forget`) nothing of the pod is left on the host.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Makes all that a pod needs at zero replicas: images pulled from the provider's registry,
    /// decrypted, verified and unpacked; volumes. With another spec than before, the pod's next
    /// replicas are of the new one; those that run stay until they are scaled away.
    async fn prepare(&self, pod: &EnginePod) -> Result<(), EngineError>;

    /// Brings the pod to `count` replicas of its newest spec, stops all others, and tells those
    /// that run. Containers have been started when it returns; they may not listen yet.
    async fn scale(&self, pod: ChannelId, count: u32) -> Result<Vec<Replica>, EngineError>;

    /// Stops one replica and no other, as [`Engine::scale`] does. One that has ended is no error.
    async fn stop(&self, pod: ChannelId, replica: &str) -> Result<(), EngineError>;

    /// Returns once the replica ends or has ended, at once where it does: with how, with `None` where
    /// it was stopped or nothing is known of it any more.
    async fn ended(&self, pod: ChannelId, replica: &str) -> Result<Option<ReplicaEnd>, EngineError>;

    /// The replicas that are there, of any spec, those that end or have failed included.
    async fn replicas(&self, pod: ChannelId) -> Result<Vec<Replica>, EngineError>;

    /// Every pod of which anything is there.
    async fn pods(&self) -> Result<Vec<ChannelId>, EngineError>;

    /// Takes away all of a pod: replicas, images that no other pod of the publisher uses,
    /// volumes, logs. Last readings stay until they are forgotten. No such pod is no error.
    async fn remove(&self, pod: ChannelId) -> Result<(), EngineError>;

    /// One reading of each replica that runs, or has ended and is not forgotten.
    async fn sample(&self) -> Result<Vec<Reading>, EngineError>;

    /// Lets go of an ended replica's last reading, once it is safely written down.
    async fn forget(&self, replica: &str) -> Result<(), EngineError>;

    /// The pod's log, also of replicas that have ended, oldest first.
    async fn logs(&self, pod: ChannelId, query: LogQuery)
    -> Result<BoxStream<'static, LogLine>, EngineError>;
}
