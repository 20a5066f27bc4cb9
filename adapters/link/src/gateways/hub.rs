//! The daemon's half of the link.

use super::{
    connections::Connections,
    message::{Outcome, PodState, ToGateway},
    session,
};
use crate::Token;
use apocryph_gateway::{Backend, Config, End, Gateway, GatewayId, PodRoutes, Pods, StopError, WakeError};
use apocryph_model::ChannelId;
use async_trait::async_trait;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::{info, warn};

/// Connections at once that have not said yet who they are, or have.
const CONNECTIONS: usize = 128;

/// The gateways beside this daemon's own, which decides for all. Clones are the same.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) token: Token,
    /// The one that decides.
    pub(crate) gateway: Gateway,
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) connections: Arc<Connections>,
    /// How long what is under way may take on replicas that are not routed to any more.
    drain: Duration,
    table: Mutex<HashMap<ChannelId, PodState>>,
    /// Whether the table is whole.
    ready: watch::Sender<bool>,
}

/// A gateway cannot listen on a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a gateway cannot listen on port {port}: {reason}")]
pub struct HubError {
    /// Where.
    pub port: u16,
    /// Whether something else on its machine does.
    pub taken: bool,
    /// What its system says.
    pub reason: String,
}

/// Pods that are stopped only when no other gateway routes to them.
struct FencedPods {
    pods: Arc<dyn Pods>,
    connections: Arc<Connections>,
}

impl Hub {
    /// The gateway that decides, by `config`, over `pods`, and what it is joined to the others by.
    pub fn new(config: Config, pods: Arc<dyn Pods>, token: Token, lease: Duration) -> (Gateway, Self) {
        metrics::describe_gauge!("apocryph_gateways", "Gateways that are connected");
        let connections = Arc::new(Connections::new(lease));
        let fenced = FencedPods { pods: pods.clone(), connections: connections.clone() };
        let drain = config.drain;
        let gateway = Gateway::new(config, Arc::new(fenced));
        let inner = Inner {
            token,
            gateway: gateway.clone(),
            pods,
            connections,
            drain,
            table: Mutex::default(),
            ready: watch::Sender::new(false),
        };
        (gateway, Self(Arc::new(inner)))
    }

