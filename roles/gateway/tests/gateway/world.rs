//! A gateway with its engine and apps.

use crate::{app::App, engine::Engine};
use apocryph_gateway::{Backend, Config, Gateway, HttpRoute, PodRoutes, TcpRoute};
use apocryph_model::{ChannelId, Scale};
use apocryph_testbed::http_client::{self as client, Answer};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

/// Long enough for anything that is to come at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const POD: ChannelId = ChannelId([1; 32]);
pub(crate) const OTHER: ChannelId = ChannelId([2; 32]);
pub(crate) const HOST: &str = "a.example";
pub(crate) const OTHER_HOST: &str = "b.example";

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) engine: Arc<Engine>,
    pub(crate) http: SocketAddr,
}

impl World {
    pub(crate) async fn new(mut config: Config) -> Self {
        config.tcp_address = IpAddr::from([127, 0, 0, 1]);
        let engine = Arc::new(Engine::new());
        let gateway = Gateway::new(config, engine.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        gateway.listen(listener, None);
        Self { gateway, engine, http }
    }

    /// A gateway with [`POD`] at [`HOST`], at zero, with one app behind it.
    pub(crate) async fn with_app(config: Config) -> (Self, App) {
        let world = Self::new(config).await;
        let app = App::start(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        world.put(POD, HOST, app.address).await;
        (world, app)
    }

    /// Routes `host` to `pod`, whose one replica is at `address`, and does not run.
    pub(crate) async fn put(&self, pod: ChannelId, host: &str, address: SocketAddr) {
        self.engine.place(pod, &[address.ip()]);
        self.gateway.put(routes(pod, host, address.port()), &[]).await.unwrap();
    }

    pub(crate) async fn put_running(&self, routes: PodRoutes, running: &[Backend]) {
        self.gateway.put(routes, running).await.unwrap();
    }

    pub(crate) async fn ask(&self, path: &str) -> Answer {
        client::ask(self.http, client::get(HOST, path)).await
    }
}

/// The routes of a pod that goes to zero after a minute.
pub(crate) fn routes(pod: ChannelId, host: &str, port: u16) -> PodRoutes {
    let http = vec![HttpRoute { host: host.parse().unwrap(), container_port: port }];
    PodRoutes { pod, scale: Scale::default(), http, tcp: Vec::new() }
}

/// The routes of a pod that goes to zero after a second.
pub(crate) fn restless(pod: ChannelId, host: &str, port: u16) -> PodRoutes {
    let mut routes = routes(pod, host, port);
    routes.scale.idle_seconds = 1;
    routes
}

/// The routes of a pod that has no host but a TCP port.
pub(crate) fn published(pod: ChannelId, published: u16, container_port: u16) -> PodRoutes {
    let tcp = vec![TcpRoute { published, container_port }];
    PodRoutes { pod, scale: Scale::default(), http: Vec::new(), tcp }
}

/// A port of 127.0.0.1 that was free a moment ago.
pub(crate) async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Waits until `holds`; what does not come in time fails the test as `what`.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
