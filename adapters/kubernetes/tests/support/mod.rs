//! An engine on the cluster that `KUBECONFIG` names, with a registry and an account of the test's own. Namespaces
//! are removed after the test, failed or not.

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests tell by panics and lines")]

mod account;
pub(crate) mod api;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use account::Account;
use api::FaultyApi;
use apocryph_kubernetes::{
    ClusterError, Config, KubernetesEngine, NodeImage, NodeReaders, NodeRegistry, Shipped,
};
use apocryph_model::{ChannelId, Digest};
use apocryph_oci::registry::{Decryption, NodeImages, serve_nodes};
use apocryph_provider::{Engine, EngineError, Replica};
use apocryph_testbed::engine_conformance::Subject;
use apocryph_testbed::shipyard::Shipyard;
use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::core::v1::{Namespace, Node, NodeAddress, Pod, Service};
use kube::api::{DeleteParams, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// How long anything may take until it counts as not happening.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PROFILE: &str = include_str!("../../../../deploy/seccomp.json");

/// The engine under test and what it stands on.
pub(crate) struct Bench {
    name: String,
    pub(crate) config: Config,
    engine: Option<KubernetesEngine>,
    registry: Arc<Images>,
    /// Whom the next engine asks what Pods used, beside kubelets.
    pub(crate) readers: Option<Arc<dyn NodeReaders>>,
    shipyard: Shipyard,
    host: IpAddr,
    /// Of who may do everything in the cluster.
    pub(crate) admin: PathBuf,
    dir: TempDir,
    /// What stands between the engine and the API server, where faults are wanted.
    api: Option<FaultyApi>,
    link_local: Option<LinkLocal>,
    account: Account,
}

/// The node images of the registry, as the engine wants them.
pub(crate) struct Images(pub(crate) Arc<NodeImages>);

#[async_trait]
impl NodeRegistry for Images {
    async fn open(&self, image: Shipped<'_>) -> Result<NodeImage, EngineError> {
        let opened = self.0.open(image.token, image.key, image.image, image.user).await?;
        let apocryph_oci::registry::NodeImage { manifest, architecture, has_command, group, .. } = opened;
        Ok(NodeImage { manifest, architecture, has_command, group })
    }

    async fn check(&self, token: &str, manifest: Digest) -> Result<(), EngineError> {
        Ok(self.0.check(token, manifest).await?)
    }

    fn retain(&self, token: &str, manifests: &[Digest]) {
        self.0.retain(token, manifests);
    }
}

/// What the tests are told of the cluster.
struct Cluster {
    kubeconfig: PathBuf,
    /// An address of this host that nodes and pods have a route to.
    host: IpAddr,
}

impl Cluster {
    /// `None`, and a line that says why, where there is none.
    fn find() -> Option<Self> {
        let Some(kubeconfig) = std::env::var_os("KUBECONFIG").map(PathBuf::from) else {
            eprintln!("skipped: KUBECONFIG names no cluster (`make cluster` brings one up)");
            return None;
        };
        let host = std::env::var("CLUSTER_HOST_ADDRESS").ok().and_then(|address| address.parse().ok());
        let Some(host) = host else {
            eprintln!("skipped: CLUSTER_HOST_ADDRESS names no address that the cluster reaches this host by");
            return None;
        };
        Some(Self { kubeconfig, host })
    }
}

/// Runs a test on an engine of its own, where there is a cluster.
pub(crate) fn with_engine(test: impl for<'a> FnOnce(&'a mut Bench) -> LocalBoxFuture<'a, ()>) {
    run(test, Decryption::Here, false);
}

/// The same, with layers decrypted there.
pub(crate) fn with_decryption(
    decryption: Decryption,
    test: impl for<'a> FnOnce(&'a mut Bench) -> LocalBoxFuture<'a, ()>,
) {
    run(test, decryption, false);
}

/// The same, with an API server that can be made to fail: see [`Bench::api`].
pub(crate) fn with_faults(test: impl for<'a> FnOnce(&'a mut Bench) -> LocalBoxFuture<'a, ()>) {
    run(test, Decryption::Here, true);
}

