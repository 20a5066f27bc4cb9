//! One connected peer: what is to be told to it, and who waits for what it sends.

use super::{
    message::{Inbound, Want},
    outbox::{Outbox, Plan, TooManyWants},
    reader::Misbehaviour,
    writer::SendError,
};
use crate::unixfs::BlockId;
use bytes::Bytes;
use libp2p::PeerId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Blocks that nobody asked for since the last one that somebody did. Honest peers send some
/// after a reconnection; the window of a fetch or two.
const MAX_UNASKED: usize = 128;
/// Streams that a peer may have open towards us while it owes us nothing. One that sends each block
/// on a stream of its own has as many open as blocks are outstanding.
const STREAMS: usize = 32;
/// Messages of a peer that are read and heeded at once: what bounds the memory that it can fill.
const TURNS: usize = 16;
/// How many cancels wait for company.
const CANCELS: usize = 8;

/// What a fetch is told.
#[derive(Debug)]
pub(super) enum News {
    /// A wanted block, whose bytes have that id.
    Block(BlockId, Bytes),
    /// The peer does not have it.
    Absent(BlockId),
}

pub(super) struct Peer {
    pub(super) id: PeerId,
    outbox: Mutex<Outbox>,
    wake: Notify,
    waiting: Mutex<Waiting>,
    /// The last message that could not be sent.
    failure: watch::Sender<Option<Arc<SendError>>>,
    closed: CancellationToken,
    expelled: OnceLock<Misbehaviour>,
    places: Semaphore,
    turns: Semaphore,
}

/// A stream's place among those of its peer.
pub(super) struct Place<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

#[derive(Default)]
struct Waiting {
    takers: HashMap<BlockId, Vec<mpsc::Sender<News>>>,
    unasked: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    pub(super) fn new(id: PeerId) -> Self {
        let (failure, _) = watch::channel(None);
        Self {
            id,
            outbox: Mutex::default(),
            wake: Notify::new(),
            waiting: Mutex::default(),
            failure,
            closed: CancellationToken::new(),
            expelled: OnceLock::new(),
            places: Semaphore::new(STREAMS),
            turns: Semaphore::new(TURNS),
        }
    }

    /// The connection is gone; nothing that waits here will come.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) fn expel(&self, cause: Misbehaviour) {
        self.expelled.get_or_init(|| cause);
        self.close();
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Why it was cut off, if it was.
    pub(super) fn misbehaviour(&self) -> Option<Misbehaviour> {
        self.expelled.get().cloned()
    }

    // For the writer.

    pub(super) fn plan(&self) -> Plan {
        lock(&self.outbox).plan()
    }

