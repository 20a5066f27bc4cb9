//! What is told to a peer: one task per connected peer, which sends as long as there is something
//! in its outbox and sleeps otherwise.

use super::{
    Bitswap, PROTOCOLS,
    message::{Answer, Dialect, Outbound, Want},
    outbox::Plan,
    peer::Peer,
    wire::write_message,
};
use crate::blob_store::{BlobStore, StoreError};
use futures::AsyncWriteExt as _;
use libp2p::{PeerId, Stream};
use libp2p_stream::OpenStreamError;
use std::{io, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Some peers cut streams that are idle for ten seconds, so they are closed before.
const IDLE: Duration = Duration::from_secs(3);
/// The bytes of blocks in one message; others refuse larger ones.
const MAX_OUT: usize = 2 << 20;
const ANSWER_OVERHEAD: usize = 64;

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("it speaks no bitswap")]
    NoBitswap,
    #[error("no message can be sent to it: {0}")]
    Stream(#[from] io::Error),
}

/// Our stream to the peer, as long as there is something to say.
#[derive(Default)]
struct Outgoing {
    stream: Option<(Stream, Dialect)>,
}

/// Serves one peer until it is closed.
pub(super) async fn run(bitswap: Bitswap, peer: Arc<Peer>) {
    let mut outgoing = Outgoing::default();
    tokio::select! {
        () = peer.closed() => {}
        () = serve(&bitswap, &peer, &mut outgoing) => {}
    }
}

async fn serve(bitswap: &Bitswap, peer: &Peer, outgoing: &mut Outgoing) {
    loop {
        let plan = peer.plan();
        if plan.is_empty() {
            outgoing.rest(peer).await;
            continue;
        }
        let outbound = answer(bitswap, peer, plan).await;
        if outbound == Outbound::default() {
            continue;
        }
        if let Err(error) = outgoing.send(bitswap, peer.id, &outbound).await {
            tracing::debug!(peer = %peer.id, %error, "bitswap: not sent");
            peer.failed(error);
        }
    }
}

/// Fills a message with answers to as many wants as it has room for.
async fn answer(bitswap: &Bitswap, peer: &Peer, plan: Plan) -> Outbound {
    let Plan { asks, cancels, wants } = plan;
    if wants.is_empty() {
        return Outbound { asks, cancels, answers: Vec::new() };
    }
    let (store, id) = (bitswap.inner.store.clone(), peer.id);
    let looked_up = tokio::task::spawn_blocking(move || look_up(&store, &id, wants)).await;
    // The look-up fails only where the process is about to end.
    let (answered, answers) = looked_up.unwrap_or_default();
    peer.answered(&answered);
    Outbound { asks, cancels, answers }
}

fn look_up(store: &BlobStore, peer: &PeerId, wants: Vec<Want>) -> (Vec<Want>, Vec<Answer>) {
    let (mut answered, mut answers, mut size) = (Vec::new(), Vec::new(), 0);
    for want in wants {
        let answer = look_up_one(store, peer, &want).unwrap_or_else(|error| {
            // What cannot be read now is not denied either: the peer may ask again.
            tracing::error!(%error, cause = ?std::error::Error::source(&error), "bitswap: a block cannot be read");
            None
        });
        size += ANSWER_OVERHEAD + if let Some(Answer::Block(_, data)) = &answer { data.len() } else { 0 };
        if size > MAX_OUT && !answers.is_empty() {
            break;
        }
        answers.extend(answer);
        answered.push(want);
    }
    (answered, answers)
}

fn look_up_one(store: &BlobStore, peer: &PeerId, want: &Want) -> Result<Option<Answer>, StoreError> {
    let found = match want.id() {
        Some(id) if want.block => store.block(&id, peer)?.map(|data| Answer::Block(id, data)),
        Some(id) => store.has_block(&id, peer)?.then(|| Answer::Have(want.cid.clone())),
        None => None,
    };
    Ok(found.or_else(|| want.tell_absence.then(|| Answer::HaveNot(want.cid.clone()))))
}

impl Outgoing {
    /// Waits for something to say.
    async fn rest(&mut self, peer: &Peer) {
        if self.stream.is_some() && timeout(IDLE, peer.woken()).await.is_ok() {
            return;
        }
        if let Some((mut stream, _)) = self.stream.take() {
            // The peer has all; whether it sees the end of the stream does not matter.
            let _ = timeout(IDLE, stream.close()).await;
        }
        peer.woken().await;
    }

    /// Sends on the open stream, or on a new one where there is none or it broke.
    async fn send(&mut self, bitswap: &Bitswap, peer: PeerId, outbound: &Outbound) -> Result<(), SendError> {
        if let Some((mut stream, dialect)) = self.stream.take() {
            let message = outbound.encode(dialect);
            if write_message(&mut stream, &message, bitswap.inner.patience).await.is_ok() {
                self.stream = Some((stream, dialect));
                return Ok(());
            }
        }
        let (mut stream, dialect) = open(bitswap, peer).await?;
        write_message(&mut stream, &outbound.encode(dialect), bitswap.inner.patience).await?;
        self.stream = Some((stream, dialect));
        Ok(())
    }
}

/// Opens a stream for the best version that the peer speaks.
async fn open(bitswap: &Bitswap, peer: PeerId) -> Result<(Stream, Dialect), SendError> {
    let mut control = bitswap.inner.streams.clone();
    let dialects = [Dialect::Presences, Dialect::Prefixes, Dialect::Bare];
    for (protocol, dialect) in PROTOCOLS.into_iter().zip(dialects) {
        let opening = timeout(bitswap.inner.patience, control.open_stream(peer, protocol)).await;
        match opening.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? {
            Ok(stream) => return Ok((stream, dialect)),
            Err(OpenStreamError::UnsupportedProtocol(_)) => {}
            Err(OpenStreamError::Io(error)) => return Err(error.into()),
            Err(other) => return Err(io::Error::other(other).into()),
        }
    }
    Err(SendError::NoBitswap)
}
