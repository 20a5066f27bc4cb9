//! The gateway, as the provider routes to pods by it.

use super::{
    gateway_pods::backend_of,
    host_names::{is_own_name, own_name},
};
use apocryph_gateway::{Backend, Gateway, HttpRoute, PodRoutes, PutError, TcpRoute};
use apocryph_model::{ChannelId, Endpoint, Hostname, PodSpec, Port};
use apocryph_provider::{Replica, RouteError, Routes};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::warn;

/// Where pods can be put.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// What pods without a host name are put under.
    pub(crate) domain: Hostname,
    /// The ports that pods are given.
    pub(crate) ports: RangeInclusive<u16>,
    /// The gateway's address as publishers are told it.
    pub(crate) gateway: SocketAddr,
    /// Whether it speaks TLS there.
    pub(crate) tls: bool,
    /// The address of TCP ports as publishers are told it.
    pub(crate) public: IpAddr,
}

pub(crate) struct GatewayRoutes {
    gateway: Gateway,
    places: Places,
    /// How long what is under way may take when its pod goes away.
    grace: Duration,
    /// What was put last, by pod.
    put: Mutex<HashMap<ChannelId, PodRoutes>>,
}

impl GatewayRoutes {
    pub(crate) fn new(gateway: Gateway, places: Places, grace: Duration) -> Self {
        Self { gateway, places, grace, put: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ChannelId, PodRoutes>> {
        self.put.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn http(
        &self,
        pod: ChannelId,
        spec: &PodSpec,
        port: u16,
        host: Option<&Hostname>,
    ) -> Result<HttpRoute, RouteError> {
        let domain = &self.places.domain;
        let own = own_name(&spec.name, port, pod, domain);
        let own = own.map_err(|error| RouteError::Listen(format!("under {domain}: {error}")))?;
        let host = host.cloned().unwrap_or_else(|| own.clone());
        if host != own && is_own_name(&host, domain) {
            return Err(RouteError::HostTaken(host.to_string()));
        }
        Ok(HttpRoute { host, container_port: port })
    }

    fn check_port(&self, port: u16) -> Result<u16, RouteError> {
        let (first, last) = (*self.places.ports.start(), *self.places.ports.end());
        if self.places.ports.contains(&port) {
            Ok(port)
        } else {
            Err(RouteError::PortNotOffered { port, first, last })
        }
    }

    /// A port that no pod has, as far as is known here, other than those `refused`.
    fn free_port(&self, refused: &[u16], taken: &[TcpRoute]) -> Option<u16> {
        let known = self.known();
        let used: Vec<u16> =
            known.values().flat_map(|routes| &routes.tcp).chain(taken).map(|tcp| tcp.published).collect();
        self.places.ports.clone().find(|port| !used.contains(port) && !refused.contains(port))
    }

    /// The pod's routes, with free ports other than those `refused`.
    fn plan(
        &self,
        pod: ChannelId,
        spec: &PodSpec,
        earlier: &[Endpoint],
        refused: &[u16],
    ) -> Result<PodRoutes, RouteError> {
        let mut routes = PodRoutes { pod, scale: spec.scale, http: Vec::new(), tcp: Vec::new() };
        for port in spec.containers.iter().flat_map(|container| &container.ports) {
            match port {
                Port::Http { container_port, host } => {
                    routes.http.push(self.http(pod, spec, *container_port, host.as_ref())?);
                }
                Port::Tcp { container_port, published } => {
                    let given =
                        given_earlier(earlier, *container_port).filter(|port| !refused.contains(port));
                    let published = match (published, given) {
                        (Some(wanted), _) => self.check_port(*wanted)?,
                        (None, Some(given)) => given,
                        (None, None) => self.free_port(refused, &routes.tcp).ok_or_else(no_port)?,
                    };
                    routes.tcp.push(TcpRoute { published, container_port: *container_port });
                }
            }
        }
        Ok(routes)
    }

    fn endpoints(&self, routes: &PodRoutes) -> Vec<Endpoint> {
        let Places { gateway, tls, public, .. } = self.places;
        let http = routes.http.iter().map(|route| Endpoint::Http {
            host: route.host.clone(),
            gateway,
            tls,
            container_port: route.container_port,
        });
        let tcp = routes.tcp.iter().map(|route| Endpoint::Tcp {
            address: SocketAddr::new(public, route.published),
            container_port: route.container_port,
        });
        http.chain(tcp).collect()
    }
}

fn given_earlier(earlier: &[Endpoint], wanted: u16) -> Option<u16> {
    earlier.iter().find_map(|endpoint| match endpoint {
        Endpoint::Tcp { address, container_port } if *container_port == wanted => Some(address.port()),
        _ => None,
    })
}

fn no_port() -> RouteError {
    RouteError::Listen("all ports of gateway.tcp-ports are taken".into())
}

/// Which port another one must be found for, where the pod did not ask for it.
fn replaceable(error: &PutError, spec: &PodSpec) -> Option<u16> {
    let (PutError::PortTaken { port } | PutError::Listen { port, .. }) = error else { return None };
    let ports = spec.containers.iter().flat_map(|container| &container.ports);
    let mut wanted = ports.filter_map(|port| match port {
        Port::Tcp { published, .. } => *published,
        Port::Http { .. } => None,
    });
    (!wanted.any(|wanted| wanted == *port)).then_some(*port)
}

fn refused(error: PutError) -> RouteError {
    match error {
        PutError::HostTaken { host } => RouteError::HostTaken(host.to_string()),
        PutError::PortTaken { port } => RouteError::PortTaken(port),
        PutError::Listen { port, cause } if cause.kind() == std::io::ErrorKind::AddrInUse => {
            RouteError::PortTaken(port)
        }
        PutError::Listen { port, cause } => RouteError::Listen(format!("port {port}: {cause}")),
    }
}

#[async_trait]
impl Routes for GatewayRoutes {
    async fn put(
        &self,
        pod: ChannelId,
        spec: &PodSpec,
        earlier: &[Endpoint],
        running: &[Replica],
    ) -> Result<Vec<Endpoint>, RouteError> {
        let running: Vec<Backend> = running.iter().map(backend_of).collect();
        let mut others = Vec::new();
        loop {
            let routes = self.plan(pod, spec, earlier, &others)?;
            match self.gateway.put(routes.clone(), &running).await {
                Ok(()) => {
                    let endpoints = self.endpoints(&routes);
                    self.known().insert(pod, routes);
                    return Ok(endpoints);
                }
                // Each round takes one port out of a bounded range.
                Err(error) => match replaceable(&error, spec) {
                    Some(port) => others.push(port),
                    None => return Err(refused(error)),
                },
            }
        }
    }

    async fn fence(&self, pod: ChannelId) {
        let known = self.known().get(&pod).cloned();
        let Some(routes) = known else { return };
        if let Err(error) = self.gateway.put(routes, &[]).await {
            warn!(%error, pod = pod.short(), "a pod's routes could not be put again");
        }
        self.gateway.retire(pod, self.grace).await;
    }

    async fn remove(&self, pod: ChannelId) {
        self.known().remove(&pod);
        self.gateway.remove(pod, self.grace).await;
    }
}
