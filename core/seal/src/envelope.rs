//! Envelopes: AES-256-GCM around small things (a pod's specification, state at rest).
//!
//! ```text
//! "APSE"   version 1   nonce      ciphertext      tag
//! 4 bytes  1 byte      12 bytes   as plaintext    16 bytes
//! ```
//!
//! Magic and version are authenticated together with the caller's associated data, which says
//! what the envelope is for, so that one envelope cannot be passed off as another.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const MAGIC: &[u8; 4] = b"APSE";
const VERSION: u8 = 1;
const HEADER_LEN: usize = MAGIC.len() + 1;
const TAG_LEN: usize = 16;

/// How many bytes an envelope is longer than what it holds.
pub const OVERHEAD: usize = HEADER_LEN + NONCE_LEN + TAG_LEN;

/// A 32-byte key for envelopes. Wiped on drop, never printed.
///
/// Nonces are random: seal at most 2^32 envelopes under one key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EnvelopeKey([u8; 32]);

/// Why an envelope could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The bytes do not begin as an envelope does.
    #[error("these bytes are not a sealed envelope")]
    NotAnEnvelope,
    /// Written by a newer release.
    #[error("envelope version {0} is unknown: it was written by a newer release")]
    UnknownVersion(u8),
    /// Shorter than the shortest envelope.
    #[error("the envelope is truncated")]
    Truncated,
    /// The key is another one, or the contents or the associated data were altered.
    #[error("the envelope does not open: the key is wrong or the contents were altered")]
    WrongKey,
    /// The random source or the cipher failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

impl EnvelopeKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// [`EnvelopeError::Crypto`] if the system gives no randomness.
    pub fn generate() -> Result<Self, EnvelopeError> {
        let mut key = Self([0; 32]);
        aws_lc_rs::rand::fill(&mut key.0).map_err(|_| EnvelopeError::Crypto)?;
        Ok(key)
    }

    /// The key made of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for sending it to whom it is meant for.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `plaintext`, bound to `associated`.
    ///
    /// # Errors
    /// [`EnvelopeError::Crypto`] if the random source or the cipher failed.
    pub fn seal(&self, plaintext: &[u8], associated: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let mut body = plaintext.to_vec();
        let nonce = self
            .cipher()?
            .seal_in_place_append_tag(Aad::from(bound(associated)), &mut body)
            .map_err(|_| EnvelopeError::Crypto)?;
        let mut envelope = Vec::with_capacity(body.len() + OVERHEAD - TAG_LEN);
        envelope.extend_from_slice(MAGIC);
        envelope.push(VERSION);
        envelope.extend_from_slice(nonce.as_ref());
        envelope.extend_from_slice(&body);
        Ok(envelope)
    }

    /// Opens `envelope`, which must have been sealed with the same `associated`.
    ///
    /// # Errors
    /// See [`EnvelopeError`]; nothing of the contents is given out unverified.
    pub fn open(&self, envelope: &[u8], associated: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let (nonce, body) = parse(envelope)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .cipher()?
            .open_in_place(nonce, Aad::from(bound(associated)), &mut body)
            .map_err(|_| EnvelopeError::WrongKey)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, EnvelopeError> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).map_err(|_| EnvelopeError::Crypto)
    }
}

impl fmt::Debug for EnvelopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvelopeKey(..)")
    }
}

fn bound(associated: &[u8]) -> Vec<u8> {
    [MAGIC, &[VERSION][..], associated].concat()
}

fn parse(envelope: &[u8]) -> Result<(Nonce, &[u8]), EnvelopeError> {
    let after_magic = envelope.strip_prefix(MAGIC).ok_or(EnvelopeError::NotAnEnvelope)?;
    let (&version, rest) = after_magic.split_first().ok_or(EnvelopeError::Truncated)?;
    if version != VERSION {
        return Err(EnvelopeError::UnknownVersion(version));
    }
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(EnvelopeError::Truncated)?;
    if body.len() < TAG_LEN {
        return Err(EnvelopeError::Truncated);
    }
    Ok((Nonce::assume_unique_for_key(*nonce), body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(fill: u8) -> EnvelopeKey {
        EnvelopeKey::from_bytes([fill; 32])
    }

    proptest! {
        #[test]
        fn opens_to_what_was_sealed(plain: Vec<u8>, associated: Vec<u8>) {
            let envelope = key(1).seal(&plain, &associated).unwrap();
            prop_assert_eq!(envelope.len(), plain.len() + OVERHEAD);
            let opened = key(1).open(&envelope, &associated).unwrap();
            prop_assert_eq!(&*opened, &plain);
        }

        #[test]
        fn any_flipped_bit_is_refused(plain: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let mut envelope = key(1).seal(&plain, b"spec").unwrap();
            let at = at.index(envelope.len());
            envelope[at] ^= 1 << bit;
            prop_assert!(key(1).open(&envelope, b"spec").is_err());
        }

        #[test]
        fn arbitrary_bytes_never_open(bytes: Vec<u8>) {
            prop_assert!(key(1).open(&bytes, b"").is_err());
        }
    }

    #[test]
    fn errors_tell_the_cases_apart() {
        let envelope = key(1).seal(b"hello", b"spec").unwrap();
        let open = |bytes: &[u8]| key(1).open(bytes, b"spec").unwrap_err();
        assert_eq!(open(b"{\"json\": 1}"), EnvelopeError::NotAnEnvelope);
        assert_eq!(open(b"APSE"), EnvelopeError::Truncated);
        assert_eq!(open(&envelope[..OVERHEAD - 1]), EnvelopeError::Truncated);
        assert_eq!(open(b"APSE\x02..."), EnvelopeError::UnknownVersion(2));
        let other = key(2).open(&envelope, b"spec").unwrap_err();
        assert_eq!(other, EnvelopeError::WrongKey);
        let elsewhere = key(1).open(&envelope, b"state").unwrap_err();
        assert_eq!(elsewhere, EnvelopeError::WrongKey);
    }

    #[test]
    fn equal_contents_seal_differently() {
        let seal = || key(1).seal(b"same", b"").unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", key(0xab)), "EnvelopeKey(..)");
    }
}
