//! One layer on its way from the registry to the disk, in bounded memory:
//!
//! ```text
//! HTTP body -> channel -> Decrypting -> gunzip | unzstd -> Hashing -> unpack
//!   (async)               ciphertext's digest, HMAC,        the layer's
//!                         plaintext's digest                diff id
//! ```
//!
//! What is unpacked stands apart under a temporary name until all four are verified.

use std::io::{self, BufReader, Read};
use std::path::Path;

use apocryph_model::Digest;
use apocryph_seal::{Hasher, LayerDecryptor, LayerKeys, plain_media_type};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::error::ImageError;
use super::registry::STALLED;
use super::unpack::{Room, UnpackError, unpack};
use super::wire::Descriptor;
use crate::host_error::HostError;

/// Chunks of the body between network and disk.
const CHUNKS: usize = 16;
const BUFFER: usize = 64 << 10;

/// A layer of an image: how it is shipped, and what it is.
pub(super) struct Layer {
    pub(super) descriptor: Descriptor,
    /// The digest of its uncompressed tar file, by the image's configuration.
    pub(super) diff_id: Digest,
    pub(super) keys: LayerKeys,
}

#[derive(Debug, Clone, Copy)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Unpacks `body` into the empty directory `target`. Blocks, and must be thrown away on error.
pub(super) fn unpack_layer(
    layer: &Layer,
    body: ChunkReader,
    target: &Path,
    room: &Room,
) -> Result<(), ImageError> {
    let digest = layer.descriptor.digest;
    let compression = compression_of(&layer.descriptor)?;
    let decryptor = LayerDecryptor::new(layer.keys.clone())
        .map_err(|error| ImageError::Key { digest, problem: error.to_string() })?;
    let mut plain = Decrypting::new(body, decryptor, layer.descriptor.size);
    let unpacked = decompress_and_unpack(&mut plain, compression, target, room);
    // A broken archive may be broken by the way here: that is told first.
    plain.verify(digest)?;
    let diff_id = unpacked.map_err(|error| image_error(digest, error))?;
    if diff_id == layer.diff_id {
        return Ok(());
    }
    let problem = format!("its contents are not {}, which its image names", layer.diff_id);
    Err(ImageError::Refused { digest, problem })
}

fn decompress_and_unpack(
    plain: &mut impl Read,
    compression: Compression,
    target: &Path,
    room: &Room,
) -> Result<Digest, UnpackError> {
    let plain = BufReader::with_capacity(BUFFER, plain);
    let tar: Box<dyn Read + '_> = match compression {
        Compression::None => Box::new(plain),
        Compression::Gzip => Box::new(MultiGzDecoder::new(plain)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(plain).map_err(UnpackError::Stream)?),
    };
    let mut rest = unpack(Hashing { source: tar, hasher: Hasher::new() }, target, room)?;
    // Archives are padded by some KiB; what unpacks to more was never an archive's end.
    const MOST_PADDING: u64 = 16 << 20;
    let padding =
        io::copy(&mut (&mut rest).take(MOST_PADDING), &mut io::sink()).map_err(UnpackError::Stream)?;
    if padding == MOST_PADDING {
        return Err(UnpackError::Stream(io::Error::other("something else follows the archive")));
    }
    Ok(rest.hasher.finish())
}

fn image_error(digest: Digest, error: UnpackError) -> ImageError {
    let problem = match error {
        UnpackError::Host(error) => {
            return ImageError::Host(HostError::new(format!("unpack layer {digest}"), error));
        }
        UnpackError::TooLarge { limit } => return ImageError::TooLarge { limit },
        UnpackError::Stream(error) => format!("it is not a layer: {error}"),
        UnpackError::Refused { path, problem } => format!("{path:?} is {problem}"),
    };
    ImageError::Refused { digest, problem }
}

fn compression_of(descriptor: &Descriptor) -> Result<Compression, ImageError> {
    let digest = descriptor.digest;
    let plain = plain_media_type(&descriptor.media_type).ok_or(ImageError::NotEncrypted { digest })?;
    match plain {
        "application/vnd.oci.image.layer.v1.tar" => Ok(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd" => Ok(Compression::Zstd),
        other => Err(ImageError::Refused { digest, problem: format!("{other} is no kind of layer") }),
    }
}

/// Feeds an HTTP body to a blocking reader. Ends with the body, or when the reader is dropped.
pub(super) fn read_in_background(mut body: Incoming) -> ChunkReader {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(async move {
        loop {
            let chunk = match tokio::time::timeout(STALLED, body.frame()).await {
                Ok(None) => return,
                Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
                Ok(Some(Err(error))) => Err(io::Error::other(error)),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            let failed = chunk.is_err();
            if sender.send(chunk).await.is_err() || failed {
                return;
            }
        }
    });
    ChunkReader { receiver, current: Bytes::new() }
}

/// The reading end of [`read_in_background`]; only for threads that may block.
pub(super) struct ChunkReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let read = self.current.len().min(buffer.len());
        buffer[..read].copy_from_slice(&self.current.split_to(read));
        Ok(read)
    }
}

/// Decrypts what it reads, and takes its digests.
struct Decrypting<R> {
    source: R,
    decryptor: LayerDecryptor,
    encrypted: Hasher,
    /// The ciphertext's size by its descriptor: more is not read.
    size: u64,
    chunk: Vec<u8>,
}

impl<R: Read> Decrypting<R> {
    fn new(source: R, decryptor: LayerDecryptor, size: u64) -> Self {
        Self { source, decryptor, encrypted: Hasher::new(), size, chunk: vec![0; BUFFER] }
    }

    /// Reads what is left and says whether all of it was what it should be.
    fn verify(mut self, digest: Digest) -> Result<(), ImageError> {
        io::copy(&mut self, &mut io::sink()).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => ImageError::Registry(format!("{digest} stalled")),
            _ => ImageError::Registry(format!("{digest} broke off: {error}")),
        })?;
        let ended = self.source.read(&mut [0]).map_err(|_| ImageError::Damaged { digest })? == 0;
        if !ended || self.encrypted.finish() != digest {
            return Err(ImageError::Damaged { digest });
        }
        let verified = self.decryptor.finish();
        verified.map_err(|error| ImageError::Key { digest, problem: error.to_string() })?;
        Ok(())
    }
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.encrypted.length()).unwrap_or(usize::MAX);
        let most = buffer.len().min(self.chunk.len()).min(left);
        let read = self.source.read(&mut self.chunk[..most])?;
        let ciphertext = &self.chunk[..read];
        self.encrypted.update(ciphertext);
        let plaintext = self.decryptor.update(ciphertext).map_err(io::Error::other)?;
        buffer[..read].copy_from_slice(plaintext);
        Ok(read)
    }
}

struct Hashing<R> {
    source: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
