//! The annotations and media types by which ocicrypt marks an encrypted layer.
//!
//! | annotation | base64 of |
//! |---|---|
//! | `org.opencontainers.image.enc.keys.jwe` | a JWE around `{symkey, digest, cipheroptions: {nonce}}`; several with commas between |
//! | `org.opencontainers.image.enc.keys.provider.apocryph` | in place of the first: a ticket, for which a key provider gives what would be in the JWE |
//! | `org.opencontainers.image.enc.pubopts` | `{cipher: "AES_256_CTR_HMAC_SHA256", hmac, cipheroptions: {}}` |

use std::collections::HashMap;

use apocryph_model::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::jwe::{self, JweError};
use crate::key::{DeploymentKey, DeploymentPublicKey};
use crate::layer::{LayerKeys, NONCE_LEN};

/// Holds what opens the layer, wrapped for its readers.
pub const KEYS_ANNOTATION: &str = "org.opencontainers.image.enc.keys.jwe";
/// Holds what the key provider [`KEY_PROVIDER`] gives the key for.
pub const TICKET_ANNOTATION: &str = "org.opencontainers.image.enc.keys.provider.apocryph";
/// The key provider's name in ocicrypt's configuration on those who decrypt.
pub const KEY_PROVIDER: &str = "apocryph";
/// Holds the cipher's name and the ciphertext's HMAC.
pub const OPTIONS_ANNOTATION: &str = "org.opencontainers.image.enc.pubopts";
/// What an encrypted layer's media type ends with.
pub const ENCRYPTED_SUFFIX: &str = "+encrypted";

const CIPHER: &str = "AES_256_CTR_HMAC_SHA256";
/// The most JWE documents that are tried in one annotation.
const MAX_DOCUMENTS: usize = 8;
const MAX_OPTIONS_LEN: usize = 4096;

