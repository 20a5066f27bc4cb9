//! What peers say: each inbound stream is read to its end.

use super::{
    Bitswap,
    message::{Inbound, InvalidMessage},
    outbox::TooManyWants,
    peer::Peer,
    wire::{MAX_MESSAGE, MAX_WANTS_MESSAGE, ReadError, read_message},
};
use crate::{node::InboundStream, unixfs::FieldLimit};
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

impl Bitswap {
    /// Reads the messages of a stream that a peer opened.
    pub(crate) async fn read(self, mut inbound: InboundStream) {
        let introduced = Instant::now() + self.inner.patience;
        let Some(peer) = self.arrival(&inbound.peer, introduced).await else { return };
        let ended = tokio::select! {
            () = peer.closed() => return,
            ended = self.read_all(&peer, &mut inbound) => ended,
        };
        if let Err(cause) = ended {
            self.expel(&peer, cause);
        }
    }

    async fn read_all(&self, peer: &Peer, inbound: &mut InboundStream) -> Result<(), Misbehaviour> {
        loop {
            let most = || if peer.owes_blocks() { MAX_MESSAGE } else { MAX_WANTS_MESSAGE };
            match read_message(&mut inbound.stream, most, self.inner.patience).await {
                Ok(Some(message)) => self.heed(peer, Inbound::try_from(message)?).await?,
                Ok(None) | Err(ReadError::Stream(_)) => return Ok(()),
                // Blocks for a fetch that has just ended: no offence, and not worth reading.
                Err(ReadError::TooLarge { len, .. }) if len <= MAX_MESSAGE => return Ok(()),
                Err(ReadError::TooLarge { len, .. }) => return Err(Misbehaviour::TooLarge(len)),
                Err(ReadError::Malformed(problem)) => return Err(Misbehaviour::Malformed(problem)),
            }
        }
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
