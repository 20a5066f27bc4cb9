//! Fetching a blob from a peer.
//!
//! ```text
//!                  connected                    all blocks there
//!   waiting for --------------> asking, taking ------------------> complete
//!   the peer    <-------------- blocks
//!      |           connection      |
//!      |           lost            | absent, misbehaviour, invalid, disk
//!      +--- no block for a while --+---------------------------------> failed
//!                                                       (what came is kept for the next try)
//! ```

use super::{
    Bitswap,
    download::{Announced, Download, DownloadError},
    peer::{News, Peer},
    reader::Misbehaviour,
};
use crate::{
    blob_store::{BlobInfo, BlobStore, StoreError},
    unixfs::BlockId,
};
use apocryph_model::ChannelId;
use bytes::Bytes;
use libp2p::PeerId;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// Messages that a fetch has not looked at yet; further ones wait in the network.
const INBOX: usize = 8;
/// How often in a row a peer that cannot be written to is tried again.
const MAX_FAILURES: u32 = 3;

/// Why a blob could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The peer says that it does not have a block, or does not give it to us.
    #[error("the peer does not have block {0}")]
    Absent(BlockId),
    /// No block has come for a while.
    #[error("no block came for {seconds} s; {got} of {size} bytes are here, the peer is {}", if *connected { "connected" } else { "gone" })]
    Stalled {
        /// How long.
        seconds: u64,
        /// Bytes of the content that are here.
        got: u64,
        /// Bytes of the whole.
        size: u64,
        /// Whether the peer is still connected.
        connected: bool,
    },
    /// The peer was cut off.
    #[error("the peer was cut off: {0}")]
    Misbehaved(String),
    /// The blob is not what it was said to be.
    #[error("the blob is not what was announced: {0}")]
    Invalid(String),
    /// The peer is connected, but nothing can be sent to it.
    #[error("the peer cannot be asked: {0}")]
    Deaf(String),
    /// This side cannot keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This node is being stopped.
    #[error("the node is being stopped")]
    Stopped,
}

impl From<DownloadError> for FetchError {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Store(error) => Self::Store(error),
            problem => Self::Invalid(problem.to_string()),
        }
    }
}

impl From<Misbehaviour> for FetchError {
    fn from(cause: Misbehaviour) -> Self {
        Self::Misbehaved(cause.to_string())
    }
}

/// How long a peer has said nothing: halfway it is asked again, at the end the fetch ends.
struct Silence {
    patience: Duration,
    since: Instant,
    asked_again: bool,
}

impl Silence {
    fn new(patience: Duration) -> Self {
        Self { patience, since: Instant::now(), asked_again: false }
    }

    fn until(&self) -> Instant {
        self.since + if self.asked_again { self.patience } else { self.patience / 2 }
    }

    /// Called when the time is over; the first time it is only half of it.
    fn is_final(&mut self) -> bool {
        std::mem::replace(&mut self.asked_again, true)
    }
}

/// How a time with one connection ended.
enum Session {
    Complete(Download),
    Lost(Download),
}

/// A fetch's claim on a peer's blocks; ends with it.
struct Claim<'a> {
    peer: &'a Peer,
    taker: mpsc::Sender<News>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.peer.forget(&self.taker);
    }
}

