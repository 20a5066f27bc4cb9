//! What the gateway needs of the engine that runs the pods.

use apocryph_model::{Cause, ChannelId, Fault, Who};
use async_trait::async_trait;
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
};

/// One run of one replica of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Tells this run from every earlier and later run of the pod's replicas, whose address may
    /// be the same.
    pub run: u64,
    /// Where the containers' ports are dialled.
    pub address: IpAddr,
}

impl Backend {
    /// The run of the replica with this id, which no other replica ever had or will have.
    pub fn of_replica(id: &str, address: IpAddr) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Self { run: hasher.finish(), address }
    }
}

/// The pods of this provider, as far as the gateway scales them.
///
/// Every call is level-triggered: it names a state to reach, and repeating it does no harm.
/// Calls return in bounded time, but while who decides about starts is [`Pods::away`].
#[async_trait]
pub trait Pods: Send + Sync + 'static {
    /// Brings the pod to at least `replicas` replicas and names all that run, one or more. They
    /// need not listen yet.
    ///
    /// # Errors
    /// The pod cannot be started. An error while others of its replicas run leaves these running.
    async fn wake(&self, pod: ChannelId, replicas: u32) -> Result<Vec<Backend>, WakeError>;

    /// Stops one replica, to which nothing is routed any more and on which nothing is under way.
    ///
    /// # Errors
    /// It may or may not run.
    async fn retire(&self, pod: ChannelId, backend: Backend) -> Result<(), StopError>;

    /// Brings the pod to zero replicas. Nothing is routed to it any more and nothing under way.
    ///
    /// # Errors
    /// Some replica may run; the gateway repeats the call.
    async fn idle(&self, pod: ChannelId) -> Result<(), StopError>;

    /// Whether starts wait for somebody who is not there now.
    fn away(&self) -> bool {
        false
    }

    /// A request was refused because nothing listens on this port of the pod, which runs.
    fn unheard(&self, pod: ChannelId, port: u16);

    /// Returns when this run has ended, or is about to without having been asked to here; at once where it
    /// has ended before.
    async fn died(&self, pod: ChannelId, backend: Backend) -> End;
}

/// The end of a run that nobody here asked for.
#[derive(Debug)]
pub enum End {
    /// It is over, for this reason.
    Died(WakeError),
    /// Whoever runs the machines is ending it: what is under way there may come to its end.
    Leaving,
}

/// Why a pod does not start. The text of every variant is for whoever sent the request: it holds
/// nothing of the pod's own output, which is its publisher's affair.
#[derive(Debug, thiserror::Error)]
pub enum WakeError {
    /// The pod cannot run as it is, by its image or command: the publisher's fault.
    #[error("the pod cannot run as it is: {reason}")]
    Image {
        /// What is wrong with it.
        reason: String,
    },
    /// A container ended: the publisher's fault.
    #[error("{reason}; its publisher finds out more by `apocryph logs`")]
    Exited {
        /// Which one, and how.
        reason: String,
    },
    /// A container needed more memory than it has: the publisher's fault.
    #[error("{reason}; its publisher can raise resources.memory")]
    OutOfMemory {
        /// Which one, and how much it has.
        reason: String,
    },
    /// The channel that pays for the pod has run out: the publisher's fault.
    #[error("the pod is out of funds; its publisher can add some by `apocryph fund`")]
    OutOfFunds,
    /// The host cannot fit another replica: the provider's fault, and may pass.
    #[error("the provider has too little {resource} left to start the pod")]
    NoRoom {
        /// What is lacking, such as memory.
        resource: String,
    },
    /// What could start the pod does not answer: the provider's fault, and may pass.
    #[error("the provider's cluster does not answer")]
    ClusterUnreachable,
    /// The pod was removed.
    #[error("the pod was removed")]
    Removed,
    /// The engine failed: the provider's fault, and may pass. The cause is for its own log.
    #[error("the provider could not start the pod")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl WakeError {
    /// A stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Image { .. } => "image",
            Self::Exited { .. } => "exited",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::OutOfFunds => "out_of_funds",
            Self::NoRoom { .. } => "no_room",
            Self::ClusterUnreachable => "cluster_unreachable",
            Self::Removed => "removed",
            Self::Engine(_) => "engine",
        }
    }

    /// Whether the same request may succeed later without anybody changing the pod.
    pub fn retry(&self) -> bool {
        matches!(self, Self::NoRoom { .. } | Self::ClusterUnreachable | Self::Engine(_))
    }
}

/// By the cause that the engine tells, else by whose fault it is.
impl From<Fault> for WakeError {
    fn from(fault: Fault) -> Self {
        let no_room = |resource: &str| Self::NoRoom { resource: resource.into() };
        match fault.cause() {
            Some(Cause::OutOfMemory) => Self::OutOfMemory { reason: fault.text },
            Some(Cause::ContainerEnded) => Self::Exited { reason: fault.text },
            Some(Cause::MemoryFull) => no_room("memory"),
            Some(Cause::DiskFull) => no_room("disk space"),
            Some(Cause::AddressesUsedUp) => no_room("addresses"),
            Some(Cause::NoRoom | Cause::Quota) => no_room("room"),
            Some(Cause::ClusterUnreachable) => Self::ClusterUnreachable,
            None if fault.who == Who::Publisher => Self::Image { reason: fault.text },
            None => Self::Engine(fault.into()),
        }
    }
}

/// Why what was to be stopped may still run.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Something is under way to it at another gateway: it was left as it is.
    #[error("another gateway uses it")]
    InUse,
    /// The engine could not. The cause is for the provider's log.
    #[error("the engine could not stop the pod")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_whose_fault_it_is() {
        let of = |cause| WakeError::from(Fault::of(cause, "text")).code();
        assert_eq!(of(Cause::ContainerEnded), "exited");
        assert_eq!(of(Cause::OutOfMemory), "out_of_memory");
        assert_eq!(of(Cause::DiskFull), "no_room");
        assert_eq!(of(Cause::NoRoom), "no_room");
        assert_eq!(of(Cause::ClusterUnreachable), "cluster_unreachable");
        let other = |who, code| WakeError::from(Fault::passing(who, code, "text")).code();
        assert_eq!(other(Who::Publisher, "user-unknown"), "image");
        assert_eq!(other(Who::Provider, "host-failed"), "engine");
    }

    #[test]
    fn a_run_is_known_by_its_replica() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let run = |id| Backend::of_replica(id, address).run;
        assert_eq!(run("r-1"), run("r-1"));
        assert_ne!(run("r-1"), run("r-2"));
    }
}
