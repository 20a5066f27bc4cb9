//! A real Kubo node, fetched from and served. It is built once by `go build` from
//! `testbed/kubo/go.mod` into the user's cache.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod nodes;

use apocryph_model::Blob;
use apocryph_p2p::{BlobStore, Node, Reader};
use apocryph_provider::Blobs as _;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use nodes::{OWNER, QUIC, TCP, config, content, digest, provider, publish, publisher, stored};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};
use tempfile::TempDir;

const VERSION: &str = "v0.43.0";
const MIB: usize = 1 << 20;
/// How Kubo is told to cut files as we do.
const OUR_LAYOUT: [&str; 5] =
    ["--cid-version=1", "--raw-leaves", "--chunker=size-262144", "--max-file-links=1024", "-Q"];

/// The built program, or the reason why there is none.
fn kubo() -> Result<&'static Path, &'static str> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref().map_err(String::as_str)
}

fn build() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let dir = cache.ok_or("no home directory")?.join(format!("apocryph/kubo-{VERSION}"));
    let program = dir.join("ipfs");
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    // Several tests at once build it once.
    let turn = File::create(dir.join("lock")).map_err(|error| error.to_string())?;
    turn.lock().map_err(|error| error.to_string())?;
    if program.exists() {
        return Ok(program);
    }
    go_build(&dir)?;
    fs::rename(dir.join("ipfs.new"), &program).map_err(|error| error.to_string())?;
    Ok(program)
}

fn go_build(to: &Path) -> Result<(), String> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/kubo");
    let built = Command::new("nice")
        .args(["go", "build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(to.join("ipfs.new"))
        .arg("github.com/ipfs/kubo/cmd/ipfs")
        .current_dir(module)
        .output()
        .map_err(|_| "needs Go")?;
    if built.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&built.stderr);
    Err(format!(
        "needs Go, and the modules of testbed/kubo/go.mod: {}",
        said.lines().last().unwrap_or_default()
    ))
}

/// A Kubo node on loopback, without any peers of its own.
struct Kubo {
    program: &'static Path,
    home: TempDir,
    daemon: Option<Child>,
}

impl Drop for Kubo {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }
}

impl Kubo {
    /// None, with the reason printed, where Kubo cannot be built.
    fn new() -> Option<Self> {
        let program = kubo().inspect_err(|reason| eprintln!("skipped: {reason}")).ok()?;
        let kubo = Self { program, home: tempfile::tempdir().unwrap(), daemon: None };
        kubo.run(&["init", "--profile=test"]);
        kubo.run(&["config", "Routing.Type", "none"]);
        let listen = r#"["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]"#;
        kubo.run(&["config", "--json", "Addresses.Swarm", listen]);
        Some(kubo)
    }

    fn online() -> Option<Self> {
        let mut kubo = Self::new()?;
        let mut daemon =
            kubo.command(&["daemon"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        kubo.daemon = Some(daemon);
        let ready = lines.map_while(Result::ok).any(|line| line.contains("Daemon is ready"));
        assert!(ready, "the daemon ends before it is ready");
        Some(kubo)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(args).env("IPFS_PATH", self.home.path()).env("IPFS_TELEMETRY", "off");
        command
    }

    fn run(&self, args: &[&str]) -> Vec<u8> {
        let output = self.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ipfs {args:?}: {said}");
        output.stdout
    }

    fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.run(args)).unwrap().trim().to_owned()
    }

    /// Adds a file and tells its CID.
    fn add(&self, path: &Path, options: &[&str]) -> String {
        self.text(&[&["add"], options, &[path.to_str().unwrap()]].concat())
    }

    /// Its peer id and where it listens by this transport.
    fn address(&self, transport: &str) -> (PeerId, Multiaddr) {
        let addresses = self.text(&["swarm", "addrs", "local", "--id"]);
        let address = addresses.lines().find(|address| address.contains(transport)).expect(transport);
        let mut address: Multiaddr = address.parse().unwrap();
        let Some(Protocol::P2p(peer)) = address.pop() else { panic!("no peer id in {address}") };
        (peer, address)
    }
}

fn file(dir: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("content");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn cids_are_equal() {
    let Some(kubo) = Kubo::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 1, 256 << 10, MIB, MIB + 1, 20 * MIB, 300 * MIB] {
        let bytes = content(size);
        let path = file(&dir, &bytes);
        let store = BlobStore::of_files().unwrap();
        let ours = store.publish(&path, &digest(&bytes), Reader::Everyone).unwrap().root;
        let theirs = kubo.add(&path, &[&OUR_LAYOUT[..], &["--only-hash"]].concat());
        assert_eq!(ours.to_string(), theirs, "{size} bytes");
    }
}

async fn fetch(provider: &Node, kubo: &Kubo, transport: &str, bytes: &[u8], cid: String) {
    let (peer, address) = kubo.address(transport);
    provider.connect(peer, vec![address]).await.unwrap();
    let blob = Blob { digest: digest(bytes), size: bytes.len() as u64, cid };
    provider.fetch(OWNER, &blob, &peer.to_base58().parse().unwrap(), &|_| ()).await.unwrap();
    assert!(stored(provider, &blob).unwrap() == bytes);
}

async fn fetched_from_kubo(listen: &str, transport: &str) {
    let Some(kubo) = Kubo::online() else { return };
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let provider = provider(&config(listen), to.path()).await;
    for (size, layout) in [
        (0, &OUR_LAYOUT[..]),
        (1, &OUR_LAYOUT),
        (MIB + 1, &OUR_LAYOUT),
        (50 * MIB, &OUR_LAYOUT),
        // Kubo's layouts of 2025 and of 2015, the latter with leaves wrapped in nodes.
        (20 * MIB + 2, &["-Q", "--cid-version=1", "--chunker=size-1048576", "--max-file-links=1024"]),
        (20 * MIB + 3, &["-Q", "--cid-version=0", "--raw-leaves=false"]),
    ] {
        let bytes = content(size);
        let cid = kubo.add(&file(&dir, &bytes), layout);
        fetch(&provider, &kubo, transport, &bytes, cid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_fetches_from_kubo_by_tcp() {
    fetched_from_kubo(TCP, "/tcp/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_fetches_from_kubo_by_quic() {
    fetched_from_kubo(QUIC, "/quic-v1").await;
}

async fn served_to_kubo(listen: &str) {
    let Some(kubo) = Kubo::online() else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = publisher(listen).await;
    kubo.run(&["swarm", "connect", &node.addresses()[0].to_string()]);
    for size in [1, MIB + 1, 50 * MIB] {
        let bytes = content(size);
        let blob = publish(&node, &dir, &bytes, Reader::Everyone);
        let read = kubo.run(&["cat", "--timeout=120s", &blob.cid]);
        assert!(read == bytes, "{size} bytes");
    }
    // What it may not read is not there for it.
    let secret = publish(&node, &dir, b"not for everyone", Reader::Peer(PeerId::random()));
    let refused = kubo.command(&["cat", "--timeout=2s", &secret.cid]).output().unwrap();
    assert!(!refused.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_fetches_what_is_public_by_tcp() {
    served_to_kubo(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_fetches_what_is_public_by_quic() {
    served_to_kubo(QUIC).await;
}