impl Bitswap {
    /// Fetches from `source` what is not here, for `owner`, who owns it from the first byte on.
    /// `progress` is told how many bytes are there.
    pub(crate) async fn fetch(
        &self,
        source: &PeerId,
        announced: Announced,
        owner: ChannelId,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<BlobInfo, FetchError> {
        let _turn = self.inner.fetching.take(announced.root).await;
        let store = self.inner.store.clone();
        let mut download = match blocking(move || begin(&store, &announced, &owner)).await? {
            Begun::Present(info) => return Ok(info),
            Begun::Missing(download) => *download,
        };
        loop {
            let deadline = Instant::now() + self.inner.patience;
            let Some(peer) = self.arrival(source, deadline).await else {
                return Err(self.stalled(&download, &announced, false));
            };
            match self.session(&peer, download, &announced, progress).await? {
                Session::Lost(unfinished) => download = unfinished,
                Session::Complete(done) => return blocking(move || Ok(done.finish()?)).await,
            }
        }
    }

    /// Waits for a peer to be connected.
    pub(super) async fn arrival(&self, id: &PeerId, deadline: Instant) -> Option<Arc<Peer>> {
        let mut arrivals = self.inner.arrivals.subscribe();
        loop {
            if let Some(peer) = self.peer(id) {
                return Some(peer);
            }
            timeout_at(deadline, arrivals.changed()).await.ok()?.ok()?;
        }
    }

    /// Fetches as long as the connection lasts.
    async fn session(
        &self,
        peer: &Peer,
        mut download: Download,
        announced: &Announced,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Session, FetchError> {
        let (taker, mut inbox) = mpsc::channel(INBOX);
        let claim = Claim { peer, taker };
        let mut failures = peer.failures();
        let mut failed = 0;
        (download, _) = advance(download, Vec::new()).await?;
        let mut asks = download.outstanding();
        let mut silence = Silence::new(self.inner.patience);
        loop {
            progress(download.bytes());
            if download.is_complete() {
                return Ok(Session::Complete(download));
            }
            peer.ask(&asks, &claim.taker);
            let mut news = Vec::new();
            tokio::select! {
                biased;
                _ = inbox.recv_many(&mut news, INBOX) => {}
                () = peer.closed() => return match peer.misbehaviour() {
                    Some(cause) => Err(cause.into()),
                    None => Ok(Session::Lost(download)),
                },
                Ok(()) = failures.changed() => {
                    failed += 1;
                    if let Some(cause) = failures.borrow().as_deref().filter(|_| failed == MAX_FAILURES) {
                        return Err(FetchError::Deaf(cause.to_string()));
                    }
                    asks = download.outstanding();
                    continue;
                }
                () = tokio::time::sleep_until(silence.until()) => {
                    if silence.is_final() {
                        return Err(self.stalled(&download, announced, true));
                    }
                    // Some peers lose an answer that they could not send.
                    peer.ask_again(&download.outstanding(), &claim.taker);
                    asks = Vec::new();
                    continue;
                }
            }
            (download, asks) = advance(download, blocks(news)?).await?;
            silence = Silence::new(self.inner.patience);
            failed = 0;
        }
    }

    fn stalled(&self, download: &Download, announced: &Announced, connected: bool) -> FetchError {
        let seconds = self.inner.patience.as_secs();
        FetchError::Stalled { seconds, got: download.bytes(), size: announced.size, connected }
    }
}

enum Begun {
    Present(BlobInfo),
    Missing(Box<Download>),
}

fn begin(store: &BlobStore, announced: &Announced, owner: &ChannelId) -> Result<Begun, FetchError> {
    let Announced { root, digest: expected, .. } = *announced;
    let begun = match store.get(&root)? {
        Some(info) if info.digest != expected => {
            return Err(StoreError::Digest { root, expected, found: info.digest }.into());
        }
        Some(info) => Begun::Present(info),
        None => Begun::Missing(Box::new(Download::open(store, announced)?)),
    };
    store.own(&root, owner)?;
    Ok(begun)
}

fn blocks(news: Vec<News>) -> Result<Vec<(BlockId, Bytes)>, FetchError> {
    let block = |news| match news {
        News::Block(id, data) => Ok((id, data)),
        News::Absent(id) => Err(FetchError::Absent(id)),
    };
    news.into_iter().map(block).collect()
}

async fn advance(
    mut download: Download,
    blocks: Vec<(BlockId, Bytes)>,
) -> Result<(Download, Vec<BlockId>), FetchError> {
    blocking(move || match download.advance(blocks) {
        Ok(asks) => Ok((download, asks)),
        Err(error) => {
            // A tree that lies is worth nothing to the next try, and a full disk needs its space back.
            download.discard()?;
            Err(error.into())
        }
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| FetchError::Stopped)?
}
