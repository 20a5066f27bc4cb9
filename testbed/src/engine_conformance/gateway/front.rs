//! A gateway before the engine under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use apocryph_gateway::{Config, Gateway, PodRoutes};
use apocryph_provider::Replica;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::app::HOST;
use super::lent_pods::{LentPods, backend_of};
use crate::http_client::{Answer, ask, get};

pub(super) struct Front {
    pub(super) gateway: Gateway,
    /// Where it speaks HTTP.
    pub(super) http: SocketAddr,
}

impl Front {
    pub(super) async fn open(pods: &Arc<LentPods>, config: Config) -> Self {
        let config = Config { tcp_address: Ipv4Addr::LOCALHOST.into(), ..config };
        let gateway = Gateway::new(config, pods.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let http = listener.local_addr().unwrap();
        gateway.listen(listener, None);
        Self { gateway, http }
    }

    /// One that knows a pod of which nothing runs.
    pub(super) async fn before(pods: &Arc<LentPods>, config: Config, routes: PodRoutes) -> Self {
        let front = Self::open(pods, config).await;
        front.put(routes, &[]).await;
        front
    }

    pub(super) async fn put(&self, routes: PodRoutes, running: &[Replica]) {
        let running: Vec<_> = running.iter().map(backend_of).collect();
        self.gateway.put(routes, &running).await.unwrap();
    }

    /// Asks the first pod.
    pub(super) async fn ask(&self, path: &str) -> Answer {
        ask(self.http, get(HOST, path)).await
    }

    /// So many clients ask `host` at once.
    pub(super) fn burst(&self, host: &str, clients: usize) -> Vec<JoinHandle<Answer>> {
        (0..clients).map(|_| tokio::spawn(ask(self.http, get(host, "/")))).collect()
    }
}

/// How many of them have their answer.
pub(super) fn answered(burst: &[JoinHandle<Answer>]) -> usize {
    burst.iter().filter(|client| client.is_finished()).count()
}
