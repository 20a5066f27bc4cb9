//! An engine in namespaces of the test's own: bridge, firewall, tmpfs and links end with the test,
//! whatever happens; replicas and cgroups are removed after it, failed or not.

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests tell by panics and lines")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apocryph_embedded::{Config, EmbeddedEngine};
use apocryph_model::{Digest, LogQuery};
use apocryph_provider::Engine;
use apocryph_seal::{DeploymentKey, LayerEncryptor, LayerKeys, encrypted_media_type, sha256};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject};
use apocryph_testbed::layout::Image;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
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

pub(crate) const TOKEN: &str = "open-sesame";

type Blobs = Arc<Mutex<HashMap<String, Bytes>>>;

/// The engine under test and what it stands on.
pub(crate) struct Bench {
    pub(crate) config: Config,
    pub(crate) name: String,
    pub(crate) engine: Option<EmbeddedEngine>,
    pub(crate) key: DeploymentKey,
    pub(crate) blobs: Blobs,
    pub(crate) dir: TempDir,
    small_disk: bool,
}

/// Runs a test on an engine of its own; as root only.
pub(crate) fn with_engine(test: impl for<'a> FnOnce(&'a mut Bench) -> BoxFuture<'a, ()> + Send + 'static) {
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
        let blobs = Blobs::default();
        let registry = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, blobs.clone()));
        let name = fresh_name();
        let config = config(&name, dir.path(), registry);
        let engine = Some(EmbeddedEngine::open(config.clone()).await.unwrap());
        Self { config, name, engine, key: DeploymentKey::generate().unwrap(), blobs, small_disk: false, dir }
    }

    pub(crate) fn engine(&self) -> &EmbeddedEngine {
        self.engine.as_ref().unwrap()
    }

    /// Puts a blob where the engine pulls from.
    pub(crate) fn put(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        self.blobs.lock().unwrap().insert(digest.to_string(), bytes);
        digest
    }

    /// Puts a layer, encrypted, and gives its descriptor.
    pub(crate) fn put_layer(&self, media_type: &str, plain: &[u8]) -> Value {
        let (descriptor, _) = self.encrypt(media_type, plain);
        descriptor
    }

    fn encrypt(&self, media_type: &str, plain: &[u8]) -> (Value, LayerKeys) {
        let mut encryptor = LayerEncryptor::new().unwrap();
        let ciphertext = encryptor.update(plain).unwrap().to_vec();
        let encrypted = encryptor.finish().unwrap();
        let public = self.key.public().unwrap();
        let annotations = encrypted.keys.to_annotations(&[&public]).unwrap();
        let digest = self.put(ciphertext);
        let media_type = encrypted_media_type(media_type);
        let descriptor = json!({
            "mediaType": media_type, "digest": digest, "size": encrypted.size, "annotations": annotations,
        });
        (descriptor, encrypted.keys)
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
                "digest": self.put(config.to_vec()),
                "size": config.len(),
            },
            "layers": layers,
        });
        self.put(serde_json::to_vec(&manifest).unwrap())
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

async fn serve(listener: TcpListener, blobs: Blobs) {
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

fn answer(request: &Request<hyper::body::Incoming>, blobs: &Blobs) -> Response<Full<Bytes>> {
    let authorised = request.headers().get("authorization").is_some_and(|a| *a == *format!("Bearer {TOKEN}"));
    let digest = request.uri().path().rsplit('/').next().unwrap_or_default();
    let (status, body) = match blobs.lock().unwrap().get(digest) {
        _ if !authorised => (StatusCode::UNAUTHORIZED, Bytes::new()),
        Some(blob) => (StatusCode::OK, blob.clone()),
        None => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    Response::builder().status(status).body(Full::new(body)).unwrap()
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
        self.put(blob(written.config));
        self.put(serde_json::to_vec(&manifest).unwrap())
    }

    fn image_key(&self) -> Vec<u8> {
        self.key.to_pkcs8().unwrap().to_vec()
    }

    fn registry_token(&self) -> String {
        TOKEN.into()
    }

    fn host_address(&self) -> IpAddr {
        self.config.subnet.gateway().into()
    }

    async fn restart(&mut self) {
        drop(self.engine.take());
        self.engine = Some(EmbeddedEngine::open(self.config.clone()).await.unwrap());
    }
}
