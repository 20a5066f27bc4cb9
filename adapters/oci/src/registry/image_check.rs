//! Whether an image's layers are what its configuration names. Nodes say only that one could not be unpacked,
//! which may be the image's fault as well as their own.

use std::io::{self, Read};

use apocryph_model::Digest;
use apocryph_seal::Hasher;

use super::image_error::ImageError;
use super::sealed_layer::SealedLayer;

/// The most that an image's archives may hold, in bytes, for it to be looked at to the end: a layer of some MiB
/// may unpack to more than anybody has time for.
const MOST_CONTENTS: u64 = 16 << 30;

/// A layer, and the digest of its archive by the image's configuration.
pub(super) type Named = (SealedLayer, Digest);

/// Finds what is wrong with an image. Blocks.
///
/// # Errors
/// [`ImageError::Refused`] where something is, [`ImageError::Store`] where that cannot be told. An image that
/// is too large to be looked at passes.
pub(super) fn check(layers: Vec<Named>) -> Result<(), ImageError> {
    check_up_to(MOST_CONTENTS, layers)
}

fn check_up_to(most: u64, layers: Vec<Named>) -> Result<(), ImageError> {
    let mut left = most;
    for (layer, diff_id) in layers {
        let digest = layer.digest;
        let hasher = layer.read(|archive| contents(&mut archive.take(left)))?;
        left -= hasher.length();
        if left == 0 {
            return Ok(());
        }
        if hasher.finish() != diff_id {
            let problem = format!("its contents are not {diff_id}, which its image names");
            return Err(ImageError::Refused { digest, problem });
        }
    }
    Ok(())
}

fn contents(archive: &mut impl Read) -> io::Result<Hasher> {
    let (mut hasher, mut chunk) = (Hasher::new(), vec![0; 64 << 10]);
    loop {
        match archive.read(&mut chunk)? {
            0 => return Ok(hasher),
            read => hasher.update(&chunk[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_seal::{LayerEncryptor, sha256};
    use std::io::{Seek as _, Write as _};

    static ARCHIVE: [u8; 100_000] = [7; 100_000];

    fn layer() -> SealedLayer {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&ARCHIVE).unwrap();
        let mut encryptor = LayerEncryptor::new().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(encryptor.update(&gzip.finish().unwrap()).unwrap()).unwrap();
        file.rewind().unwrap();
        let layer = encryptor.finish().unwrap();
        SealedLayer { file, digest: layer.digest, keys: layer.keys, media_type: "x.tar+gzip".into() }
    }

    #[test]
    fn every_layer_is_what_its_image_names() {
        let named = sha256(&ARCHIVE);
        check(vec![(layer(), named), (layer(), named)]).unwrap();
        let wrong = check(vec![(layer(), named), (layer(), sha256(b"others"))]).unwrap_err();
        assert!(matches!(&wrong, ImageError::Refused { problem, .. } if problem.contains("its contents")));
    }

    #[test]
    fn what_is_too_large_is_not_found_wrong() {
        let wrong = || vec![(layer(), sha256(b"others"))];
        check_up_to(ARCHIVE.len() as u64, wrong()).unwrap();
        check_up_to(ARCHIVE.len() as u64 + 1, wrong()).unwrap_err();
    }
}
