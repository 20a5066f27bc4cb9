//! An engine in namespaces of the test's own: bridge, firewall, tmpfs and links end with the test,
//! whatever happens; replicas and cgroups are removed after it, failed or not.

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests tell by panics and lines")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use apocryph_embedded::{Config, EmbeddedEngine};
use apocryph_model::{ChannelId, Digest, LogQuery};
use apocryph_oci::registry::serve;
use apocryph_provider::Engine;
use apocryph_seal::sha256;
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject};
use apocryph_testbed::shipyard::Shipyard;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// How long the last engine may take to let go of its name.
const PATIENCE: Duration = Duration::from_secs(10);

/// The engine under test and what it stands on.
pub(crate) struct Bench {
    pub(crate) config: Config,
    pub(crate) name: String,
    pub(crate) engine: Option<EmbeddedEngine>,
    pub(crate) shipyard: Shipyard,
    pub(crate) dir: TempDir,
    small_disk: bool,
}

/// Runs a test on an engine of its own; as root only.
pub(crate) fn with_engine(
    test: impl for<'a> FnOnce(&'a mut Bench) -> LocalBoxFuture<'a, ()> + Send + 'static,
) {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root");
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(async {
            let mut bench = Bench::new().await;
            let outcome = AssertUnwindSafe(test(&mut bench)).catch_unwind().await;
            bench.clean_up().await;
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            bench.assert_nothing_left();
        });
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("ape").tempdir_in("/tmp").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shipyard = Shipyard::new().unwrap();
        let registry = listener.local_addr().unwrap();
        let (files, grants) = (shipyard.files(), shipyard.grants.clone());
        tokio::spawn(serve(listener, files, grants, std::future::pending()));
        let name = fresh_name();
        let config = config(&name, dir.path(), registry);
        let engine = Some(EmbeddedEngine::open(config.clone()).await.unwrap());
        Self { config, name, engine, shipyard, small_disk: false, dir }
    }

    pub(crate) fn engine(&self) -> &EmbeddedEngine {
        self.engine.as_ref().unwrap()
    }

    /// Puts a blob where the engine pulls from.
    pub(crate) fn put(&self, bytes: &[u8]) -> Digest {
        self.shipyard.put(bytes).unwrap()
    }

    /// Puts a layer, encrypted, and gives its descriptor.
    pub(crate) fn put_layer(&self, media_type: &str, plain: &[u8]) -> Value {
        self.shipyard.put_layer(media_type, plain).unwrap()
    }

    /// Puts an image of these layers, which are given as descriptors and uncompressed tar files.
    pub(crate) fn put_image(&self, layers: &[(Value, &[u8])], architecture: &str) -> Digest {
        let diff_ids: Vec<Digest> = layers.iter().map(|(_, tar)| sha256(tar)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = serde_json::to_vec(&config).unwrap();
        let layers: Vec<&Value> = layers.iter().map(|(descriptor, _)| descriptor).collect();
        self.put_manifest(&config, &json!(layers))
    }

    pub(crate) fn put_manifest(&self, config: &[u8], layers: &Value) -> Digest {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.put(config),
                "size": config.len(),
            },
            "layers": layers,
        });
        self.put(&serde_json::to_vec(&manifest).unwrap())
    }

    /// The unpacked layers of all publishers, whole or not.
    pub(crate) fn layers(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries(&self.config.data_dir.join("layers")).flat_map(|publisher| entries(&publisher)).collect()
    }

    /// Those whose command line holds `text`.
    pub(crate) fn processes(&self, text: &str) -> Vec<i32> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let with_text = processes.filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read_to_string(process.path().join("cmdline")).ok()?;
            line.contains(text).then_some(pid)
        });
        with_text.collect()
    }

    /// Runs one replica until it has written so many lines, and stops it.
    pub(crate) async fn first_lines(&self, pod: PodUnderTest, count: usize) -> Vec<String> {
        let pod = pod.build(self);
        self.engine().prepare(&pod).await.unwrap();
        self.engine().scale(pod.id, 1).await.unwrap();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let lines = self.engine().logs(pod.id, query).await.unwrap();
        let lines = lines.take(count).map(|line| line.text).collect();
        let lines = tokio::time::timeout(Duration::from_secs(60), lines).await.unwrap();
        self.engine().scale(pod.id, 0).await.unwrap();
        lines
    }

    /// Opens the engine anew with its data on a file system of this size, in bytes.
    pub(crate) async fn restart_on_small_disk(&mut self, size: u64) {
        self.engine.take().unwrap().close().await.unwrap();
        self.config.data_dir = self.dir.path().join("small");
        std::fs::create_dir(&self.config.data_dir).unwrap();
        let options = format!("size={size}");
        let flags = MsFlags::empty();
        mount(Some("tmpfs"), &self.config.data_dir, Some("tmpfs"), flags, Some(options.as_str())).unwrap();
        self.small_disk = true;
        self.engine = Some(EmbeddedEngine::open(self.config.clone()).await.unwrap());
    }

    /// Has the engine pull from a registry that does not look at what it hands out.
    pub(crate) async fn pull_unseen(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.config.registry = listener.local_addr().unwrap();
        let blobs = self.shipyard.blob(Digest([0; 32])).parent().unwrap().to_owned();
        tokio::spawn(serve_unseen(listener, blobs));
        self.restart().await;
    }

    async fn clean_up(&mut self) {
        if self.engine.is_none() {
            self.engine = Some(EmbeddedEngine::open(self.config.clone()).await.unwrap());
        }
        let engine = self.engine();
        for pod in engine.pods().await.unwrap() {
            engine.remove(pod).await.unwrap();
        }
        for reading in engine.sample().await.unwrap() {
            engine.forget(&reading.replica).await.unwrap();
        }
        self.engine.take().unwrap().close().await.unwrap();
        if self.small_disk {
            nix::mount::umount(&self.config.data_dir).unwrap();
        }
    }

    fn assert_nothing_left(&self) {
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "{mounts}");
        let links = Command::new("ip").args(["-o", "link"]).output().unwrap().stdout;
        let links = String::from_utf8_lossy(&links).into_owned();
        assert!(!links.contains(": ap"), "{links}");
        let rules = Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout;
        assert!(rules.is_empty(), "{}", String::from_utf8_lossy(&rules));
        let name = &self.name;
        for tree in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
            let group = tree.unwrap().path().join("apocryph").join(name);
            assert!(!group.exists(), "{}", group.display());
        }
        let files = Command::new("find").arg(self.dir.path()).args(["-not", "-type", "d"]).output().unwrap();
        assert!(files.stdout.is_empty(), "{}", String::from_utf8_lossy(&files.stdout));
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            assert!(!line.contains(self.dir.path().to_str().unwrap()), "{line}");
        }
    }
}