    /// Lets gateways in, for as long as it is polled; then the links end. Until [`Hub::ready`] they keep what they know.
    pub async fn serve(&self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let accept = async {
            let mut sessions = JoinSet::new();
            loop {
                match (listener.accept().await, places.clone().try_acquire_owned()) {
                    (Ok((stream, peer)), Ok(place)) => {
                        let inner = self.0.clone();
                        sessions.spawn(async move {
                            if let Err(error) = session::serve(inner, stream).await {
                                warn!(%peer, %error, "the link to a gateway ended");
                            }
                            drop(place);
                        });
                        while sessions.try_join_next().is_some() {}
                    }
                    (Ok((_, peer)), Err(_)) => warn!(%peer, "too many links to gateways"),
                    (Err(error), _) => {
                        warn!(%error, "no link to a gateway can be accepted");
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        tokio::join!(accept, self.0.forget_lost());
    }

    /// Every pod was put: from now on gateways are told that there are no others.
    pub fn ready(&self) {
        self.0.ready.send_replace(true);
    }

    /// Has the gateways take what the one that decides was put: the pod's routes, and what runs.
    ///
    /// # Errors
    /// One that is connected cannot.
    pub async fn put(&self, routes: &PodRoutes) -> Result<(), HubError> {
        let answers = {
            let mut table = self.0.table();
            let running = self.0.gateway.routed(routes.pod).unwrap_or_default();
            let state = PodState::new(routes, &running);
            if table.insert(routes.pod, state.clone()).is_none() {
                tokio::spawn(self.0.clone().follow(routes.pod));
            }
            let put = |order| ToGateway::Put { order: Some(order), pod: state.clone() };
            self.0.connections.order_connected(put)
        };
        answers.outcomes().await.into_iter().try_for_each(|outcome| match outcome {
            Outcome::Port { port, taken, reason } => Err(HubError { port, taken, reason }),
            Outcome::Holds | Outcome::InUse => Ok(()),
        })
    }

    /// Waits until nothing is under way anywhere on replicas that a put left out, at most for
    /// `grace` or [`Config::drain`], whichever is less; then it is cut. Of a gateway that does not
    /// answer: until it cannot route any more.
    pub async fn retire(&self, pod: ChannelId, grace: Duration) {
        let grace_ms = millis(grace);
        let retire = |order| ToGateway::Retire { order, pod, grace_ms };
        self.0.connections.order_everyone(retire, grace).await;
    }

    /// Ends the pod's routes everywhere; the rest likewise.
    pub async fn remove(&self, pod: ChannelId, grace: Duration) {
        self.0.table().remove(&pod);
        let grace_ms = millis(grace);
        let remove = |order| ToGateway::Remove { order, pod, grace_ms };
        self.0.connections.order_everyone(remove, grace).await;
    }
}

impl Inner {
    /// Tells a gateway every pod, once all are known.
    pub(crate) async fn introduce(&self, id: GatewayId) {
        // The sender is this one's own: it cannot be gone.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
        let table = self.table();
        for pod in table.values() {
            self.told(pod).into_iter().for_each(|message| self.connections.tell(id, message));
        }
        self.connections.tell(id, ToGateway::Synced);
        info!(gateway = id.0, pods = table.len(), "a gateway knows every pod");
    }

    pub(crate) fn knows(&self, pod: ChannelId) -> bool {
        self.table().contains_key(&pod)
    }

    /// A gateway's requests wait for the pod: it is started, and the gateway told.
    pub(crate) async fn start(&self, id: GatewayId, pod: ChannelId) {
        let Some(started) = self.gateway.start(pod).await else { return };
        let outcome = match started {
            Ok(running) => Ok(running.into_iter().map(Into::into).collect()),
            Err(cause) => Err((&*cause).into()),
        };
        let table = self.table();
        self.connections.tell(id, ToGateway::Started { pod, outcome });
        // What was put while it waited counts.
        if let Some(pod) = table.get(&pod) {
            self.told(pod).into_iter().for_each(|message| self.connections.tell(id, message));
        }
    }

    /// What is under way to the pod elsewhere has changed.
    pub(crate) fn recount(&self, pod: ChannelId) {
        self.gateway.set_elsewhere(pod, self.connections.open(pod));
    }

    /// Has the gateways follow what the one that decides routes to, until the pod is removed.
    async fn follow(self: Arc<Self>, pod: ChannelId) {
        let Some(mut changes) = self.gateway.changes(pod) else { return };
        while self.publish(pod) && changes.changed().await.is_ok() {}
    }

    /// Tells what runs of a pod, if that is news; `false` where there is no such pod any more.
    fn publish(&self, pod: ChannelId) -> bool {
        let mut table = self.table();
        let Some(state) = table.get_mut(&pod) else { return false };
        let Some(routed) = self.gateway.routed(pod) else { return true };
        let running: Vec<_> = routed.into_iter().map(Into::into).collect();
        if state.running != running {
            state.running = running;
            self.told(state).iter().for_each(|message| self.connections.tell_all(message));
        }
        true
    }

    /// What runs of a pod, and that what is under way beside it is not to go on for ever: whoever left may be
    /// ended by others. Nobody waits for that here.
    fn told(&self, pod: &PodState) -> [ToGateway; 2] {
        let (order, grace_ms) = (self.connections.number(), millis(self.drain));
        let put = ToGateway::Put { order: None, pod: pod.clone() };
        [put, ToGateway::Retire { order, pod: pod.pod, grace_ms }]
    }

    async fn forget_lost(&self) {
        loop {
            for pod in self.connections.expired().await {
                self.recount(pod);
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<ChannelId, PodState>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FencedPods {
    /// Returns when no gateway routes to the pod, or to one run of it, any more.
    async fn release(&self, pod: ChannelId, run: Option<u64>) -> Result<(), StopError> {
        let release = |order| ToGateway::Release { order, pod, run };
        let outcomes = tokio::select! {
            outcomes = self.connections.order_everyone(release, Duration::ZERO) => outcomes,
            () = self.connections.wanted(pod), if run.is_none() => return Err(StopError::InUse),
        };
        if outcomes.contains(&Outcome::InUse) { Err(StopError::InUse) } else { Ok(()) }
    }
}

#[async_trait]
impl Pods for FencedPods {
    async fn wake(&self, pod: ChannelId, replicas: u32) -> Result<Vec<Backend>, WakeError> {
        self.pods.wake(pod, replicas).await
    }

    async fn retire(&self, pod: ChannelId, backend: Backend) -> Result<(), StopError> {
        self.release(pod, Some(backend.run)).await?;
        self.pods.retire(pod, backend).await
    }

    async fn idle(&self, pod: ChannelId) -> Result<(), StopError> {
        self.release(pod, None).await?;
        self.pods.idle(pod).await
    }

    fn unheard(&self, pod: ChannelId, port: u16) {
        self.pods.unheard(pod, port);
    }

    async fn died(&self, pod: ChannelId, backend: Backend) -> End {
        self.pods.died(pod, backend).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