fn run(
    test: impl for<'a> FnOnce(&'a mut Bench) -> LocalBoxFuture<'a, ()>,
    decryption: Decryption,
    faults: bool,
) {
    let Some(cluster) = Cluster::find() else { return };
    // What the engine keeps from publishers stands in its log.
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let mut bench = Bench::new(cluster, decryption, faults).await;
        let outcome = AssertUnwindSafe(test(&mut bench)).catch_unwind().await;
        bench.clean_up().await;
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

impl Bench {
    async fn new(cluster: Cluster, decryption: Decryption, faults: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("apk").tempdir_in("/tmp").unwrap();
        let shipyard = Shipyard::new().unwrap();
        let images = Arc::new(NodeImages::new(shipyard.files(), shipyard.grants.clone(), decryption));
        let address = serve(cluster.host, images.clone()).await;
        trust(address);
        let name = fresh_name();
        let mut config = Config::new(name.parse().unwrap(), dir.path().join("data"), address.to_string());
        let kubeconfig = dir.path().join("kubeconfig");
        let account = Account::make(&cluster.kubeconfig, &name, &kubeconfig);
        let api = if faults { Some(FaultyApi::serve(&kubeconfig).await) } else { None };
        config.kubeconfig = Some(kubeconfig);
        config.stop_grace = Duration::from_secs(1);
        config.seccomp_profile = give_profile(&cluster.kubeconfig);
        config.gateways.networks = vec![format!("{}/32", cluster.host)];
        let registry = Arc::new(Images(images));
        let engine =
            Some(KubernetesEngine::open(config.clone(), registry.clone(), None, told).await.unwrap());
        let Cluster { kubeconfig: admin, host } = cluster;
        Self {
            name,
            config,
            engine,
            registry,
            readers: None,
            shipyard,
            host,
            admin,
            dir,
            api,
            link_local: None,
            account,
        }
    }

    /// What stands between the engine and the API server, in tests of faults.
    pub(crate) fn api(&self) -> &FaultyApi {
        self.api.as_ref().unwrap()
    }

    /// A client of the API server's own, who may do everything.
    pub(crate) async fn client(&self) -> Client {
        let file = Kubeconfig::read_from(&self.admin).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// A file that tells how to reach the cluster, as whoever may do everything but for a `change`.
    pub(crate) fn kubeconfig_with(&self, change: impl FnOnce(&mut Value)) -> PathBuf {
        let mut config = self.account.config();
        change(&mut config);
        let file = self.dir.path().join("changed");
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// The namespaces of the engine's pods.
    pub(crate) async fn namespaces(&self) -> Vec<Namespace> {
        let own = ListParams::default().labels(&format!("apocryph.network/instance={}", self.name));
        Api::all(self.client().await).list(&own).await.unwrap().items
    }

    /// The Pods of all replicas that are there.
    pub(crate) async fn replicas(&self) -> Vec<Pod> {
        let own = format!("apocryph.network/instance={},apocryph.network/role=replica", self.name);
        Api::all(self.client().await).list(&ListParams::default().labels(&own)).await.unwrap().items
    }

    /// The uids of all Pods of the cluster.
    pub(crate) async fn every_pod(&self) -> Vec<String> {
        let pods = Api::<Pod>::all(self.client().await).list(&ListParams::default()).await.unwrap();
        pods.items.into_iter().filter_map(|pod| pod.metadata.uid).collect()
    }

    /// What takes over after this engine.
    pub(crate) async fn next_engine(&self) -> Result<KubernetesEngine, ClusterError> {
        let (config, registry, readers) = (self.config.clone(), self.registry.clone(), self.readers.clone());
        KubernetesEngine::open(config, registry, readers, told).await
    }

    /// Ends the engine as a crash of the daemon would.
    pub(crate) fn crash(&mut self) {
        drop(self.engine.take());
    }

    pub(crate) fn engine(&self) -> &KubernetesEngine {
        self.engine.as_ref().unwrap()
    }

    /// The engine's name.
    pub(crate) fn instance(&self) -> &str {
        &self.name
    }

    async fn clean_up(&mut self) {
        if let Some(api) = &self.api {
            api.answers();
        }
        if self.engine.is_none() {
            self.restart().await;
        }
        let engine = self.engine();
        let pods = engine.pods().await.unwrap().into_iter();
        for removed in futures::future::join_all(pods.map(|pod| engine.remove(pod))).await {
            removed.unwrap();
        }
    }
}

/// What the engine waits for stands in the test's log.
fn told(waits: &ClusterError) {
    tracing::warn!(%waits, "the engine is not open yet");
}

async fn serve(host: IpAddr, images: Arc<NodeImages>) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_nodes(listener, images, std::future::pending()));
    address
}

/// A link-local address of this host's, to which nodes route what they know no other way for.
struct LinkLocal(Ipv4Addr);

impl LinkLocal {
    fn add() -> Self {
        let [high, low, ..] = std::process::id().to_le_bytes();
        let address = Self(Ipv4Addr::new(169, 254, high, low));
        address.ip("add");
        address
    }

    fn ip(&self, verb: &str) {
        let address = format!("{}/32", self.0);
        assert!(Command::new("ip").args(["addr", verb, &address, "dev", "lo"]).status().unwrap().success());
    }
}

impl Drop for LinkLocal {
    fn drop(&mut self) {
        self.ip("del");
    }
}

/// Has the nodes pull from here without TLS, by the command that `CLUSTER_REGISTRY` names.
fn trust(address: SocketAddr) {
    let Some(command) = std::env::var_os("CLUSTER_REGISTRY") else { return };
    let command = command.into_string().unwrap();
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).arg(address.to_string()).status();
    assert!(status.unwrap().success(), "{command}");
}