    pub(super) fn answered(&self, wants: &[Want]) {
        lock(&self.outbox).answered(wants);
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn failed(&self, error: SendError) {
        self.failure.send_replace(Some(Arc::new(error)));
    }

    // For the readers.

    /// A place for one more stream, if it may have one.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        match self.places.try_acquire() {
            Ok(permit) => Some(Place { _permit: Some(permit) }),
            Err(_) => self.owes_blocks().then_some(Place { _permit: None }),
        }
    }

    /// Waits until another message may be read.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Whether something was asked of it.
    pub(super) fn owes_blocks(&self) -> bool {
        !lock(&self.waiting).takers.is_empty()
    }

    pub(super) fn take_wants(&self, inbound: &mut Inbound) -> Result<(), TooManyWants> {
        lock(&self.outbox).take_wants(inbound)?;
        self.wake.notify_one();
        Ok(())
    }

    /// Hands a block to whoever asked for it, and waits until it is taken.
    pub(super) async fn deliver(&self, id: BlockId, data: Bytes) -> Result<(), Misbehaviour> {
        let Some(takers) = lock(&self.waiting).takers.remove(&id) else { return self.unasked(1) };
        self.received(&id);
        for taker in takers {
            // A fetch that has ended meanwhile needs it no more.
            let _ = taker.send(News::Block(id, data.clone())).await;
        }
        Ok(())
    }

    /// Some peers ignore a want that they have answered before, until it is cancelled.
    fn received(&self, id: &BlockId) {
        let mut waiting = lock(&self.waiting);
        waiting.unasked = 0;
        let cancels = lock(&self.outbox).cancel(id);
        if cancels >= CANCELS || waiting.takers.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Counts blocks that nobody asked for; damaged ones are among them, for their bytes have another id.
    pub(super) fn unasked(&self, count: usize) -> Result<(), Misbehaviour> {
        let mut waiting = lock(&self.waiting);
        waiting.unasked += count;
        if waiting.unasked > MAX_UNASKED { Err(Misbehaviour::Unasked) } else { Ok(()) }
    }

    pub(super) async fn absent(&self, id: BlockId) {
        let takers = lock(&self.waiting).takers.get(&id).cloned().unwrap_or_default();
        for taker in takers {
            let _ = taker.send(News::Absent(id)).await;
        }
    }

    // For fetches.

    pub(super) fn failures(&self) -> watch::Receiver<Option<Arc<SendError>>> {
        self.failure.subscribe()
    }

    /// Asks for blocks; they come to `taker`.
    pub(super) fn ask(&self, ids: &[BlockId], taker: &mpsc::Sender<News>) {
        if ids.is_empty() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        for id in ids {
            let takers = waiting.takers.entry(*id).or_default();
            if !takers.iter().any(|other| other.same_channel(taker)) {
                takers.push(taker.clone());
            }
        }
        lock(&self.outbox).ask(ids);
        self.wake.notify_one();
    }

    /// Asks anew for blocks that were asked for and did not come.
    pub(super) fn ask_again(&self, ids: &[BlockId], taker: &mpsc::Sender<News>) {
        {
            // A want that the peer believes to have answered is ignored until it is cancelled.
            let mut outbox = lock(&self.outbox);
            ids.iter().for_each(|id| {
                outbox.cancel(id);
            });
        }
        self.ask(ids, taker);
    }

    /// Ends all that `taker` asked for.
    pub(super) fn forget(&self, taker: &mpsc::Sender<News>) {
        let mut waiting = lock(&self.waiting);
        let mut outbox = lock(&self.outbox);
        waiting.takers.retain(|id, takers| {
            takers.retain(|other| !other.same_channel(taker));
            if takers.is_empty() {
                outbox.cancel(id);
            }
            !takers.is_empty()
        });
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unixfs::Codec;

    fn block(n: u8) -> (BlockId, Bytes) {
        let data = Bytes::copy_from_slice(&[n]);
        (BlockId::of(Codec::Raw, &data), data)
    }

    #[tokio::test]
    async fn a_block_reaches_every_fetch_that_asked_and_is_cancelled() {
        let peer = Peer::new(PeerId::random());
        let (one, mut first) = mpsc::channel(4);
        let (two, mut second) = mpsc::channel(4);
        let (id, data) = block(1);
        peer.ask(&[id], &one);
        peer.ask(&[id], &two);
        assert_eq!(peer.plan().asks, [id]);
        assert!(peer.owes_blocks());
        peer.deliver(id, data).await.unwrap();
        assert!(matches!(first.recv().await, Some(News::Block(..))));
        assert!(matches!(second.recv().await, Some(News::Block(..))));
        assert!(!peer.owes_blocks());
        assert_eq!(peer.plan().cancels, [id]);
    }

    #[tokio::test]
    async fn what_nobody_asked_for_is_tolerated_up_to_a_bound() {
        let peer = Peer::new(PeerId::random());
        for n in 0..MAX_UNASKED {
            let (id, data) = block(n as u8);
            peer.deliver(id, data).await.unwrap();
        }
        let (id, data) = block(200);
        assert!(matches!(peer.deliver(id, data).await, Err(Misbehaviour::Unasked)));
    }

    #[tokio::test]
    async fn a_fetch_that_ends_is_forgotten() {
        let peer = Peer::new(PeerId::random());
        let (taker, _inbox) = mpsc::channel(4);
        let (id, _) = block(1);
        peer.ask(&[id], &taker);
        peer.plan();
        peer.forget(&taker);
        assert!(!peer.owes_blocks());
        assert_eq!(peer.plan().cancels, [id]);
    }
}
