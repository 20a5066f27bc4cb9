//! The gateway, as the provider routes to pods by it.

use super::{
    gateway_pods::backend_of,
    host_names::{is_reserved, own_name},
};
use apocryph_gateway::{Backend, Gateway, HttpRoute, PodRoutes, PutError, TcpRoute};
use apocryph_gateway_link::{Hub, HubError};
use apocryph_model::{ChannelId, Endpoint, Hostname, PodSpec, Port};
use apocryph_provider::{Replica, RouteError, Routes};
use async_trait::async_trait;
use futures::future::OptionFuture;
use std::{
    collections::HashMap,
    io,
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
    /// The others, where they may connect.
    others: Option<Hub>,
    places: Places,
    /// How long what is under way may take when its pod goes away.
    grace: Duration,
    /// What was put last, by pod.
    put: Mutex<HashMap<ChannelId, PodRoutes>>,
}

impl GatewayRoutes {
    pub(crate) fn new(gateway: Gateway, others: Option<Hub>, places: Places, grace: Duration) -> Self {
        Self { gateway, others, places, grace, put: Mutex::default() }
    }

    /// Puts the routes at every gateway; where one refuses, the earlier ones hold everywhere.
    async fn put_everywhere(&self, routes: &PodRoutes, running: &[Backend]) -> Result<(), PutError> {
        self.gateway.put(routes.clone(), running).await?;
        let Some(others) = &self.others else { return Ok(()) };
        let Err(refused) = others.put(routes).await else { return Ok(()) };
        self.put_back(others, routes.pod, running).await;
        let HubError { port, taken, reason } = refused;
        let kind = if taken { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
        Err(PutError::Listen { port, cause: io::Error::new(kind, reason) })
    }

    async fn put_back(&self, others: &Hub, pod: ChannelId, running: &[Backend]) {
        let earlier = self.known().get(&pod).cloned();
        let Some(earlier) = earlier else {
            others.remove(pod, Duration::ZERO).await;
            self.gateway.remove(pod, Duration::ZERO).await;
            return;
        };
        let back = self.gateway.put(earlier.clone(), running).await.map_err(|error| error.to_string());
        let back = match back {
            Ok(()) => others.put(&earlier).await.map_err(|error| error.to_string()),
            failed => failed,
        };
        if let Err(error) = back {
            warn!(error, pod = pod.short(), "a pod's earlier routes could not be put back");
        }
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
        let host = host.cloned().map_or_else(|| self.own_name(pod, spec, port), Ok)?;
        Ok(HttpRoute { host, container_port: port })
    }

    /// The name that the pod's port is given where it brings none.
    fn own_name(&self, pod: ChannelId, spec: &PodSpec, port: u16) -> Result<Hostname, RouteError> {
        let domain = &self.places.domain;
        let own = own_name(&spec.name, port, pod, domain);
        own.map_err(|error| RouteError::Listen(format!("under {domain}: {error}")))
    }

    fn check_port(&self, port: u16) -> Result<u16, RouteError> {
        let (first, last) = (*self.places.ports.start(), *self.places.ports.end());
        match self.places.ports.contains(&port) {
            true => Ok(port),
            false if self.places.ports.is_empty() => Err(no_port()),
            false => Err(RouteError::PortNotOffered { port, first, last }),
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
    RouteError::Listen("this provider has no TCP port left to give (gateway.tcp-ports)".into())
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
    fn brought(&self, pod: ChannelId, spec: &PodSpec) -> Result<Vec<Hostname>, RouteError> {
        let domain = &self.places.domain;
        let mut brought = Vec::new();
        for port in spec.containers.iter().flat_map(|container| &container.ports) {
            let Port::Http { container_port, host: Some(host) } = port else { continue };
            if *host == self.own_name(pod, spec, *container_port)? {
                continue;
            }
            if is_reserved(host, domain) {
                let (host, domain) = (host.to_string(), domain.to_string());
                return Err(RouteError::HostReserved { host, domain });
            }
            brought.push(host.clone());
        }
        Ok(brought)
    }

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
            match self.put_everywhere(&routes, &running).await {
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
        if let Err(error) = self.put_everywhere(&routes, &[]).await {
            warn!(%error, pod = pod.short(), "a pod's routes could not be put again");
        }
        let elsewhere = OptionFuture::from(self.others.as_ref().map(|others| others.retire(pod, self.grace)));
        tokio::join!(self.gateway.retire(pod, self.grace), elsewhere);
    }

    async fn remove(&self, pod: ChannelId) {
        self.known().remove(&pod);
        let elsewhere = OptionFuture::from(self.others.as_ref().map(|others| others.remove(pod, self.grace)));
        tokio::join!(self.gateway.remove(pod, self.grace), elsewhere);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::EnginePods;
    use apocryph_gateway::Config;
    use apocryph_model::{Bytes, ContainerSpec, Digest, Millicores, Resources, Scale};
    use std::{
        collections::BTreeMap,
        net::Ipv4Addr,
        sync::{
            Arc,
            atomic::{AtomicU16, Ordering},
        },
    };

    const PODS: [ChannelId; 2] = [ChannelId([0xaa; 32]), ChannelId([0xbb; 32])];

    /// A gateway that gives out `ports` of the loopback interface.
    fn routes(ports: RangeInclusive<u16>) -> GatewayRoutes {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let config = Config { tcp_address: localhost, ..Config::default() };
        let places = Places {
            domain: "pods.example".parse().unwrap(),
            ports,
            gateway: SocketAddr::new(localhost, 8080),
            tls: false,
            public: localhost,
        };
        let gateway = Gateway::new(config, Arc::new(EnginePods::default()));
        GatewayRoutes::new(gateway, None, places, Duration::from_secs(1))
    }

    /// Ports beside each other that nothing listens at just now, and no other test of this process.
    fn free_ports(count: u16) -> RangeInclusive<u16> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let listens = |port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let base = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
        loop {
            let first = base + NEXT.fetch_add(count, Ordering::Relaxed);
            if (first..first + count).all(listens) {
                return first..=first + count - 1;
            }
        }
    }

    fn spec(ports: Vec<Port>) -> PodSpec {
        let container = ContainerSpec {
            name: "web".parse().unwrap(),
            image: Digest([7; 32]),
            entrypoint: None,
            command: None,
            working_dir: None,
            user: None,
            env: BTreeMap::new(),
            ports,
            mounts: vec![],
            resources: Resources { cpu: Millicores(100), memory: Bytes(4 << 20), storage: Bytes(0) },
        };
        let name = "shop".parse().unwrap();
        PodSpec { name, containers: vec![container], volumes: vec![], scale: Scale::default() }
    }

    fn tcp(published: Option<u16>) -> PodSpec {
        spec(vec![Port::Tcp { container_port: 6379, published }])
    }

    fn http(host: Option<&str>) -> PodSpec {
        spec(vec![Port::Http { container_port: 80, host: host.map(|host| host.parse().unwrap()) }])
    }

    fn port_of(endpoints: &[Endpoint]) -> u16 {
        given_earlier(endpoints, 6379).unwrap()
    }

    #[tokio::test]
    async fn a_port_is_kept_and_never_given_to_two() {
        let ports = free_ports(2);
        let routes = routes(ports.clone());
        let first = routes.put(PODS[0], &tcp(None), &[], &[]).await.unwrap();
        let second = routes.put(PODS[1], &tcp(None), &[], &[]).await.unwrap();
        assert_eq!([port_of(&first), port_of(&second)], [*ports.start(), *ports.end()]);
        assert_eq!(routes.put(PODS[1], &tcp(None), &second, &[]).await.unwrap(), second);
        let taken = routes.put(PODS[1], &tcp(Some(*ports.start())), &second, &[]).await;
        assert_eq!(taken, Err(RouteError::PortTaken(*ports.start())));
        let none = routes.put(ChannelId([1; 32]), &tcp(None), &[], &[]).await;
        assert!(matches!(none, Err(RouteError::Listen(_))), "{none:?}");
        routes.remove(PODS[0]).await;
        let again = routes.put(ChannelId([1; 32]), &tcp(None), &[], &[]).await.unwrap();
        assert_eq!(port_of(&again), *ports.start());
    }

    #[tokio::test]
    async fn a_port_that_another_program_has_is_passed_over() {
        let ports = free_ports(2);
        let _other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *ports.start())).unwrap();
        let routes = routes(ports.clone());
        let given = routes.put(PODS[0], &tcp(None), &[], &[]).await.unwrap();
        assert_eq!(port_of(&given), *ports.end());
        let wanted = routes.put(PODS[1], &tcp(Some(*ports.start())), &[], &[]).await;
        assert_eq!(wanted, Err(RouteError::PortTaken(*ports.start())));
    }

    #[tokio::test]
    async fn ports_outside_of_the_range_are_not_offered() {
        let refused = routes(30_000..=30_001).put(PODS[0], &tcp(Some(22)), &[], &[]).await;
        let expected = RouteError::PortNotOffered { port: 22, first: 30_000, last: 30_001 };
        assert_eq!(refused, Err(expected));
    }

    #[tokio::test]
    async fn a_name_belongs_to_whom_it_names_or_who_has_it() {
        let routes = routes(1..=1);
        let own = routes.put(PODS[0], &http(None), &[], &[]).await.unwrap();
        let Endpoint::Http { host, .. } = &own[0] else { panic!("{own:?}") };
        assert_eq!(host.as_str(), "shop-80-aaaaaaaa.pods.example");
        routes.remove(PODS[0]).await;
        let reserved =
            |host: &str| RouteError::HostReserved { host: host.into(), domain: "pods.example".into() };
        for name in [host.as_str(), "pods.example", "web.pods.example"] {
            assert_eq!(routes.brought(PODS[1], &http(Some(name))), Err(reserved(name)));
        }
        assert_eq!(routes.brought(PODS[0], &http(Some(host.as_str()))), Ok(vec![]), "its own");
        assert_eq!(routes.brought(PODS[0], &http(None)), Ok(vec![]));
        let brought = routes.brought(PODS[0], &http(Some("shop.example"))).unwrap();
        assert_eq!(brought, ["shop.example".parse().unwrap()]);
        routes.put(PODS[0], &http(Some("shop.example")), &[], &[]).await.unwrap();
        let taken = routes.put(PODS[1], &http(Some("shop.example")), &[], &[]).await;
        assert_eq!(taken, Err(RouteError::HostTaken("shop.example".into())));
    }
}