/// Tests of one process run beside each other, and cgroups are the host's.
fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn config(name: &str, dir: &Path, registry: SocketAddr) -> Config {
    let name = name.parse().unwrap();
    let subnet = "10.231.0.0/24".parse().unwrap();
    let mut config = Config::new(name, dir.join("data"), dir.join("run"), registry, subnet);
    config.shim = env!("CARGO_BIN_EXE_apocryph-shim").into();
    config.stop_grace = Duration::from_secs(2);
    config.image_limit = apocryph_model::Bytes(64 << 20);
    config
}

/// A registry that asks nobody who they are and looks at nothing that it hands out.
async fn serve_unseen(listener: TcpListener, blobs: PathBuf) {
    while let Ok((stream, _)) = listener.accept().await {
        let blobs = blobs.clone();
        let service = service_fn(move |request| {
            let answer = answer(&request, &blobs);
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

fn answer(request: &Request<hyper::body::Incoming>, blobs: &Path) -> Response<Full<Bytes>> {
    let digest = request.uri().path().rsplit('/').next().unwrap_or_default();
    let (status, body) = match std::fs::read(blobs.join(digest.trim_start_matches("sha256:"))) {
        Ok(blob) => (StatusCode::OK, blob.into()),
        Err(_) => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    Response::builder().status(status).body(Full::new(body)).unwrap()
}

#[async_trait]
impl Subject for Bench {
    fn engine(&self) -> &dyn Engine {
        self.engine.as_ref().unwrap()
    }

    fn shipyard(&self) -> &Shipyard {
        &self.shipyard
    }

    /// At the bridge, at a public address of the host's, and where clouds tell machines their secrets. The
    /// registry is on loopback.
    async fn host_services(&mut self) -> Vec<SocketAddr> {
        let mut services = Vec::new();
        for address in ["198.20.0.1", "169.254.169.254"] {
            let added = Command::new("ip").args(["addr", "add", address, "dev", "lo"]).status();
            assert!(added.unwrap().success());
        }
        let bridge = self.config.subnet.gateway();
        for address in [bridge, Ipv4Addr::new(198, 20, 0, 1), Ipv4Addr::new(169, 254, 169, 254)] {
            let listener = TcpListener::bind((address, 0)).await.unwrap();
            services.push(listener.local_addr().unwrap());
            // They end with the test.
            tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        }
        services
    }

    fn log_folder(&self, pod: ChannelId) -> PathBuf {
        self.config.data_dir.join("logs").join(pod.to_string())
    }

    async fn restart(&mut self) {
        drop(self.engine.take());
        let deadline = Instant::now() + PATIENCE;
        // What the last one had begun ends with its process elsewhere; here it keeps the name until it is over.
        let opened = loop {
            match EmbeddedEngine::open(self.config.clone()).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(10)).await,
                opened => break opened,
            }
        };
        self.engine = Some(opened.unwrap());
    }
}
