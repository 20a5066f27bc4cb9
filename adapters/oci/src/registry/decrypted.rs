//! Reading an encrypted layer in the clear, verified.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use apocryph_seal::{LayerDecryptor, LayerKeys};
use tokio::io::{AsyncRead, ReadBuf};

/// A reader that decrypts, and fails unless the whole is what its keys say. The last bytes are
/// withheld until then, so that a reader who only counts gets nothing altered in full.
pub(super) struct Decrypted<R> {
    reader: R,
    decryptor: Option<LayerDecryptor>,
    /// What is still to come, in bytes.
    left: u64,
}

impl<R> Decrypted<R> {
    pub(super) fn new(reader: R, keys: LayerKeys, size: u64) -> io::Result<Self> {
        let decryptor = LayerDecryptor::new(keys).map_err(io::Error::other)?;
        Ok(Self { reader, decryptor: Some(decryptor), left: size })
    }

    fn decrypt(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let more = |_| io::Error::new(io::ErrorKind::InvalidData, "the layer has grown");
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(()).map_err(more)?;
        let Some(decryptor) = &mut self.decryptor else { return Ok(()) };
        let plain = decryptor.update(bytes).map_err(io::Error::other)?;
        bytes.copy_from_slice(plain);
        if self.left == 0 { self.verify() } else { Ok(()) }
    }

    /// Once.
    fn verify(&mut self) -> io::Result<()> {
        let verdict = self.decryptor.take().map(LayerDecryptor::finish).transpose();
        verdict.map(|_| ()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Decrypted<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.reader).poll_read(context, buffer))?;
        let verdict = match &mut buffer.filled_mut()[before..] {
            [] => this.verify(),
            bytes => this.decrypt(bytes),
        };
        if verdict.is_err() {
            buffer.set_filled(before);
        }
        Poll::Ready(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_seal::LayerEncryptor;
    use tokio::io::AsyncReadExt as _;

    async fn read(cipher: &[u8], keys: LayerKeys) -> (Vec<u8>, bool) {
        let mut given = Vec::new();
        let mut reader = Decrypted::new(cipher, keys, cipher.len() as u64).unwrap();
        let whole = reader.read_to_end(&mut given).await.is_ok();
        (given, whole)
    }

    #[tokio::test]
    async fn the_layer_comes_in_the_clear_or_not_in_full() {
        let plain = vec![7; 100_000];
        let mut encryptor = LayerEncryptor::new().unwrap();
        let mut cipher = encryptor.update(&plain).unwrap().to_vec();
        let keys = encryptor.finish().unwrap().keys;
        assert_eq!(read(&cipher, keys.clone()).await, (plain.clone(), true));
        cipher[50_000] ^= 1;
        let (given, whole) = read(&cipher, keys.clone()).await;
        assert!(given.len() < plain.len() && !whole);
        let (given, whole) = read(&cipher[..99_000], keys).await;
        assert!(given.len() < 99_000 && !whole);
    }
}
