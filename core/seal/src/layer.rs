//! Layer encryption as ocicrypt does it: AES-256-CTR, and HMAC-SHA256 over the ciphertext under
//! the same key. Streamed: memory is what the caller passes at a time.
//!
//! ```text
//! plaintext --+--> SHA-256            = digest, kept with the key
//!             +--> AES-256-CTR --+--> = ciphertext
//!                                +--> HMAC-SHA256 = hmac, public
//!                                +--> SHA-256     = digest of the encrypted layer
//! ```

use std::fmt;

use apocryph_model::Digest;
use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, StreamingDecryptingKey, StreamingEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use crate::hash::Hasher;

const KEY_LEN: usize = 32;
pub(crate) const NONCE_LEN: usize = 16;
/// The cipher's interface asks for room up to the next block.
const BLOCK_LEN: usize = 16;

/// Why a layer could not be encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The ciphertext is not the one that was encrypted with these keys.
    #[error("the encrypted layer was altered or cut short")]
    Altered,
    /// It decrypts to another layer than the keys say.
    #[error("the layer decrypts to other contents than its key says")]
    WrongContents,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

impl From<Unspecified> for LayerError {
    fn from(_: Unspecified) -> Self {
        Self::Crypto
    }
}

/// What opens one layer, and tells whether it is the right one. Wiped on drop, never printed.
#[derive(Clone)]
pub struct LayerKeys {
    pub(crate) key: Zeroizing<[u8; KEY_LEN]>,
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) plain_digest: Digest,
    pub(crate) hmac: [u8; 32],
}

impl LayerKeys {
    /// The digest of the layer before encryption.
    #[must_use]
    pub fn plain_digest(&self) -> Digest {
        self.plain_digest
    }
}

impl fmt::Debug for LayerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerKeys").field("plain_digest", &self.plain_digest).finish_non_exhaustive()
    }
}

/// What encrypting a layer gave, besides its bytes.
#[derive(Debug)]
pub struct EncryptedLayer {
    /// What opens the layer.
    pub keys: LayerKeys,
    /// The digest of the ciphertext.
    pub digest: Digest,
    /// The length in bytes, the same before and after.
    pub size: u64,
}

/// Encrypts one layer under a fresh key.
pub struct LayerEncryptor {
    cipher: StreamingEncryptingKey,
    key: Zeroizing<[u8; KEY_LEN]>,
    nonce: [u8; NONCE_LEN],
    mac: hmac::Context,
    plain: Hasher,
    encrypted: Hasher,
    buffer: Vec<u8>,
}

impl LayerEncryptor {
    /// Begins a layer, with a random key and nonce.
    ///
    /// # Errors
    /// [`LayerError::Crypto`] if the library fails.
    pub fn new() -> Result<Self, LayerError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        aws_lc_rs::rand::fill(&mut *key)?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce)?;
        let context = EncryptionContext::Iv128(FixedLength::from(nonce));
        let cipher = StreamingEncryptingKey::less_safe_ctr(unbound(&key)?, context)?;
        Ok(Self {
            cipher,
            mac: mac_under(&key),
            key,
            nonce,
            plain: Hasher::new(),
            encrypted: Hasher::new(),
            buffer: Vec::new(),
        })
    }

    /// Encrypts the next bytes; gives as many back. Some 64 KiB at a time are quickest.
    ///
    /// # Errors
    /// [`LayerError::Crypto`] if the library fails.
    pub fn update(&mut self, plaintext: &[u8]) -> Result<&[u8], LayerError> {
        self.plain.update(plaintext);
        make_room(&mut self.buffer, plaintext.len());
        self.cipher.less_safe_update(plaintext, &mut self.buffer)?;
        let ciphertext = &self.buffer[..plaintext.len()];
        self.mac.update(ciphertext);
        self.encrypted.update(ciphertext);
        Ok(ciphertext)
    }

    /// Ends the layer.
    ///
    /// # Errors
    /// [`LayerError::Crypto`] if the library fails.
    pub fn finish(self) -> Result<EncryptedLayer, LayerError> {
        let mut hmac = [0; 32];
        hmac.copy_from_slice(self.mac.sign().as_ref());
        let size = self.encrypted.length();
        Ok(EncryptedLayer {
            keys: LayerKeys { key: self.key, nonce: self.nonce, plain_digest: self.plain.finish(), hmac },
            digest: self.encrypted.finish(),
            size,
        })
    }
}

/// Decrypts one layer.
///
/// What [`update`](Self::update) gives is **unverified** until [`finish`](Self::finish) said so:
/// put it where it can still be thrown away.
///
/// The digest that is verified is that of the bytes given out. Where skopeo compresses a layer on
/// the way it notes the digest from before, and its layer ends as [`LayerError::WrongContents`]:
/// let it compress first.
pub struct LayerDecryptor {
    cipher: StreamingDecryptingKey,
    expected: LayerKeys,
    mac: hmac::Context,
    plain: Hasher,
    buffer: Vec<u8>,
}

