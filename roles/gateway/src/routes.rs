//! Which pod a host name and a TCP port belong to.

use crate::pod::Pod;
use apocryph_model::{ChannelId, Hostname, Scale};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU16, Ordering},
    },
};
use tokio_util::task::AbortOnDropHandle;

/// Everything by which a pod is reached, and how it scales.
#[derive(Debug, Clone)]
pub struct PodRoutes {
    /// The pod.
    pub pod: ChannelId,
    /// How many replicas, and when.
    pub scale: Scale,
    /// Its host names.
    pub http: Vec<HttpRoute>,
    /// Its TCP ports.
    pub tcp: Vec<TcpRoute>,
}

/// A host name of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// The name; that the pod's publisher may have it was made sure of before.
    pub host: Hostname,
    /// Where the container listens.
    pub container_port: u16,
}

/// A TCP port of the provider that is a pod's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpRoute {
    /// The provider's port.
    pub published: u16,
    /// Where the container listens.
    pub container_port: u16,
}

/// Why routes were not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Another pod has the name, or the routes name it twice.
    #[error("the host {host} is taken: choose another name")]
    HostTaken {
        /// The name.
        host: Hostname,
    },
    /// Another pod has the port, or the routes name it twice.
    #[error("TCP port {port} is taken: choose another one or none")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The port cannot be listened on.
    #[error("TCP port {port} cannot be opened")]
    Listen {
        /// The port.
        port: u16,
        /// Why, such as its use by another program.
        #[source]
        cause: io::Error,
    },
}

/// The table of routes.
#[derive(Default)]
pub(crate) struct Routes(RwLock<Table>);

#[derive(Default)]
struct Table {
    hosts: HashMap<String, Target>,
    pods: HashMap<ChannelId, Routed>,
}

#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) pod: Arc<Pod>,
    pub(crate) container_port: u16,
}

/// A pod in the table, with its listeners, which end with it.
pub(crate) struct Routed {
    pub(crate) pod: Arc<Pod>,
    pub(crate) listeners: HashMap<u16, Listener>,
}

/// A published TCP port.
pub(crate) struct Listener {
    /// Where the container listens; an update may change it.
    pub(crate) container_port: Arc<AtomicU16>,
    /// None where it is open at other gateways alone.
    pub(crate) task: Option<AbortOnDropHandle<()>>,
}

impl Listener {
    /// Returns once the port is free for others.
    pub(crate) async fn close(self) {
        let Some(task) = self.task else { return };
        task.abort();
        // It ends by being aborted.
        let _ = task.await;
    }
}

impl PodRoutes {
    pub(crate) fn container_ports(&self) -> BTreeSet<u16> {
        let http = self.http.iter().map(|route| route.container_port);
        http.chain(self.tcp.iter().map(|route| route.container_port)).collect()
    }
}

impl Routes {
    /// The pod behind a host name, given in lower case.
    pub(crate) fn find(&self, host: &str) -> Option<Target> {
        self.read().hosts.get(host).cloned()
    }

    pub(crate) fn pod(&self, pod: ChannelId) -> Option<Arc<Pod>> {
        self.read().pods.get(&pod).map(|routed| routed.pod.clone())
    }

    /// Whether `routes` may be put.
    ///
    /// # Errors
    /// A name or port is another pod's, or named twice.
    pub(crate) fn check(&self, routes: &PodRoutes) -> Result<(), PutError> {
        let table = self.read();
        let mut seen = HashSet::new();
        for HttpRoute { host, .. } in &routes.http {
            let taken = table.hosts.get(host.as_str()).is_some_and(|target| target.pod.id() != routes.pod);
            if taken || !seen.insert(host) {
                return Err(PutError::HostTaken { host: host.clone() });
            }
        }
        let others = table.pods.iter().filter(|(pod, _)| **pod != routes.pod);
        let mut taken: HashSet<u16> =
            others.flat_map(|(_, routed)| routed.listeners.keys().copied()).collect();
        match routes.tcp.iter().find(|route| !taken.insert(route.published)) {
            Some(route) => Err(PutError::PortTaken { port: route.published }),
            None => Ok(()),
        }
    }

    /// The ports of `routes` that are not listened on yet.
    pub(crate) fn unopened(&self, routes: &PodRoutes) -> Vec<TcpRoute> {
        let table = self.read();
        let listeners = table.pods.get(&routes.pod).map(|routed| &routed.listeners);
        let open = |route: &&TcpRoute| listeners.is_some_and(|open| open.contains_key(&route.published));
        routes.tcp.iter().filter(|route| !open(route)).copied().collect()
    }

    /// Replaces whatever `pod` had by `routes`, keeping the listeners that it still wants and
    /// adding `opened`.
    pub(crate) fn replace(&self, pod: &Arc<Pod>, routes: &PodRoutes, opened: HashMap<u16, Listener>) {
        let mut table = self.write();
        table.hosts.retain(|_, target| target.pod.id() != routes.pod);
        for HttpRoute { host, container_port } in &routes.http {
            let target = Target { pod: pod.clone(), container_port: *container_port };
            table.hosts.insert(host.as_str().to_owned(), target);
        }
        let fresh = || Routed { pod: pod.clone(), listeners: HashMap::new() };
        let routed = table.pods.entry(routes.pod).or_insert_with(fresh);
        routed.listeners.retain(|port, _| routes.tcp.iter().any(|route| route.published == *port));
        routed.listeners.extend(opened);
        for route in &routes.tcp {
            if let Some(listener) = routed.listeners.get(&route.published) {
                listener.container_port.store(route.container_port, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        self.read().pods.values().map(|routed| routed.pod.clone()).collect()
    }

    pub(crate) fn remove(&self, pod: ChannelId) -> Option<Routed> {
        let mut table = self.write();
        table.hosts.retain(|_, target| target.pod.id() != pod);
        table.pods.remove(&pod)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
