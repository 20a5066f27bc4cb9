//! The daemon: everything built, joined, run, and drained in the end.
//!
//! ```text
//!   lock -> keys -> ledger, chain -> (the cluster is there) -> node, every listener -> engine -> gateway -> provider
//!                                                                       |
//!   SIGTERM: no more calls -> drain the gateway -> last reading -> (stop pods) -> engine closed
//! ```
//!
//! While a cluster is not there, nobody listens but for the operator: what does not know its pods says nothing of
//! them. What may fail for the configuration's sake comes before the engine changes anything on the host.
//! Pods outlive the daemon, and a kill at any instruction: the next start adopts them.

mod admin;
pub(crate) mod certificate;
pub(crate) mod doors;
pub(crate) mod health;
mod lock;
mod logging;
pub(crate) mod signals;

pub(crate) use admin::ask_overview;
pub(crate) use logging::log_to_stderr;

use crate::{
    failure::Failure,
    keys, offering,
    settings::{LinkSettings, Settings},
    world::{
        self, EnginePods, GatewayRoutes, OpenEngine, Places, RegistryEndpoint, StoredBlobs, SystemClock,
    },
};
use admin::Desk;
use apocryph_evm::{Evm, Key};
use apocryph_gateway::{Config as GatewayConfig, Gateway};
use apocryph_ledger::Ledger;
use apocryph_link::{Hub, NodeReaders, Role, Token};
use apocryph_model::Digest;
use apocryph_oci::registry::Grants;
use apocryph_p2p::{BlobStore, Node, Reader};
use apocryph_provider::{Chain as _, Deployments, HostProofs, Provider, World};
use apocryph_seal::{EnvelopeKey, sha256};
use doors::{Doors, address, listen};
use health::Readiness;
use metrics_exporter_prometheus::PrometheusHandle;
use std::{
    path::Path,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tracing::{error, info, warn};

/// How long calls under way may take when the daemon stops.
const CALLS_GRACE: Duration = Duration::from_secs(10);

/// Runs until told to stop.
pub(crate) async fn run(settings: &Settings, stop_pods: bool) -> Result<(), Failure> {
    let stopping = signals::stop_signal().map_err(Failure::Runtime)?;
    tokio::pin!(stopping);
    let Some(daemon) = Daemon::start(settings, stopping.as_mut()).await? else { return Ok(()) };
    info!(version = env!("CARGO_PKG_VERSION"), "serving");
    stopping.await;
    info!("stopping");
    daemon.stop(settings, stop_pods).await;
    Ok(())
}

struct Daemon {
    engine: OpenEngine,
    gateway: Gateway,
    provider: Arc<Provider>,
    readiness: watch::Sender<Readiness>,
    /// Ends the tasks that end by themselves when asked.
    ending: watch::Sender<bool>,
    /// Calls and image pulls under way, which are waited for.
    serving: JoinSet<()>,
    /// Loops that may be dropped at any instruction.
    loops: JoinSet<()>,
    /// The links to other gateways, and to readers. They last until nothing can be stopped any more: a gateway that
    /// finds nobody listening may go on routing.
    links: JoinSet<()>,
    _lock: lock::Lock,
}

impl Daemon {
    /// `None` where it is to stop before what it waits for is there.
    async fn start(
        settings: &Settings,
        mut stopping: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Self>, Failure> {
        let lock = lock::Lock::take(&settings.file.data_dir)?;
        let meters = health::install_meters();
        let (account, state_key) = (keys::account(settings)?, keys::state(settings)?);
        let (mut serving, mut loops) = (JoinSet::new(), JoinSet::new());
        let (ending, ended) = watch::channel(false);

        let ledger = Arc::new(open_ledger(&settings.data("ledger.db"))?);
        let chain = Arc::new(world::chain(settings, account.clone())?);
        let readiness = watch::Sender::new(Readiness::Waits("the daemon starts".into()));
        let told = serve_operator(settings, &ledger, &chain, meters, &readiness, &mut loops).await?;
        check_offer(settings, &chain).await?;
        tokio::select! {
            reached = world::reach(settings, |cause| waits(&readiness, cause)) => reached?,
            () = &mut stopping => return Ok(None),
        }
        let node = start_node(settings).await?;
        describe(settings, &account, &node).await;
        let grants = Arc::new(Grants::new(&registry_secret(&state_key)));
        let listener = listen(settings.file.listen.registry.0, "listen.registry").await?;
        let registry_address = address(&listener, "listen.registry")?;
        let doors = if settings.file.gateway.here { Some(Doors::of(settings).await?) } else { None };
        let link = LinkDoor::open(settings.link.as_ref(), Role::Gateway, "listen.gateways").await?;
        let readers = settings.readers.as_ref();
        let readers = LinkDoor::open(readers, Role::NodeReader, "listen.node-readers").await?;
        let blobs = Arc::new(StoredBlobs(node.store().clone()));
        let registry =
            RegistryEndpoint { listener, address: registry_address, blobs, grants: grants.clone() };
        // They last until the engine is closed.
        let mut links = JoinSet::new();
        let readers = readers.map(|door| door.serve_readers(&mut links));
        let shutdown = is_to_end(ended.clone());
        let waits = |cause| waits(&readiness, cause);
        let engine = tokio::select! {
            opened = OpenEngine::open(settings, registry, readers, &mut serving, shutdown, waits) => opened?,
            () = &mut stopping => return Ok(None),
        };
        let pods = Arc::new(EnginePods::default());
        let (listener, token) = link.map(|link| (link.listener, link.token)).unzip();
        let (gateway, hub) = open_gateway(settings, pods.clone(), token);
        let drain = settings.file.gateway.drain.0;
        let routes = GatewayRoutes::new(gateway.clone(), hub.clone(), places(settings), drain);
        let peer = node.peer_id().to_string().parse().map_err(|_| Failure::Answer)?;
        let provider_settings = settings.provider(peer, chain.account());
        let world = World {
            engine: engine.engine(),
            chain,
            blobs: Arc::new(node.clone()),
            registry: grants,
            routes: Arc::new(routes),
            host_proofs: settings.dns().map(|dns| Arc::new(dns) as Arc<dyn HostProofs>),
            ledger,
            clock: Arc::new(SystemClock),
        };
        let provider = Arc::new(Provider::new(world, provider_settings, state_key));
        pods.set(&provider);
        if let Some((hub, listener)) = hub.clone().zip(listener) {
            links.spawn(async move { hub.serve(listener).await });
        }
        open_doors(&provider, &gateway, hub, doors).await;

        let looping = provider.clone();
        loops.spawn(async move { looping.run().await });
        serving.spawn(serve_calls(node, provider.clone(), ended));
        // Set here alone.
        let _ = told.set(provider.clone());
        readiness.send_replace(Readiness::Ready);
        Ok(Some(Self { engine, gateway, provider, readiness, ending, serving, loops, links, _lock: lock }))
    }

    /// Drains, writes down what was used, and lets pods run on unless they are to stop.
    async fn stop(mut self, settings: &Settings, stop_pods: bool) {
        self.ending.send_replace(true);
        self.readiness.send_replace(Readiness::Waits("it is stopping".into()));
        let drained = self.gateway.drain(settings.file.gateway.drain.0).await;
        info!(cut = drained.cut, "the gateway is drained");
        let all = async { while self.serving.join_next().await.is_some() {} };
        if timeout(CALLS_GRACE, all).await.is_err() {
            warn!("calls under way are cut: the next start goes on from the ledger");
        }
        self.serving.shutdown().await;
        self.loops.shutdown().await;
        self.provider.wind_down().await;
        if stop_pods && let Err(fault) = self.provider.stop_pods().await {
            error!(%fault, "not every pod was stopped");
        }
        drop((self.provider, self.gateway));
        self.engine.close().await;
        self.links.shutdown().await;
    }
}

fn open_ledger(path: &Path) -> Result<Ledger, Failure> {
    Ledger::open(path).map_err(|problem| Failure::Ledger { path: path.into(), problem })
}

/// Serves who watches over the daemon, from its first moment on. The provider is to be put into what is
/// given back.
async fn serve_operator(
    settings: &Settings,
    ledger: &Arc<Ledger>,
    chain: &Evm,
    meters: PrometheusHandle,
    readiness: &watch::Sender<Readiness>,
    loops: &mut JoinSet<()>,
) -> Result<Arc<OnceLock<Arc<Provider>>>, Failure> {
    let told = Arc::new(OnceLock::new());
    let health = listen(settings.file.listen.health.0, "listen.health").await?;
    let admin = admin::listen(&settings.admin_socket())?;
    let desk = Desk {
        ledger: ledger.clone(),
        account: chain.account(),
        token: settings.file.chain.token,
        readiness: readiness.subscribe(),
        provider: told.clone(),
    };
    loops.spawn(admin::serve(admin, desk));
    loops.spawn(health::serve(health, meters, readiness.subscribe()));
    Ok(told)
}

/// Pods that outlived the last daemon are adopted before anyone is answered; whoever asks already waits at
/// the door.
async fn open_doors(provider: &Provider, gateway: &Gateway, hub: Option<Hub>, doors: Option<Doors>) {
    if let Err(fault) = provider.reconcile().await {
        warn!(%fault, "not every pod is restored yet");
    }
    if let Some(hub) = hub {
        hub.ready();
    }
    if let Some(doors) = doors {
        doors.serve(gateway);
    }
}

/// Refuses to serve by another chain or by what is not the contracts. A chain that does not answer
/// may do so later: pods that run are metered until then.
async fn check_offer(settings: &Settings, chain: &Evm) -> Result<(), Failure> {
    if settings.is_free() {
        warn!("all prices are 0: pods run for nothing");
    }
    match chain.check().await {
        Err(problem) if problem.retry() => warn!(%problem, "the chain does not answer yet"),
        checked => checked?,
    }
    Ok(())
}

fn waits(readiness: &watch::Sender<Readiness>, cause: String) {
    warn!(cause, "what the engine stands on is not there yet");
    readiness.send_replace(Readiness::Waits(cause));
}

async fn start_node(settings: &Settings) -> Result<Node, Failure> {
    let identity = keys::node(settings)?;
    let store = BlobStore::open(&settings.data("blobs"), settings.file.limits.store_size.0)?;
    let node = Node::start(&identity, &world::node_config(settings)?, store).await?;
    for address in node.addresses() {
        info!(%address, "in the network");
    }
    Ok(node)
}

/// Publishes this provider's description; without it others still find what the Registry says.
async fn describe(settings: &Settings, key: &Key, node: &Node) {
    let published = async {
        let (offering, text) = offering::described(settings, key).await?;
        let path = settings.data("description.json");
        std::fs::write(&path, text).map_err(Failure::file(&path))?;
        let digest = Digest(offering.description.0);
        Ok::<_, Failure>(node.store().publish(&path, &digest, Reader::Everyone)?.root)
    };
    match published.await {
        Ok(cid) => info!(%cid, "described"),
        Err(failure) => warn!(%failure, "no description is published"),
    }
}

/// The secret that pull tokens are made of: the same after every start, and for this use alone.
fn registry_secret(state_key: &EnvelopeKey) -> [u8; 32] {
    sha256(&[b"apocryph-registry-tokens", &state_key.expose()[..]].concat()).0
}

/// Published TCP ports listen where requests arrive, if they do here.
fn gateway_config(settings: &Settings) -> GatewayConfig {
    let (serves, tcp_address) = (settings.file.gateway.here, settings.file.listen.gateway.0.ip());
    GatewayConfig { serves, tcp_address, drain: settings.file.gateway.drain.0, ..GatewayConfig::default() }
}

/// The daemon's gateway, and what joins it to others where they may connect.
fn open_gateway(settings: &Settings, pods: Arc<EnginePods>, token: Option<Token>) -> (Gateway, Option<Hub>) {
    let config = gateway_config(settings);
    match token {
        Some(token) => {
            let (gateway, hub) = Hub::new(config, pods, token, settings.file.gateway.lease.0);
            (gateway, Some(hub))
        }
        None => (Gateway::new(config, pods), None),
    }
}

/// Where processes of the daemon's own connect.
struct LinkDoor {
    listener: TcpListener,
    token: Token,
}

impl LinkDoor {
    /// `None` where they may not.
    async fn open(
        settings: Option<&LinkSettings>,
        role: Role,
        name: &'static str,
    ) -> Result<Option<Self>, Failure> {
        let Some(link) = settings else { return Ok(None) };
        let token = keys::link_token(&link.token, role)?;
        let listener = listen(link.listen, name).await?;
        Ok(Some(Self { listener, token }))
    }

    fn serve_readers(self, links: &mut JoinSet<()>) -> NodeReaders {
        let readers = NodeReaders::new(self.token);
        let serving = readers.clone();
        links.spawn(async move { serving.serve(self.listener).await });
        readers
    }
}

fn places(settings: &Settings) -> Places {
    let (gateway, tls) = settings.public_gateway();
    Places {
        domain: settings.domain().clone(),
        ports: settings.file.gateway.tcp_ports.0.clone(),
        gateway,
        tls,
        public: settings.public_ip(),
    }
}

async fn serve_calls(node: Node, provider: Arc<Provider>, ended: watch::Receiver<bool>) {
    let service: Arc<dyn Deployments> = Arc::new(provider);
    if let Err(problem) = node.serve(service, is_to_end(ended)).await {
        error!(%problem, "publishers' calls are not answered any more: restart the daemon");
    }
}

/// Returns once the daemon is to end.
async fn is_to_end(mut ended: watch::Receiver<bool>) {
    // The sender going away means the same.
    let _ = ended.wait_for(|ended| *ended).await;
}
