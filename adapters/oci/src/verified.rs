//! Reading a blob while verifying that it is the one that was asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use apocryph_model::Digest;
use apocryph_seal::Hasher;
use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};

/// Why bytes are not the blob that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// The bytes ended early.
    #[error("the blob is cut short: {found} of {expected} bytes")]
    Truncated {
        /// Length in the descriptor, in bytes.
        expected: u64,
        /// Length found, in bytes.
        found: u64,
    },
    /// There are more bytes than the descriptor says.
    #[error("the blob is longer than the {expected} bytes its descriptor says")]
    TooLong {
        /// Length in the descriptor, in bytes.
        expected: u64,
    },
    /// The bytes are others.
    #[error("the blob's digest is {found} instead of {expected}")]
    Digest {
        /// Digest in the descriptor.
        expected: Digest,
        /// Digest found.
        found: Digest,
    },
}

impl Damage {
    /// The damage that `error` tells of, if that is what it is.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> Self {
        Self::new(io::ErrorKind::InvalidData, damage)
    }
}

/// A reader that fails with a [`Damage`] unless it gives exactly the expected bytes. The last
/// bytes are withheld until the whole has been verified, so that a reader who only counts gets
/// nothing damaged in full.
pub(crate) struct Verified<R> {
    reader: R,
    hasher: Option<Hasher>,
    digest: Digest,
    size: u64,
    found: u64,
}

impl<R> Verified<R> {
    pub(crate) fn new(reader: R, digest: Digest, size: u64) -> Self {
        Self { reader, hasher: Some(Hasher::new()), digest, size, found: 0 }
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        self.found += bytes.len() as u64;
        if self.found > self.size {
            return Err(Damage::TooLong { expected: self.size });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        if self.found == self.size { self.verify() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), Damage> {
        if self.found < self.size {
            return Err(Damage::Truncated { expected: self.size, found: self.found });
        }
        self.verify()
    }

    /// Compares the digest, once.
    fn verify(&mut self) -> Result<(), Damage> {
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.digest => Err(Damage::Digest { expected: self.digest, found }),
            _ => Ok(()),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Verified<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.reader).poll_read(context, buffer))?;
        let verdict = match &buffer.filled()[before..] {
            [] => this.end(),
            bytes => this.take_in(bytes),
        };
        if verdict.is_err() {
            buffer.set_filled(before);
        }
        Poll::Ready(verdict.map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_seal::sha256;
    use tokio::io::AsyncReadExt as _;

    async fn read(bytes: &[u8], digest: Digest, size: u64) -> (Vec<u8>, Option<Damage>) {
        let mut given = Vec::new();
        let result = Verified::new(bytes, digest, size).read_to_end(&mut given).await;
        (given, result.err().map(|error| Damage::of(&error).unwrap()))
    }

    #[tokio::test]
    async fn the_right_bytes_pass() {
        assert_eq!(read(b"blob", sha256(b"blob"), 4).await, (b"blob".to_vec(), None));
        assert_eq!(read(b"", sha256(b""), 0).await, (vec![], None));
    }

    #[tokio::test]
    async fn each_damage_is_told() {
        let digest = sha256(b"blob");
        let (given, damage) = read(b"blub", digest, 4).await;
        assert_eq!(damage, Some(Damage::Digest { expected: digest, found: sha256(b"blub") }));
        assert_eq!(given, b"");
        let (_, damage) = read(b"blo", digest, 4).await;
        assert_eq!(damage, Some(Damage::Truncated { expected: 4, found: 3 }));
        let (_, damage) = read(b"blobs", digest, 4).await;
        assert_eq!(damage, Some(Damage::TooLong { expected: 4 }));
        let (_, damage) = read(b"", digest, 0).await;
        assert!(matches!(damage, Some(Damage::Digest { .. })));
    }
}
