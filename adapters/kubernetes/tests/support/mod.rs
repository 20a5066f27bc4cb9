//! An engine on the cluster that `KUBECONFIG` names, with a registry and an account of the test's own. Namespaces
//! are removed after the test, failed or not.

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests tell by panics and lines")]

mod account;
pub(crate) mod api;

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use account::Account;
use api::FaultyApi;
use apocryph_kubernetes::{Config, KubernetesEngine, NodeImage, NodeRegistry, Shipped};
use apocryph_model::{ChannelId, Digest};
use apocryph_oci::registry::{BlobFiles, Decryption, Grants, NodeImages, serve_nodes};
use apocryph_provider::{Engine, EngineError, Registry as _};
use apocryph_seal::{DeploymentKey, LayerEncryptor, encrypted_media_type, sha256};
use apocryph_testbed::engine_conformance::Subject;
use apocryph_testbed::layout::Image;
use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// How long anything may take until it counts as not happening.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The engine under test and what it stands on.
pub(crate) struct Bench {
    name: String,
    pub(crate) config: Config,
    engine: Option<KubernetesEngine>,
    registry: Arc<Images>,
    pub(crate) grants: Arc<Grants>,
    key: DeploymentKey,
    blobs: Arc<Blobs>,
    shipped: Vec<Digest>,
    host: IpAddr,
    /// Of who may do everything in the cluster.
    pub(crate) admin: PathBuf,
    dir: TempDir,
    /// What stands between the engine and the API server, where faults are wanted.
    api: Option<FaultyApi>,
    _account: Account,
}

/// Blobs as files.
pub(crate) struct Blobs {
    dir: PathBuf,
}

#[async_trait]
impl BlobFiles for Blobs {
    async fn open(&self, digest: Digest) -> io::Result<Option<File>> {
        match File::open(self.dir.join(digest.hex())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file.map(Some),
        }
    }
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
        let blobs = Arc::new(Blobs { dir: dir.path().join("blobs") });
        std::fs::create_dir(&blobs.dir).unwrap();
        let grants = Arc::new(Grants::new(&[7; 32]));
        let images = Arc::new(NodeImages::new(blobs.clone(), grants.clone(), decryption));
        let address = serve(cluster.host, images.clone()).await;
        trust(address);
        let name = fresh_name();
        let mut config = Config::new(name.parse().unwrap(), dir.path().join("data"), address.to_string());
        let kubeconfig = dir.path().join("kubeconfig");
        let account = Account::make(&cluster.kubeconfig, &name, &kubeconfig);
        let api = if faults { Some(FaultyApi::serve(&kubeconfig).await) } else { None };
        config.kubeconfig = Some(kubeconfig);
        config.stop_grace = Duration::from_secs(1);
        config.gateways.networks = vec![format!("{}/32", cluster.host)];
        let registry = Arc::new(Images(images));
        let engine = Some(KubernetesEngine::open(config.clone(), registry.clone()).await.unwrap());
        let (key, shipped, host) = (DeploymentKey::generate().unwrap(), Vec::new(), cluster.host);
        let (admin, _account) = (cluster.kubeconfig, account);
        Self { name, config, engine, registry, grants, key, blobs, shipped, host, admin, dir, api, _account }
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

    fn put(&mut self, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        std::fs::write(self.blobs.dir.join(digest.hex()), bytes).unwrap();
        self.shipped.push(digest);
        digest
    }

    fn put_layer(&mut self, media_type: &str, plain: &[u8]) -> Value {
        let mut encryptor = LayerEncryptor::new().unwrap();
        let ciphertext = encryptor.update(plain).unwrap().to_vec();
        let encrypted = encryptor.finish().unwrap();
        let public = self.key.public().unwrap();
        let annotations = encrypted.keys.to_annotations(&[&public]).unwrap();
        let (digest, media_type) = (self.put(&ciphertext), encrypted_media_type(media_type));
        json!({ "mediaType": media_type, "digest": digest, "size": encrypted.size, "annotations": annotations })
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

async fn serve(host: IpAddr, images: Arc<NodeImages>) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_nodes(listener, images, std::future::pending()));
    address
}

/// Has the nodes pull from here without TLS, by the command that `CLUSTER_REGISTRY` names.
fn trust(address: SocketAddr) {
    let Some(command) = std::env::var_os("CLUSTER_REGISTRY") else { return };
    let command = command.into_string().unwrap();
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).arg(address.to_string()).status();
    assert!(status.unwrap().success(), "{command}");
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

    async fn ship(&mut self, image: &Image) -> Digest {
        let layout = tempfile::tempdir().unwrap();
        let written = image.write_to(layout.path(), "latest").unwrap();
        let blob =
            |digest: Digest| std::fs::read(layout.path().join("blobs/sha256").join(digest.hex())).unwrap();
        let mut manifest: Value = serde_json::from_slice(&blob(written.manifest)).unwrap();
        for layer in manifest["layers"].as_array_mut().unwrap() {
            let plain = blob(layer["digest"].as_str().unwrap().parse().unwrap());
            *layer = self.put_layer(layer["mediaType"].as_str().unwrap(), &plain);
        }
        self.put(&blob(written.config));
        self.put(&serde_json::to_vec(&manifest).unwrap())
    }

    fn image_key(&self) -> Vec<u8> {
        self.key.to_pkcs8().unwrap().to_vec()
    }

    fn registry_token(&self) -> String {
        self.grants.admit(ChannelId([1; 32]), &self.shipped)
    }

    fn host_address(&self) -> IpAddr {
        self.host
    }

    /// Not by the API server's defaults (feature gate `PodLogsQuerySplitStreams`).
    fn tells_streams_apart(&self) -> bool {
        false
    }

    async fn restart(&mut self) {
        drop(self.engine.take());
        let engine = KubernetesEngine::open(self.config.clone(), self.registry.clone()).await;
        self.engine = Some(engine.unwrap());
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
