//! What is said over the link, as JSON.

use apocryph_gateway::{Activity, Backend, HttpRoute, PodRoutes, TcpRoute, WakeError};
use apocryph_model::{ChannelId, Hostname, Scale};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// The most letters of a gateway's name.
pub const LONGEST_NAME: usize = 64;
/// The most pods of one [`ToDaemon::Activity`].
pub const ACTIVITIES: usize = 1_000;

/// What a gateway says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ToDaemon {
    /// The first message.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// What people call it, at most [`LONGEST_NAME`] bytes.
        name: String,
        /// Tells this run of the gateway from all others: random.
        run: u64,
    },
    /// The lease is asked for from now on.
    Ping {
        /// Told by the answer.
        count: u64,
    },
    /// What is under way, to pods where that is news.
    Activity {
        /// Whether it is everything: whatever is not in it or in one that follows is quiet.
        whole: bool,
        /// At most [`ACTIVITIES`].
        pods: Vec<PodActivity>,
    },
    /// The pod is to be started: requests wait for it.
    Start {
        /// The pod.
        pod: ChannelId,
    },
    /// Nothing listens on a port of the pod, which runs.
    Unheard {
        /// The pod.
        pod: ChannelId,
        /// The container's port.
        port: u16,
    },
    /// What the order of this number has come to.
    Done {
        /// Which.
        order: u64,
        /// Its outcome.
        outcome: Outcome,
    },
    /// Nothing is under way here any more, and nothing will be.
    Bye,
}

/// What a daemon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ToGateway {
    /// The first message.
    Welcome {
        /// [`VERSION`].
        version: u32,
        /// How long a lease lasts, in milliseconds.
        lease_ms: u64,
    },
    /// The lease is given, from the time of that ping on.
    Pong {
        /// Which.
        count: u64,
    },
    /// All routes of a pod, and what runs of it, whatever was put before. What is under way on
    /// replicas that are left out goes on.
    Put {
        /// The number of the order; none where no answer is waited for.
        order: Option<u64>,
        /// The pod.
        pod: PodState,
    },
    /// Every pod was put: others are no more.
    Synced,
    /// Routes nothing to the pod, or to one run of it, any more, unless something is under way there.
    Release {
        /// The number of the order.
        order: u64,
        /// The pod.
        pod: ChannelId,
        /// The run; all of the pod if none.
        run: Option<u64>,
    },
    /// Waits until nothing is under way on replicas that a put left out, and cuts what is left.
    Retire {
        /// The number of the order.
        order: u64,
        /// The pod.
        pod: ChannelId,
        /// For how long, in milliseconds.
        grace_ms: u64,
    },
    /// Ends the pod's routes; the rest likewise.
    Remove {
        /// The number of the order.
        order: u64,
        /// The pod.
        pod: ChannelId,
        /// For how long what is under way may take, in milliseconds.
        grace_ms: u64,
    },
    /// What a start has come to.
    Started {
        /// The pod.
        pod: ChannelId,
        /// What runs now, or why nothing does.
        outcome: Result<Vec<WireBackend>, Refused>,
    },
}

/// What an order has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// Something is under way: nothing was changed.
    InUse,
    /// A port cannot be listened on: nothing was changed.
    Port {
        /// Which.
        port: u16,
        /// Whether something else on the gateway's machine has it.
        taken: bool,
        /// What the system says.
        reason: String,
    },
}

/// What is under way to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodActivity {
    /// The pod.
    pub pod: ChannelId,
    /// Requests, streams and connections, also those that wait.
    pub open: u32,
    /// The most of them at once since this was told before.
    pub most: u32,
}

/// A pod as gateways know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodState {
    /// The pod.
    pub pod: ChannelId,
    /// Its host names, with the containers' ports.
    pub http: Vec<(Hostname, u16)>,
    /// Its published ports, with the containers'.
    pub tcp: Vec<(u16, u16)>,
    /// The replicas to route to.
    pub running: Vec<WireBackend>,
}

/// One run of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WireBackend {
    /// Its number.
    pub run: u64,
    /// Where its ports are dialled.
    pub address: IpAddr,
}

/// Why a pod does not start; see [`WakeError`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Refused {
    /// By its image or command.
    Image(String),
    /// A container ended.
    Exited(String),
    /// A container needed more memory.
    OutOfMemory(String),
    /// Its channel is used up.
    OutOfFunds,
    /// The host has too little of this.
    NoRoom(String),
    /// What could start it does not answer.
    ClusterUnreachable,
    /// It was removed.
    Removed,
    /// The engine failed.
    Engine,
}