/// Why a layer's annotations do not open the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnnotationError {
    /// The layer is not encrypted, or its annotations were lost.
    #[error("the layer lacks the annotation {0}")]
    Absent(&'static str),
    /// An annotation does not hold what it should.
    #[error("the annotation {0} is malformed")]
    Malformed(&'static str),
    /// Encrypted with another cipher.
    #[error("the layer's cipher is not {CIPHER}")]
    UnknownCipher,
    /// The wrapped key does not open.
    #[error(transparent)]
    Key(#[from] JweError),
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct PrivateOptions {
    symkey: String,
    #[zeroize(skip)]
    digest: Digest,
    #[zeroize(skip)]
    cipheroptions: CipherOptions,
}

#[derive(Serialize, Deserialize)]
struct CipherOptions {
    nonce: String,
}

#[derive(Serialize, Deserialize)]
struct PublicOptions {
    cipher: String,
    hmac: String,
    #[serde(default)]
    cipheroptions: HashMap<String, String>,
}

/// The media type of `plain` once encrypted.
#[must_use]
pub fn encrypted_media_type(plain: &str) -> String {
    format!("{plain}{ENCRYPTED_SUFFIX}")
}

/// The media type that `encrypted` had before, or `None` if it is not that of an encrypted layer.
#[must_use]
pub fn plain_media_type(encrypted: &str) -> Option<&str> {
    encrypted.strip_suffix(ENCRYPTED_SUFFIX)
}

impl LayerKeys {
    /// The annotations that let each of `recipients` open the layer.
    ///
    /// # Errors
    /// [`JweError::Recipients`] or [`JweError::Crypto`].
    pub fn to_annotations(
        &self,
        recipients: &[&DeploymentPublicKey],
    ) -> Result<HashMap<String, String>, JweError> {
        let wrapped = jwe::seal(&self.private_options()?, recipients)?;
        Ok(HashMap::from([(KEYS_ANNOTATION.to_owned(), STANDARD.encode(wrapped)), self.public_options()?]))
    }

    /// The annotations that let whoever has the key provider's ear open the layer, by showing it
    /// `ticket`.
    ///
    /// # Errors
    /// [`JweError::Crypto`].
    pub fn to_ticket_annotations(&self, ticket: &[u8]) -> Result<HashMap<String, String>, JweError> {
        Ok(HashMap::from([(TICKET_ANNOTATION.to_owned(), STANDARD.encode(ticket)), self.public_options()?]))
    }

    /// What a key provider answers with: ocicrypt's private options of the layer, as JSON.
    ///
    /// # Errors
    /// [`JweError::Crypto`].
    pub fn private_options(&self) -> Result<Zeroizing<Vec<u8>>, JweError> {
        let private = PrivateOptions {
            symkey: STANDARD.encode(self.key.as_slice()),
            digest: self.plain_digest,
            cipheroptions: CipherOptions { nonce: STANDARD.encode(self.nonce) },
        };
        serde_json::to_vec(&private).map(Zeroizing::new).map_err(|_| JweError::Crypto)
    }

    fn public_options(&self) -> Result<(String, String), JweError> {
        let public = PublicOptions {
            cipher: CIPHER.to_owned(),
            hmac: STANDARD.encode(self.hmac),
            cipheroptions: HashMap::new(),
        };
        let public = serde_json::to_vec(&public).map_err(|_| JweError::Crypto)?;
        Ok((OPTIONS_ANNOTATION.to_owned(), STANDARD.encode(public)))
    }

    /// Opens a layer's annotations.
    ///
    /// # Errors
    /// See [`AnnotationError`].
    pub fn from_annotations(
        annotations: &HashMap<String, String>,
        key: &DeploymentKey,
    ) -> Result<Self, AnnotationError> {
        let public: PublicOptions = parse_options(annotations)?;
        if public.cipher != CIPHER {
            return Err(AnnotationError::UnknownCipher);
        }
        let private = open_private(value_of(annotations, KEYS_ANNOTATION)?, key)?;
        let wrong_key = AnnotationError::Malformed(KEYS_ANNOTATION);
        let mut layer_key = Zeroizing::new([0; 32]);
        decode_exactly(&private.symkey, &mut *layer_key).ok_or(wrong_key)?;
        let mut nonce = [0; NONCE_LEN];
        decode_exactly(&private.cipheroptions.nonce, &mut nonce).ok_or(wrong_key)?;
        let mut hmac = [0; 32];
        decode_exactly(&public.hmac, &mut hmac).ok_or(AnnotationError::Malformed(OPTIONS_ANNOTATION))?;
        Ok(Self { key: layer_key, nonce, plain_digest: private.digest, hmac })
    }
}

fn value_of<'a>(
    annotations: &'a HashMap<String, String>,
    name: &'static str,
) -> Result<&'a str, AnnotationError> {
    annotations.get(name).map(String::as_str).ok_or(AnnotationError::Absent(name))
}

fn parse_options(annotations: &HashMap<String, String>) -> Result<PublicOptions, AnnotationError> {
    let text = value_of(annotations, OPTIONS_ANNOTATION)?;
    let json = decode_bounded(text, MAX_OPTIONS_LEN);
    json.and_then(|json| parse(&json)).ok_or(AnnotationError::Malformed(OPTIONS_ANNOTATION))
}

/// Tries each document; the last one's error is the one to tell.
fn open_private(value: &str, key: &DeploymentKey) -> Result<PrivateOptions, AnnotationError> {
    let malformed = AnnotationError::Malformed(KEYS_ANNOTATION);
    let mut failed = malformed;
    for text in value.split(',').take(MAX_DOCUMENTS) {
        let document = decode_bounded(text, jwe::MAX_LEN).ok_or(malformed)?;
        match jwe::open(&document, key) {
            Ok(json) => return parse(&json).ok_or(malformed),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

fn decode_bounded(text: &str, most: usize) -> Option<Vec<u8>> {
    if text.len() > most * 2 {
        return None;
    }
    STANDARD.decode(text).ok()
}

fn decode_exactly(text: &str, bytes: &mut [u8]) -> Option<()> {
    let decoded = Zeroizing::new(STANDARD.decode(text).ok()?);
    (decoded.len() == bytes.len()).then(|| bytes.copy_from_slice(&decoded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerEncryptor;

    fn some_keys() -> LayerKeys {
        LayerEncryptor::new().unwrap().finish().unwrap().keys
    }

    #[test]
    fn annotations_open_to_the_same_keys() {
        let keys = some_keys();
        let [one, two] = [(); 2].map(|()| DeploymentKey::generate().unwrap());
        let public = [one.public().unwrap(), two.public().unwrap()];
        let annotations = keys.to_annotations(&[&public[0], &public[1]]).unwrap();
        for key in [one, two] {
            let opened = LayerKeys::from_annotations(&annotations, &key).unwrap();
            assert_eq!((opened.key, opened.nonce), (keys.key.clone(), keys.nonce));
            assert_eq!((opened.plain_digest, opened.hmac), (keys.plain_digest, keys.hmac));
        }
    }

    #[test]
    fn documents_for_others_are_passed_over() {
        let keys = some_keys();
        let [other, mine] = [(); 2].map(|()| DeploymentKey::generate().unwrap());
        let wrap = |key: &DeploymentKey| keys.to_annotations(&[&key.public().unwrap()]).unwrap();
        let mut annotations = wrap(&other);
        let refused = LayerKeys::from_annotations(&annotations, &mine);
        assert_eq!(refused.err(), Some(AnnotationError::Key(JweError::NotARecipient)));
        let both = format!("{},{}", annotations[KEYS_ANNOTATION], wrap(&mine)[KEYS_ANNOTATION]);
        annotations.insert(KEYS_ANNOTATION.to_owned(), both);
        assert!(LayerKeys::from_annotations(&annotations, &mine).is_ok());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let key = DeploymentKey::generate().unwrap();
        let good = some_keys().to_annotations(&[&key.public().unwrap()]).unwrap();
        for name in [KEYS_ANNOTATION, OPTIONS_ANNOTATION] {
            let mut annotations = good.clone();
            annotations.remove(name);
            let error = LayerKeys::from_annotations(&annotations, &key).err();
            assert_eq!(error, Some(AnnotationError::Absent(name)));
            annotations.insert(name.to_owned(), "no base64!".to_owned());
            let error = LayerKeys::from_annotations(&annotations, &key).err();
            assert_eq!(error, Some(AnnotationError::Malformed(name)));
        }
        let mut annotations = good;
        let other = STANDARD.encode(r#"{"cipher":"ROT13","hmac":""}"#);
        annotations.insert(OPTIONS_ANNOTATION.to_owned(), other);
        let error = LayerKeys::from_annotations(&annotations, &key).err();
        assert_eq!(error, Some(AnnotationError::UnknownCipher));
    }

    #[test]
    fn media_types_go_there_and_back() {
        let plain = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert_eq!(plain_media_type(&encrypted_media_type(plain)), Some(plain));
        assert_eq!(plain_media_type(plain), None);
    }
}
