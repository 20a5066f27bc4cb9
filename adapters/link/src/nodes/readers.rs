//! The daemon's half of the link: what the readers are asked.

use super::{
    message::{NodeName, PODS, PodReading, PodUid, ToDaemon, ToReader, VERSION},
    session,
};
use crate::{
    Token,
    dial::{Missed, connect},
    secure::{self, LinkError},
};
use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

/// The most nodes with a reader.
const MOST: usize = 5_000;
/// How long a reader may take over an answer.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(5);
/// For how long a reader that was lost may come back; after the daemon's start, any.
const RETURN_TIME: Duration = Duration::from_secs(10);

/// The readers that are connected. Clones are the same.
#[derive(Clone)]
pub struct NodeReaders(Arc<Inner>);

struct Inner {
    token: Token,
    began: Instant,
    state: Mutex<State>,
    numbers: AtomicU64,
    /// Told whenever one comes or goes.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    live: HashMap<NodeName, Live>,
    /// When those were lost that may come back.
    lost: HashMap<NodeName, Instant>,
}

struct Live {
    number: u64,
    asks: mpsc::Sender<Ask>,
}

/// What one reader is asked.
pub(super) struct Ask {
    pub(super) pods: Vec<PodUid>,
    pub(super) answer: oneshot::Sender<Vec<PodReading>>,
}

/// A reader that was let in.
pub(super) struct Admitted {
    pub(super) number: u64,
    /// Ends once another reader of the same node is let in.
    pub(super) asks: mpsc::Receiver<Ask>,
}

impl NodeReaders {
    /// Questions that wait for one reader.
    const QUEUE: usize = 64;

    /// Those that have this token; none is connected yet.
    pub fn new(token: Token) -> Self {
        metrics::describe_gauge!("apocryph_node_readers", "Readers on nodes that are connected");
        Self(Arc::new(Inner {
            token,
            began: Instant::now(),
            state: Mutex::default(),
            numbers: AtomicU64::new(0),
            changed: watch::Sender::new(()),
        }))
    }

    /// Lets readers in, for as long as it is polled.
    pub async fn serve(&self, listener: TcpListener) {
        session::accept(self, listener).await;
    }

    /// The nodes whose readers are connected.
    pub fn nodes(&self) -> BTreeSet<NodeName> {
        self.state().live.keys().cloned().collect()
    }

    /// What these Pods of a node used: those of them that its reader knows, also such as ended in the
    /// last hour. `None` where it is not connected or does not answer: then nothing is known of any.
    pub async fn read(&self, node: &NodeName, pods: &[PodUid]) -> Option<Vec<PodReading>> {
        let asks = self.state().live.get(node)?.asks.clone();
        let mut readings = Vec::new();
        for pods in pods.chunks(PODS) {
            let (answer, answered) = oneshot::channel();
            let ask = Ask { pods: pods.into(), answer };
            let asked = async {
                asks.send(ask).await.ok()?;
                answered.await.ok()
            };
            readings.extend(timeout(ANSWER_TIME, asked).await.ok()??);
        }
        Some(readings)
    }

    /// Waits for a reader that was lost a moment ago, or, after the daemon's start, for one that
    /// has yet to find it; tells whether it is there.
    pub async fn returned(&self, node: &NodeName) -> bool {
        let mut changes = self.0.changed.subscribe();
        loop {
            let since = {
                let state = self.state();
                if state.live.contains_key(node) {
                    return true;
                }
                state.lost.get(node).copied().unwrap_or(self.0.began)
            };
            if timeout_at(since + RETURN_TIME, changes.changed()).await.is_err() {
                return false;
            }
        }
    }

    /// Which nodes' readers the daemon at this address knows.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub async fn probe(daemon: &str, token: &Token) -> Result<BTreeSet<NodeName>, String> {
        let asked = async {
            let stream = connect(daemon).await.map_err(|missed| match missed {
                Missed::Nobody => io::ErrorKind::ConnectionRefused.into(),
                Missed::Unknown(error) => error,
            })?;
            let (mut reader, mut writer) = secure::initiate(stream, token).await?;
            writer.send(&ToDaemon::Check { version: VERSION }).await?;
            match timeout(ANSWER_TIME, reader.receive()).await.map_err(|_| LinkError::Silent)?? {
                ToReader::Connected { nodes } => Ok(nodes.into_iter().collect()),
                ToReader::Read { .. } => Err(LinkError::Senseless),
            }
        };
        asked.await.map_err(|error: LinkError| format!("{daemon}: {error}"))
    }

    pub(super) fn token(&self) -> &Token {
        &self.0.token
    }

    /// Lets a reader in, in place of an earlier one of its node; `None` where there are too many.
    pub(super) fn join(&self, node: &NodeName) -> Option<Admitted> {
        let (sender, asks) = mpsc::channel(Self::QUEUE);
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        if state.live.len() >= MOST && !state.live.contains_key(node) {
            return None;
        }
        state.live.insert(node.clone(), Live { number, asks: sender });
        state.lost.remove(node);
        self.count(state);
        Some(Admitted { number, asks })
    }

    /// A reader's connection has ended.
    pub(super) fn lose(&self, node: &NodeName, number: u64) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.live.get(node).is_some_and(|live| live.number == number) {
            state.live.remove(node);
            state.lost.retain(|_, since| now < *since + RETURN_TIME);
            state.lost.insert(node.clone(), now);
        }
        self.count(state);
    }

    fn count(&self, state: MutexGuard<'_, State>) {
        metrics::gauge!("apocryph_node_readers").set(state.live.len() as f64);
        drop(state);
        self.0.changed.send_replace(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