/// The engine failed, which the daemon's own log tells more of.
#[derive(Debug, thiserror::Error)]
#[error("the daemon's log tells why")]
struct ToldElsewhere;

impl PodState {
    /// Made of what the daemon knows.
    pub(crate) fn new(routes: &PodRoutes, running: &[Backend]) -> Self {
        let http = routes.http.iter().map(|route| (route.host.clone(), route.container_port));
        let tcp = routes.tcp.iter().map(|route| (route.published, route.container_port));
        Self {
            pod: routes.pod,
            http: http.collect(),
            tcp: tcp.collect(),
            running: running.iter().copied().map(WireBackend::from).collect(),
        }
    }

    /// As a gateway is to have it: one that never decides by itself to start more or to stop any.
    pub(crate) fn routes(&self) -> PodRoutes {
        let http = |(host, container_port): &(Hostname, u16)| HttpRoute {
            host: host.clone(),
            container_port: *container_port,
        };
        let tcp = |(published, container_port): &(u16, u16)| TcpRoute {
            published: *published,
            container_port: *container_port,
        };
        let scale = Scale { min: 0, max: 1, idle_seconds: u32::MAX, requests_per_replica: u32::MAX };
        PodRoutes {
            pod: self.pod,
            scale,
            http: self.http.iter().map(http).collect(),
            tcp: self.tcp.iter().map(tcp).collect(),
        }
    }

    pub(crate) fn running(&self) -> Vec<Backend> {
        self.running.iter().copied().map(Backend::from).collect()
    }
}

impl PodActivity {
    pub(crate) fn new(pod: ChannelId, activity: Activity) -> Self {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self { pod, open: count(activity.open), most: count(activity.most) }
    }
}

impl From<Backend> for WireBackend {
    fn from(Backend { run, address }: Backend) -> Self {
        Self { run, address }
    }
}

impl From<WireBackend> for Backend {
    fn from(WireBackend { run, address }: WireBackend) -> Self {
        Self { run, address }
    }
}

impl From<&WakeError> for Refused {
    fn from(error: &WakeError) -> Self {
        match error {
            WakeError::Image { reason } => Self::Image(reason.clone()),
            WakeError::Exited { reason } => Self::Exited(reason.clone()),
            WakeError::OutOfMemory { reason } => Self::OutOfMemory(reason.clone()),
            WakeError::OutOfFunds => Self::OutOfFunds,
            WakeError::NoRoom { resource } => Self::NoRoom(resource.clone()),
            WakeError::ClusterUnreachable => Self::ClusterUnreachable,
            WakeError::Removed => Self::Removed,
            WakeError::Engine(_) => Self::Engine,
        }
    }
}

impl From<Refused> for WakeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Image(reason) => Self::Image { reason },
            Refused::Exited(reason) => Self::Exited { reason },
            Refused::OutOfMemory(reason) => Self::OutOfMemory { reason },
            Refused::OutOfFunds => Self::OutOfFunds,
            Refused::NoRoom(resource) => Self::NoRoom { resource },
            Refused::ClusterUnreachable => Self::ClusterUnreachable,
            Refused::Removed => Self::Removed,
            Refused::Engine => Self::Engine(ToldElsewhere.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let read = |text: &str| serde_json::from_str::<ToGateway>(text).is_ok();
        let pod = "11".repeat(32);
        let put = |host: &str| {
            format!(
                r#"{{"put":{{"order":1,"pod":{{"pod":"0x{pod}","http":[["{host}",80]],"tcp":[],"running":[{{"run":18446744073709551615,"address":"10.0.0.1"}}]}}}}}}"#
            )
        };
        assert!(read(&put("a.example")), "{}", put("a.example"));
        assert!(!read(&put("A b")));
        assert!(!read(r#"{"pong":{"count":1,"more":2}}"#));
        assert!(!read(r#""hush""#));
    }

    #[test]
    fn whose_fault_a_failure_is_survives_the_way() {
        let all = [
            WakeError::Image { reason: "a".into() },
            WakeError::Exited { reason: "b".into() },
            WakeError::OutOfMemory { reason: "c".into() },
            WakeError::OutOfFunds,
            WakeError::NoRoom { resource: "memory".into() },
            WakeError::ClusterUnreachable,
            WakeError::Removed,
            WakeError::Engine("secret".into()),
        ];
        for error in all {
            let told = serde_json::to_string(&Refused::from(&error)).unwrap();
            assert!(!told.contains("secret"), "what is for the daemon's log stays there");
            let heard = WakeError::from(serde_json::from_str::<Refused>(&told).unwrap());
            assert_eq!((heard.code(), heard.to_string()), (error.code(), error.to_string()));
        }
    }
}
