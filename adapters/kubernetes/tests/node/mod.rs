//! The test cluster's only node, whose cgroups are this host's: its reader, and an observer of its own.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use apocryph_kubernetes::{NodeReaders, NodeReading};
use apocryph_link::nodes::{NodeName, PodCounters, PodReading, PodUid, answer};
use apocryph_link::{ReaderConfig, Role, Token};
use apocryph_pod_cgroups::PodCgroups;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::support::Bench;

/// Of version 1, where it is mounted.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"];

/// The node's reader, linked as `apocryphd node-reader` is.
pub(crate) struct Node {
    daemon: apocryph_link::NodeReaders,
    address: SocketAddr,
    name: NodeName,
    cgroups: Arc<PodCgroups>,
    link: Option<AbortHandle>,
}

impl Node {
    /// `None`, and a line that says why, where its cgroups are not this host's.
    pub(crate) async fn new(bench: &Bench) -> Option<Self> {
        let nodes: Api<NodeObject> = Api::all(bench.client().await);
        let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
        let uids = bench.every_pod().await;
        if nodes.len() != 1
            || !uids.iter().any(|uid| ROOTS.iter().any(|root| find(Path::new(root), uid).is_some()))
        {
            eprintln!("skipped: the node's cgroups are not this host's");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let daemon = apocryph_link::NodeReaders::new(token());
        let serving = daemon.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        let name = nodes[0].name_any().parse().unwrap();
        let mut node = Self { daemon, address, name, cgroups: cgroups(), link: None };
        node.link();
        Some(node)
    }

    /// As the engine asks for them.
    pub(crate) fn readers(&self) -> Readers {
        Readers(self.daemon.clone())
    }

    pub(crate) async fn is_connected(&self) -> bool {
        self.daemon.returned(&self.name).await
    }

    /// Breaks the link; pods are read on.
    pub(crate) fn cut(&mut self) {
        self.link.take().inspect(AbortHandle::abort);
    }

    /// Has the reader connect to the daemon.
    pub(crate) fn link(&mut self) {
        let (daemon, node) = (self.address.to_string(), self.name.clone());
        let config = ReaderConfig { daemon, token: token(), node };
        let counters = Arc::new(Counters(self.cgroups.clone()));
        self.link = Some(tokio::spawn(async move { answer(&config, counters).await }).abort_handle());
    }

    /// Ends the reader, with what it knows.
    pub(crate) fn forget(&mut self) {
        self.cut();
        self.cgroups = cgroups();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.cut();
    }
}

fn token() -> Token {
    Token::from_text(&"t".repeat(40), Role::NodeReader).unwrap()
}

fn cgroups() -> Arc<PodCgroups> {
    let cgroups = Arc::new(PodCgroups::open(Path::new("/sys/fs/cgroup")).unwrap());
    cgroups.keep_reading().unwrap();
    cgroups
}

struct Counters(Arc<PodCgroups>);

impl PodCounters for Counters {
    fn read(&self, pod: &PodUid) -> Option<PodReading> {
        let used = self.0.read(pod.as_ref())?;
        Some(PodReading { uid: pod.clone(), cpu_us: used.cpu_us, there: used.there, whole: used.whole })
    }
}

/// As `apocryphd` joins the link and the engine.
pub(crate) struct Readers(apocryph_link::NodeReaders);

#[async_trait]
impl NodeReaders for Readers {
    async fn read(&self, node: &str, pods: &[String]) -> Option<HashMap<String, NodeReading>> {
        let pods: Vec<PodUid> = pods.iter().map(|pod| pod.parse().unwrap()).collect();
        let read = self.0.read(&node.parse().unwrap(), &pods).await?;
        let reading = |read: PodReading| {
            (read.uid.into(), NodeReading { cpu_us: read.cpu_us, there: read.there, whole: read.whole })
        };
        Some(read.into_iter().map(reading).collect())
    }

    async fn returned(&self, node: &str) -> bool {
        self.0.returned(&node.parse().unwrap()).await
    }
}

/// What the kernel counts of all processes that ever were in a Pod, looked at all the time.
#[derive(Debug)]
pub(crate) struct Count {
    looking: JoinHandle<(u64, Duration)>,
}

impl Count {
    /// Of a Pod that is there.
    pub(crate) fn of(uid: &str) -> Self {
        let folder = ROOTS.iter().find_map(|root| find(Path::new(root), uid)).expect("it has a cgroup");
        let looking = thread::spawn(move || {
            let (mut total, mut since) = (0, Instant::now());
            while let Some(now) = microseconds(&folder) {
                if now != total {
                    (total, since) = (now, Instant::now());
                }
                thread::sleep(Duration::from_millis(2));
            }
            (total, since.elapsed())
        });
        Self { looking }
    }

    /// Whether its cgroup is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.looking.is_finished()
    }

    /// In microseconds, once it is gone; and for how long the counter had stood still by then.
    pub(crate) fn total(self) -> (u64, Duration) {
        self.looking.join().unwrap()
    }
}

fn microseconds(folder: &Path) -> Option<u64> {
    if let Ok(nanoseconds) = fs::read_to_string(folder.join("cpuacct.usage")) {
        return Some(nanoseconds.trim().parse::<u64>().unwrap() / 1000);
    }
    let stat = fs::read_to_string(folder.join("cpu.stat")).ok()?;
    stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok())
}

/// The cgroup of a whole Pod.
fn find(folder: &Path, uid: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten().filter(|entry| entry.path().is_dir()) {
        if entry.file_name().to_string_lossy().replace('_', "-").contains(uid) {
            return Some(entry.path());
        }
        if let Some(found) = find(&entry.path(), uid) {
            return Some(found);
        }
    }
    None
}
