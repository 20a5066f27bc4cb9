//! The gateway as the daemon sees it.

use crate::{
    Activity, Backend, Config, InUse, PodRoutes, Pods, PutError, TcpRoute, Tls, WakeError,
    clients::Clients,
    hold::Room,
    listener::Http,
    meters::Meters,
    pod::{Environment, Phase, Pod},
    routes::{Listener, Routed, Routes},
    tcp::Published,
};
use apocryph_model::ChannelId;
use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU16},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
    time::timeout,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

/// The scale-to-zero request path of one provider. Clones are the same gateway.
///
/// It lives within a tokio runtime, and on no disk: after a restart the daemon puts every pod's
/// routes again, with what runs, and each pod has its whole idle period before it.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) environment: Arc<Environment>,
    pub(crate) routes: Routes,
    pub(crate) clients: Arc<Clients>,
    pub(crate) http: Http,
    /// Held while routes change, as that takes several steps.
    changing: Mutex<()>,
}

/// How a wait for requests to end has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// How many requests and connections were cut because they took longer than the grace.
    pub cut: usize,
}

/// A pod whose routes were taken away.
pub struct Leaving(Arc<Pod>);

impl Leaving {
    /// Waits until nothing is under way to it, at most for `grace`, and cuts what is left.
    pub async fn drain(self, grace: Duration) -> Drained {
        Drained { cut: self.0.close(grace).await }
    }
}