/// Puts the profile of system calls where the kubelet looks for it, which the clusters of this project have
/// beside their configuration.
fn give_profile(kubeconfig: &Path) -> Option<String> {
    let kubelet = kubeconfig.parent().unwrap().join("kubelet");
    kubelet.exists().then(|| {
        std::fs::create_dir_all(kubelet.join("seccomp")).unwrap();
        // Whole or not at all: tests run beside each other.
        let (partial, profile) = (format!("{}.partial", std::process::id()), "seccomp/apocryph.json");
        std::fs::write(kubelet.join(&partial), PROFILE).unwrap();
        std::fs::rename(kubelet.join(partial), kubelet.join(profile)).unwrap();
        "apocryph.json".to_owned()
    })
}

/// Tests of one process run beside each other, and the cluster is theirs together.
fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[async_trait]
impl Subject for Bench {
    fn engine(&self) -> &dyn Engine {
        self.engine.as_ref().unwrap()
    }

    fn shipyard(&self) -> &Shipyard {
        &self.shipyard
    }

    /// The API server by its service and by itself, the kubelets, the endpoint that nodes pull from, and an
    /// address where clouds tell machines their secrets.
    async fn host_services(&mut self) -> Vec<SocketAddr> {
        let client = self.client().await;
        let service = Api::<Service>::namespaced(client.clone(), "default").get("kubernetes").await.unwrap();
        let service = service.spec.unwrap().cluster_ip.unwrap();
        let nodes = Api::<Node>::all(client).list(&ListParams::default()).await.unwrap();
        let addresses = nodes.items.into_iter().flat_map(|node| node.status.unwrap().addresses.unwrap());
        let internal = addresses.filter(|address| address.type_ == "InternalIP");
        let of_node = |address: NodeAddress| [6443, 10250].map(|port| format!("{}:{port}", address.address));
        let mut services: Vec<String> = internal.flat_map(of_node).collect();
        services.extend([format!("{service}:443"), self.config.registry.clone()]);
        let mut services: Vec<SocketAddr> =
            services.into_iter().map(|service| service.parse().unwrap()).collect();
        let link_local = LinkLocal::add();
        let listener = TcpListener::bind((link_local.0, 0)).await.unwrap();
        services.push(listener.local_addr().unwrap());
        // It ends with the test.
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        self.link_local = Some(link_local);
        services
    }

    fn log_folder(&self, pod: ChannelId) -> PathBuf {
        self.dir.path().join("data/pods").join(pod.to_string())
    }

    /// Not by the API server's defaults (feature gate `PodLogsQuerySplitStreams`).
    fn tells_streams_apart(&self) -> bool {
        false
    }

    /// As a drain of its node does.
    async fn evacuate(&self, replica: &Replica) -> bool {
        let pods = self.replicas().await;
        let namespace = pods.iter().find(|pod| pod.name_any() == replica.id).unwrap().namespace().unwrap();
        let pods: Api<Pod> = Api::namespaced(self.client().await, &namespace);
        pods.delete(&replica.id, &DeleteParams::default()).await.unwrap();
        true
    }

    /// By its scheduler.
    fn looks_for_room(&self) -> bool {
        true
    }

    async fn restart(&mut self) {
        drop(self.engine.take());
        self.engine = Some(self.next_engine().await.unwrap());
    }
}

/// What is found in the end; looked for again and again.
pub(crate) async fn within<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}
