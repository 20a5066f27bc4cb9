//! What peers say: each inbound stream is read to its end.

use super::{
    Bitswap,
    message::{Inbound, InvalidMessage},
    outbox::TooManyWants,
    peer::Peer,
    wire::{MAX_MESSAGE, MAX_WANTS_MESSAGE, ReadError, read_length, read_message},
};
use crate::{node::InboundStream, unixfs::FieldLimit};
use libp2p::Stream;
use tokio::time::Instant;

/// Why a peer is cut off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misbehaviour {
    #[error("it sent a message of {0} bytes")]
    TooLarge(usize),
    #[error("it sent what is no message: {0}")]
    Malformed(FieldLimit),
    #[error("it sent an invalid message: {0}")]
    Invalid(#[from] InvalidMessage),
    #[error(transparent)]
    Wants(#[from] TooManyWants),
    #[error("it sends blocks that nobody asked for, or damaged ones")]
    Unasked,
}

/// Why no more is read from a stream.
enum End {
    /// It ended, broke, or was left.
    Stream,
    Misbehaviour(Misbehaviour),
}

impl From<Misbehaviour> for End {
    fn from(cause: Misbehaviour) -> Self {
        Self::Misbehaviour(cause)
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stream(_) => Self::Stream,
            ReadError::Malformed(problem) => Self::Misbehaviour(Misbehaviour::Malformed(problem)),
        }
    }
}

impl Bitswap {
    /// Reads the messages of a stream that a peer opened.
    pub(crate) async fn read(self, mut inbound: InboundStream) {
        let introduced = Instant::now() + self.inner.patience;
        let Some(peer) = self.arrival(&inbound.peer, introduced).await else { return };
        let Some(_place) = peer.place() else { return };
        let end = tokio::select! {
            () = peer.closed() => return,
            end = self.read_all(&peer, &mut inbound.stream) => end,
        };
        if let End::Misbehaviour(cause) = end {
            self.expel(&peer, cause);
        }
    }

    async fn read_all(&self, peer: &Peer, stream: &mut Stream) -> End {
        loop {
            if let Err(end) = self.read_one(peer, stream).await {
                return end;
            }
        }
    }

    async fn read_one(&self, peer: &Peer, stream: &mut Stream) -> Result<(), End> {
        let patience = self.inner.patience;
        let len = read_length(stream, patience).await?.ok_or(End::Stream)?;
        if len > MAX_MESSAGE {
            return Err(Misbehaviour::TooLarge(len).into());
        }
        if len > MAX_WANTS_MESSAGE && !peer.owes_blocks() {
            // Blocks for a fetch that has just ended: no offence, and not worth reading.
            return Err(End::Stream);
        }
        let _turn = peer.turn().await.ok_or(End::Stream)?;
        let message = read_message(stream, len, patience).await?;
        Ok(self.heed(peer, Inbound::try_from(message).map_err(Misbehaviour::from)?).await?)
    }

    async fn heed(&self, peer: &Peer, mut inbound: Inbound) -> Result<(), Misbehaviour> {
        tracing::trace!(
            peer = %peer.id, wants = inbound.wants.len(), blocks = inbound.blocks.len(),
            absent = inbound.absent.len(), "bitswap message"
        );
        peer.take_wants(&mut inbound)?;
        peer.unasked(inbound.foreign)?;
        for (id, data) in inbound.blocks {
            peer.deliver(id, data).await?;
        }
        for id in inbound.absent {
            peer.absent(id).await;
        }
        Ok(())
    }
}
