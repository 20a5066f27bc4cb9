//! A layer as it is stored: encrypted, and its archive compressed. Read here, it is verified whole:
//!
//! ```text
//! store ----------> Decrypting ----------> gunzip | unzstd ----------> archive
//!        digest: else             keys: else               else
//!        the store's fault        the layer is refused     the layer is refused
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read};

use apocryph_model::Digest;
use apocryph_seal::{Hasher, LayerDecryptor, LayerKeys};
use flate2::bufread::MultiGzDecoder;

use super::image_error::ImageError;

const BUFFER: usize = 64 << 10;

/// A layer, encrypted.
pub(super) struct SealedLayer {
    pub(super) file: File,
    /// That the file should have.
    pub(super) digest: Digest,
    pub(super) keys: LayerKeys,
    /// Before encryption.
    pub(super) media_type: String,
}

impl SealedLayer {
    /// Lets `look` read the layer's archive; reads the rest and verifies the whole, so that what was seen can
    /// be believed. Blocks.
    ///
    /// # Errors
    /// [`ImageError::Store`] where the file is not what was shipped, or cannot be read;
    /// [`ImageError::Refused`] where what was shipped is no layer of these keys.
    pub(super) fn read<T>(self, look: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> Result<T, ImageError> {
        let Self { file, digest, keys, media_type } = self;
        let store = |problem| ImageError::Store { digest, problem };
        let decryptor = LayerDecryptor::new(keys).map_err(|error| store(io::Error::other(error)))?;
        let mut plain = Decrypting { source: file, stored: Hasher::new(), decryptor, broke: false };
        let looked = unpacked(&mut plain, &media_type).and_then(|mut archive| look(&mut archive));
        io::copy(&mut plain, &mut io::sink()).map_err(store)?;
        if plain.broke || plain.stored.finish() != digest {
            return Err(store(io::Error::new(io::ErrorKind::InvalidData, "it is not what was stored")));
        }
        let refused = |problem: String| ImageError::Refused { digest, problem };
        plain.decryptor.finish().map_err(|error| refused(error.to_string()))?;
        looked.map_err(|error| refused(format!("it is not a layer: {error}")))
    }
}

fn unpacked<'a>(plain: &'a mut impl Read, media_type: &str) -> io::Result<Box<dyn Read + 'a>> {
    let plain = BufReader::with_capacity(BUFFER, plain);
    Ok(if media_type.ends_with("gzip") {
        Box::new(MultiGzDecoder::new(plain))
    } else if media_type.ends_with("+zstd") {
        Box::new(zstd::Decoder::with_buffer(plain)?)
    } else {
        Box::new(plain)
    })
}

/// Decrypts what it reads.
struct Decrypting<R> {
    source: R,
    /// Of what was read.
    stored: Hasher,
    decryptor: LayerDecryptor,
    /// Whether reading failed at any time.
    broke: bool,
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer).inspect_err(|_| self.broke = true)?;
        self.stored.update(&buffer[..read]);
        let plain = self.decryptor.update(&buffer[..read]).map_err(io::Error::other)?;
        buffer[..read].copy_from_slice(plain);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_seal::{LayerEncryptor, sha256};
    use std::io::{Seek as _, Write as _};

    const ARCHIVE: &[u8] = b"an archive, or not";

    /// A layer of which this lies in the store.
    fn stored(media_type: &str, change: impl FnOnce(&mut Vec<u8>)) -> SealedLayer {
        let mut encryptor = LayerEncryptor::new().unwrap();
        let mut cipher = encryptor.update(ARCHIVE).unwrap().to_vec();
        let layer = encryptor.finish().unwrap();
        change(&mut cipher);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&cipher).unwrap();
        file.rewind().unwrap();
        SealedLayer { file, digest: layer.digest, keys: layer.keys, media_type: media_type.into() }
    }

    fn read(layer: SealedLayer) -> Result<Vec<u8>, ImageError> {
        layer.read(|archive| {
            let mut bytes = Vec::new();
            archive.read_to_end(&mut bytes).map(|_| bytes)
        })
    }

    #[test]
    fn a_layer_is_read_in_the_clear() {
        assert_eq!(read(stored("x.tar", |_| ())).unwrap(), ARCHIVE);
        stored("x.tar", |_| ()).read(|_| Ok(())).unwrap();
    }

    #[test]
    fn what_the_store_did_is_not_the_layers_fault() {
        let torn = stored("x.tar", |cipher| cipher.truncate(3));
        assert!(matches!(read(torn), Err(ImageError::Store { .. })));
        let altered = stored("x.tar+gzip", |cipher| cipher[0] ^= 1);
        assert!(matches!(read(altered), Err(ImageError::Store { .. })));
    }

    #[test]
    fn a_layer_that_is_none_is_refused() {
        let no_gzip = read(stored("x.tar+gzip", |_| ()));
        assert!(matches!(&no_gzip, Err(ImageError::Refused { .. })), "{no_gzip:?}");
        let mut other_keys = stored("x.tar", |_| ());
        other_keys.keys = LayerEncryptor::new().unwrap().finish().unwrap().keys;
        assert!(matches!(read(other_keys), Err(ImageError::Refused { .. })));
        let mut other_contents = stored("x.tar", |cipher| cipher[0] ^= 1);
        let mut cipher = Vec::new();
        other_contents.file.read_to_end(&mut cipher).unwrap();
        other_contents.file.rewind().unwrap();
        other_contents.digest = sha256(&cipher);
        assert!(matches!(read(other_contents), Err(ImageError::Refused { .. })));
    }
}