impl Gateway {
    /// A gateway without routes and listeners. Its meters go to the recorder of `metrics` that is
    /// installed now.
    pub fn new(config: Config, pods: Arc<dyn Pods>) -> Self {
        let clients = Clients::new(&config.clients);
        let http = Http::new(&config.clients);
        let environment = Environment {
            pods,
            room: Room::in_all(&config.hold),
            config,
            meters: Meters::new(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        let environment = Arc::new(environment);
        Self(Arc::new(Inner {
            environment,
            routes: Routes::default(),
            clients,
            http,
            changing: Mutex::new(()),
        }))
    }

    /// Serves HTTP/1.1 and HTTP/2 on `listener`, over TLS if `tls` is given.
    pub fn listen(&self, listener: TcpListener, tls: Option<Tls>) {
        self.0.environment.tasks.spawn(self.0.clone().accept_http(listener, tls));
    }

    /// Makes `routes` all the routes of their pod, whatever it had before, and `running` what
    /// runs of it. Nothing new is routed to a replica that `running` leaves out; what is under
    /// way there goes on until [`Gateway::retire`]. While a start or stop is under way, `running`
    /// is left aside.
    ///
    /// # Errors
    /// A name or port belongs to another pod, or cannot be opened. Nothing was changed then.
    pub async fn put(&self, routes: PodRoutes, running: &[Backend]) -> Result<(), PutError> {
        let _changing = self.0.changing.lock().await;
        self.0.routes.check(&routes)?;
        let known = self.0.routes.pod(routes.pod);
        let pod = known.unwrap_or_else(|| Pod::new(routes.pod, self.0.environment.clone()));
        let opened = self.open(&pod, self.0.routes.unopened(&routes)).await;
        let opened = opened.inspect_err(|_| self.discard(&pod))?;
        let serves = self.0.environment.config.serves;
        let ports = if serves { routes.container_ports() } else { BTreeSet::new() };
        pod.update(routes.scale, ports, running);
        self.0.routes.replace(&pod, &routes, opened);
        Ok(())
    }

    /// Ends the task of a pod that was made but did not get into the table.
    fn discard(&self, pod: &Arc<Pod>) {
        if self.0.routes.pod(pod.id()).is_none() {
            pod.discard();
        }
    }

    async fn open(&self, pod: &Arc<Pod>, routes: Vec<TcpRoute>) -> Result<HashMap<u16, Listener>, PutError> {
        let mut opened = HashMap::new();
        for TcpRoute { published, container_port } in routes {
            if !self.0.environment.config.serves {
                let container_port = Arc::new(AtomicU16::new(container_port));
                opened.insert(published, Listener { container_port, task: None });
                continue;
            }
            let address = SocketAddr::new(self.0.environment.config.tcp_address, published);
            let listening = TcpListener::bind(address).await;
            let listener = listening.map_err(|cause| PutError::Listen { port: published, cause })?;
            opened.insert(published, self.publish(pod, container_port, listener));
        }
        Ok(opened)
    }

    fn publish(&self, pod: &Arc<Pod>, container_port: u16, listener: TcpListener) -> Listener {
        let container_port = Arc::new(AtomicU16::new(container_port));
        let published = Published {
            pod: pod.clone(),
            container_port: container_port.clone(),
            environment: self.0.environment.clone(),
            clients: self.0.clients.clone(),
        };
        let task = self.0.environment.tasks.spawn(published.accept(listener));
        Listener { container_port, task: Some(AbortOnDropHandle::new(task)) }
    }

    /// Waits until nothing is under way on the replicas that a [`Gateway::put`] took out, at most
    /// for `grace`, and cuts what is left. Then they can be stopped.
    pub async fn retire(&self, pod: ChannelId, grace: Duration) -> Drained {
        match self.0.routes.pod(pod) {
            Some(pod) => Drained { cut: pod.retire(grace).await },
            None => Drained { cut: 0 },
        }
    }

    /// Takes away all routes of the pod, waits until nothing is under way to it, at most for
    /// `grace`, and cuts what is left. Then it can be stopped. The gateway asks the engine nothing
    /// about it any more.
    pub async fn remove(&self, pod: ChannelId, grace: Duration) -> Drained {
        match self.detach(pod).await {
            Some(leaving) => leaving.drain(grace).await,
            None => Drained { cut: 0 },
        }
    }

    /// The first half of [`Gateway::remove`]: takes away all routes of the pod.
    pub async fn detach(&self, pod: ChannelId) -> Option<Leaving> {
        let _changing = self.0.changing.lock().await;
        let Routed { pod, listeners } = self.0.routes.remove(pod)?;
        for listener in listeners.into_values() {
            listener.close().await;
        }
        Some(Leaving(pod))
    }

    /// Whether the pod has a route and replicas that are routed to.
    pub fn serves(&self, pod: ChannelId) -> bool {
        self.0.routes.pod(pod).is_some_and(|pod| pod.phase() == Phase::Serving)
    }

    /// Has the pod started unless it serves, however many ask at once; gives what runs then.
    /// `None` where the gateway drains.
    ///
    /// # Errors
    /// The pod does not start, or there is no such pod.
    pub async fn start(&self, pod: ChannelId) -> Option<Result<Vec<Backend>, Arc<WakeError>>> {
        let Some(pod) = self.0.routes.pod(pod) else { return Some(Err(Arc::new(WakeError::Removed))) };
        self.0.environment.stopping.run_until_cancelled(pod.start()).await
    }

    /// So much is under way to the pod at the gateways beside this one: it counts like what is
    /// under way here.
    pub fn set_elsewhere(&self, pod: ChannelId, open: usize) {
        if let Some(pod) = self.0.routes.pod(pod) {
            pod.set_elsewhere(open);
        }
    }

    /// What is under way to which pods, where that is news since it was told last; with `whole`
    /// also where it is not. One listener only.
    pub fn activity(&self, whole: bool) -> Vec<(ChannelId, Activity)> {
        let told = |pod: &Arc<Pod>| {
            let open = pod.open();
            let same = (whole && open > 0).then_some(Activity { open, most: open });
            Some((pod.id(), pod.tell().or(same)?))
        };
        self.0.routes.pods().iter().filter_map(told).collect()
    }

    /// The replicas of the pod that are routed to; `None` while they are being stopped, or where
    /// there is no such pod.
    pub fn routed(&self, pod: ChannelId) -> Option<Vec<Backend>> {
        self.0.routes.pod(pod)?.routed()
    }

    /// Told whenever [`Gateway::routed`] may have changed; `None` where there is no such pod.
    pub fn changes(&self, pod: ChannelId) -> Option<watch::Receiver<()>> {
        Some(self.0.routes.pod(pod)?.changes())
    }

    /// Routes to no replica of the pod any more, or not to `run`, unless something is under way
    /// there: then all stays as it is.
    ///
    /// # Errors
    /// Something is.
    pub fn release(&self, pod: ChannelId, run: Option<u64>) -> Result<(), InUse> {
        self.0.routes.pod(pod).map_or(Ok(()), |pod| pod.release(run))
    }

    /// Routes nothing more to what runs now, of any pod, until it is put again; what is under way
    /// goes on.
    pub fn suspend(&self) {
        self.0.routes.pods().iter().for_each(|pod| pod.suspend());
    }

    /// Takes no more connections, answers requests that wait for a start, and waits for what is
    /// under way, at most for `grace`. Pods go on running: they outlive their gateway.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let environment = &self.0.environment;
        environment.stopping.cancel();
        environment.tasks.close();
        // The time limit ends the wait; what is left is counted next.
        let _ = timeout(grace, environment.tasks.wait()).await;
        Drained { cut: environment.tasks.len() }
    }
}