impl LayerDecryptor {
    /// Begins the layer that `keys` open.
    ///
    /// # Errors
    /// [`LayerError::Crypto`] if the library fails.
    pub fn new(keys: LayerKeys) -> Result<Self, LayerError> {
        let context = DecryptionContext::Iv128(FixedLength::from(keys.nonce));
        Ok(Self {
            cipher: StreamingDecryptingKey::ctr(unbound(&keys.key)?, context)?,
            mac: mac_under(&keys.key),
            expected: keys,
            plain: Hasher::new(),
            buffer: Vec::new(),
        })
    }

    /// Decrypts the next bytes; gives as many back, unverified.
    ///
    /// # Errors
    /// [`LayerError::Crypto`] if the library fails.
    pub fn update(&mut self, ciphertext: &[u8]) -> Result<&[u8], LayerError> {
        self.mac.update(ciphertext);
        make_room(&mut self.buffer, ciphertext.len());
        self.cipher.less_safe_update(ciphertext, &mut self.buffer)?;
        let plaintext = &self.buffer[..ciphertext.len()];
        self.plain.update(plaintext);
        Ok(plaintext)
    }

    /// Ends the layer and verifies all of it; gives the plaintext's digest.
    ///
    /// # Errors
    /// [`LayerError::Altered`] or [`LayerError::WrongContents`]: everything that `update` gave
    /// must be thrown away.
    #[must_use = "what was decrypted is unverified until this returns Ok"]
    pub fn finish(mut self) -> Result<Digest, LayerError> {
        self.buffer.zeroize();
        verify_slices_are_equal(self.mac.sign().as_ref(), &self.expected.hmac)
            .map_err(|_| LayerError::Altered)?;
        let digest = self.plain.finish();
        if digest == self.expected.plain_digest { Ok(digest) } else { Err(LayerError::WrongContents) }
    }
}

fn unbound(key: &[u8; KEY_LEN]) -> Result<UnboundCipherKey, Unspecified> {
    UnboundCipherKey::new(&AES_256, key)
}

fn mac_under(key: &[u8; KEY_LEN]) -> hmac::Context {
    hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key))
}

fn make_room(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length + BLOCK_LEN {
        buffer.resize(length + BLOCK_LEN, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sha256;
    use proptest::prelude::*;

    fn encrypt(plain: &[u8], step: usize) -> (Vec<u8>, EncryptedLayer) {
        let mut encryptor = LayerEncryptor::new().unwrap();
        let mut ciphertext = Vec::new();
        for chunk in plain.chunks(step) {
            ciphertext.extend_from_slice(encryptor.update(chunk).unwrap());
        }
        (ciphertext, encryptor.finish().unwrap())
    }

    fn decrypt(cipher: &[u8], step: usize, keys: &LayerKeys) -> (Vec<u8>, Result<Digest, LayerError>) {
        let mut decryptor = LayerDecryptor::new(keys.clone()).unwrap();
        let mut plain = Vec::new();
        for chunk in cipher.chunks(step) {
            plain.extend_from_slice(decryptor.update(chunk).unwrap());
        }
        (plain, decryptor.finish())
    }

    proptest! {
        #[test]
        fn decrypts_to_what_was_encrypted_however_it_is_cut(
            plain in prop::collection::vec(any::<u8>(), 0..5000), cut in 1usize..400, other in 1usize..400,
        ) {
            let (cipher, layer) = encrypt(&plain, cut);
            prop_assert_eq!(layer.size, plain.len() as u64);
            prop_assert_eq!(layer.digest, sha256(&cipher));
            let (decrypted, verdict) = decrypt(&cipher, other, &layer.keys);
            prop_assert_eq!(&decrypted, &plain);
            prop_assert_eq!(verdict, Ok(sha256(&plain)));
        }

        #[test]
        fn a_flipped_bit_is_found(
            plain in prop::collection::vec(any::<u8>(), 1..500), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let (mut cipher, layer) = encrypt(&plain, 64);
            let at = at.index(cipher.len());
            cipher[at] ^= 1 << bit;
            prop_assert_eq!(decrypt(&cipher, 64, &layer.keys).1, Err(LayerError::Altered));
        }
    }

    #[test]
    fn a_cut_layer_is_found() {
        let (cipher, layer) = encrypt(&[7; 100], 64);
        assert_eq!(decrypt(&cipher[..99], 64, &layer.keys).1, Err(LayerError::Altered));
        assert_eq!(decrypt(&[], 64, &layer.keys).1, Err(LayerError::Altered));
    }

    #[test]
    fn another_layers_keys_do_not_open_it() {
        let (cipher, _) = encrypt(&[7; 100], 64);
        let (_, other) = encrypt(&[7; 100], 64);
        assert_eq!(decrypt(&cipher, 64, &other.keys).1, Err(LayerError::Altered));
    }

    #[test]
    fn keys_for_other_contents_are_found() {
        let (cipher, mut layer) = encrypt(&[7; 100], 64);
        layer.keys.plain_digest = sha256(b"something else");
        assert_eq!(decrypt(&cipher, 64, &layer.keys).1, Err(LayerError::WrongContents));
    }

    #[test]
    fn keys_are_never_printed() {
        let (_, layer) = encrypt(b"", 1);
        let printed = format!("{layer:?}");
        assert!(printed.contains("plain_digest") && !printed.contains("nonce"), "{printed}");
    }
}
