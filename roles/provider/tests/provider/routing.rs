//! The double's gateway, and its DNS.

use crate::world::{Double, Failing};
use apocryph_model::{ChannelId, DnsError, Endpoint, HostProof, Hostname, PodSpec, Port};
use apocryph_provider::{HostProofs, Replica, RouteError, Routes};
use async_trait::async_trait;

#[async_trait]
impl Routes for Double {
    fn brought(&self, _pod: ChannelId, spec: &PodSpec) -> Result<Vec<Hostname>, RouteError> {
        let ports = spec.containers.iter().flat_map(|container| &container.ports);
        let host = |port: &Port| match port {
            Port::Http { host, .. } => host.clone(),
            Port::Tcp { .. } => None,
        };
        Ok(ports.filter_map(host).collect())
    }

    async fn put(
        &self,
        pod: ChannelId,
        spec: &PodSpec,
        _earlier: &[Endpoint],
        _running: &[Replica],
    ) -> Result<Vec<Endpoint>, RouteError> {
        if self.fails(Failing::Route) {
            return Err(RouteError::HostTaken("shop.example".into()));
        }
        let ports = spec.containers.iter().flat_map(|container| &container.ports);
        let endpoints: Vec<_> = ports.map(|port| endpoint(pod, port)).collect();
        let mut state = self.state();
        let mut others = state.routed.iter().filter(|(other, _)| **other != pod).flat_map(|(_, at)| at);
        if let Some(host) =
            endpoints.iter().filter_map(host_of).find(|host| others.any(|at| host_of(at) == Some(host)))
        {
            return Err(RouteError::HostTaken(host.to_string()));
        }
        state.routed.insert(pod, endpoints.clone());
        Ok(endpoints)
    }

    async fn fence(&self, pod: ChannelId) {
        self.state().fenced.push(pod);
    }

    async fn remove(&self, pod: ChannelId) {
        self.state().routed.remove(&pod);
    }
}

/// Where a port is reached; a pod that brings no host name is given one.
fn endpoint(pod: ChannelId, port: &Port) -> Endpoint {
    let gateway = ([127, 0, 0, 1], 8080).into();
    match port {
        Port::Http { container_port, host } => {
            let given = || format!("{}.pods.example", pod.short()).parse().unwrap();
            let host = host.clone().unwrap_or_else(given);
            Endpoint::Http { host, gateway, tls: false, container_port: *container_port }
        }
        Port::Tcp { container_port, .. } => {
            Endpoint::Tcp { address: ([127, 0, 0, 1], 30_001).into(), container_port: *container_port }
        }
    }
}

fn host_of(endpoint: &Endpoint) -> Option<&Hostname> {
    match endpoint {
        Endpoint::Http { host, .. } => Some(host),
        Endpoint::Tcp { .. } => None,
    }
}

#[async_trait]
impl HostProofs for Double {
    async fn of(&self, host: &Hostname) -> Result<Vec<HostProof>, DnsError> {
        let mut state = self.state();
        state.questions += 1;
        state.host_proofs.get(host).cloned().unwrap_or(Some(vec![])).ok_or(DnsError::Silent)
    }
}
