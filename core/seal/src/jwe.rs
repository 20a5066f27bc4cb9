//! JSON Web Encryption (RFC 7516) as ocicrypt uses it: the JSON serialisation, `RSA-OAEP` for the
//! content key, `A256GCM` for the contents, one or several recipients.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key::{DeploymentKey, DeploymentPublicKey};

const ALGORITHM: &str = "RSA-OAEP";
const CONTENT: &str = "A256GCM";
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// The longest document that is read, in bytes; one with four recipients has some 3 KB.
pub(crate) const MAX_LEN: usize = 64 * 1024;
/// The most recipients that are tried or written for.
const MAX_RECIPIENTS: usize = 16;

/// Why a document could not be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JweError {
    /// Not a JWE in JSON, or beyond the bounds.
    #[error("the wrapped key is not a valid JWE")]
    Malformed,
    /// Encrypted in another way than `RSA-OAEP` with `A256GCM`.
    #[error("the wrapped key is not encrypted with RSA-OAEP and A256GCM")]
    Unsupported,
    /// None of the recipients is the key.
    #[error("the key is not among the recipients")]
    NotARecipient,
    /// The key fits but the contents were altered.
    #[error("the wrapped key was altered")]
    Altered,
    /// There must be 1 to 16 recipients.
    #[error("a key is wrapped for 1 to {MAX_RECIPIENTS} recipients")]
    Recipients,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// The document, in its flattened form (one recipient) or its general form (`recipients`).
#[derive(Serialize, Deserialize)]
struct Document {
    protected: String,
    #[serde(default, skip_serializing_if = "Header::is_empty")]
    unprotected: Header,
    #[serde(flatten)]
    first: Recipient,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<Recipient>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aad: Option<String>,
    iv: String,
    ciphertext: String,
    tag: String,
}

#[derive(Serialize, Deserialize, Default)]
struct Recipient {
    #[serde(default, skip_serializing_if = "Header::is_empty")]
    header: Header,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encrypted_key: Option<String>,
}

#[derive(Serialize, Deserialize, Default)]
struct Header {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enc: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<Vec<String>>,
}

impl Header {
    fn is_empty(&self) -> bool {
        self.alg.is_none() && self.enc.is_none() && self.zip.is_none() && self.crit.is_none()
    }
}

/// Encrypts `plain` so that each of `recipients` can read it.
pub(crate) fn seal(plain: &[u8], recipients: &[&DeploymentPublicKey]) -> Result<String, JweError> {
    if recipients.is_empty() || recipients.len() > MAX_RECIPIENTS {
        return Err(JweError::Recipients);
    }
    let alone = recipients.len() == 1;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| JweError::Crypto)?;
    let wrapped = recipients.iter().map(|recipient| wrap_for(recipient, &*key, alone));
    let mut wrapped = wrapped.collect::<Result<Vec<_>, _>>()?;
    let mut document = seal_content(plain, protected_header(alone)?, &*key)?;
    if alone {
        document.first = wrapped.pop().unwrap_or_default();
    }
    document.recipients = wrapped;
    serde_json::to_string(&document).map_err(|_| JweError::Crypto)
}

/// Decrypts `document` with `key`, whichever of the recipients it is.
pub(crate) fn open(document: &[u8], key: &DeploymentKey) -> Result<Zeroizing<Vec<u8>>, JweError> {
    if document.len() > MAX_LEN {
        return Err(JweError::Malformed);
    }
    let document: Document = serde_json::from_slice(document).map_err(|_| JweError::Malformed)?;
    let protected: Header =
        serde_json::from_slice(&decode(&document.protected)?).map_err(|_| JweError::Malformed)?;
    refuse_unsupported(&protected, &document.unprotected)?;
    let content_key = find_content_key(&document, &protected, key)?;
    open_content(&document, &content_key)
}

/// With one recipient the algorithm stands here, with several beside each one's key.
fn protected_header(alone: bool) -> Result<String, JweError> {
    let alg = alone.then(|| ALGORITHM.to_owned());
    let header = Header { alg, enc: Some(CONTENT.to_owned()), ..Header::default() };
    let json = serde_json::to_vec(&header).map_err(|_| JweError::Crypto)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// The document, but for its recipients.
fn seal_content(plain: &[u8], protected: String, key: &[u8]) -> Result<Document, JweError> {
    let mut body = plain.to_vec();
    let nonce = content_cipher(key)?
        .seal_in_place_append_tag(Aad::from(protected.as_bytes()), &mut body)
        .map_err(|_| JweError::Crypto)?;
    let (ciphertext, tag) = body.split_at(plain.len());
    Ok(Document {
        protected,
        unprotected: Header::default(),
        first: Recipient::default(),
        recipients: Vec::new(),
        aad: None,
        iv: URL_SAFE_NO_PAD.encode(nonce.as_ref()),
        ciphertext: URL_SAFE_NO_PAD.encode(ciphertext),
        tag: URL_SAFE_NO_PAD.encode(tag),
    })
}

fn wrap_for(recipient: &DeploymentPublicKey, content_key: &[u8], alone: bool) -> Result<Recipient, JweError> {
    let wrapped = recipient.wrap(content_key).map_err(|_| JweError::Crypto)?;
    let alg = (!alone).then(|| ALGORITHM.to_owned());
    Ok(Recipient {
        header: Header { alg, ..Header::default() },
        encrypted_key: Some(URL_SAFE_NO_PAD.encode(wrapped)),
    })
}

fn refuse_unsupported(protected: &Header, unprotected: &Header) -> Result<(), JweError> {
    let content = protected.enc.as_ref().or(unprotected.enc.as_ref());
    let known = content.is_some_and(|enc| enc == CONTENT);
    if known && protected.zip.is_none() && protected.crit.is_none() {
        Ok(())
    } else {
        Err(JweError::Unsupported)
    }
}

fn find_content_key(
    document: &Document,
    protected: &Header,
    key: &DeploymentKey,
) -> Result<Zeroizing<Vec<u8>>, JweError> {
    let recipients = match document.recipients.as_slice() {
        [] => std::slice::from_ref(&document.first),
        several => several,
    };
    if recipients.len() > MAX_RECIPIENTS {
        return Err(JweError::Malformed);
    }
    let shared = protected.alg.as_ref().or(document.unprotected.alg.as_ref());
    let mut supported = false;
    for recipient in recipients {
        let algorithm = recipient.header.alg.as_ref().or(shared);
        if algorithm.is_none_or(|alg| alg != ALGORITHM) {
            continue;
        }
        supported = true;
        let wrapped = decode(recipient.encrypted_key.as_deref().unwrap_or_default())?;
        if let Some(content_key) = key.unwrap(&wrapped) {
            return Ok(content_key);
        }
    }
    Err(if supported { JweError::NotARecipient } else { JweError::Unsupported })
}

fn open_content(document: &Document, key: &[u8]) -> Result<Zeroizing<Vec<u8>>, JweError> {
    let iv: [u8; NONCE_LEN] = decode(&document.iv)?.try_into().map_err(|_| JweError::Malformed)?;
    let tag = decode(&document.tag)?;
    if tag.len() != TAG_LEN || key.len() != KEY_LEN {
        return Err(JweError::Malformed);
    }
    // RFC 7516, 5.2: what is authenticated is the encoded header, and `aad` after a dot.
    let mut bound = document.protected.clone();
    if let Some(aad) = &document.aad {
        bound.push('.');
        bound.push_str(aad);
    }
    let mut body = Zeroizing::new(decode(&document.ciphertext)?);
    body.extend_from_slice(&tag);
    let length = content_cipher(key)?
        .open_in_place(Nonce::assume_unique_for_key(iv), Aad::from(bound), &mut body)
        .map_err(|_| JweError::Altered)?
        .len();
    body.truncate(length);
    Ok(body)
}

fn content_cipher(key: &[u8]) -> Result<RandomizedNonceKey, JweError> {
    RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| JweError::Crypto)
}

fn decode(text: &str) -> Result<Vec<u8>, JweError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JweError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static KEYS: LazyLock<[DeploymentKey; 3]> =
        LazyLock::new(|| [(); 3].map(|()| DeploymentKey::generate().unwrap()));

    fn sealed_for(keys: &[&DeploymentKey]) -> String {
        let public: Vec<_> = keys.iter().map(|key| key.public().unwrap()).collect();
        seal(b"contents", &public.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn each_recipient_reads_it_and_nobody_else() {
        let [one, two, other] = &*KEYS;
        let document = sealed_for(&[one, two]);
        for key in [one, two] {
            assert_eq!(&**open(document.as_bytes(), key).unwrap(), b"contents");
        }
        assert_eq!(open(document.as_bytes(), other).err(), Some(JweError::NotARecipient));
    }

    #[test]
    fn one_recipient_gives_the_flattened_form() {
        let document: serde_json::Value = serde_json::from_str(&sealed_for(&[&KEYS[0]])).unwrap();
        let mut fields: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["ciphertext", "encrypted_key", "iv", "protected", "tag"]);
        let protected = decode(document["protected"].as_str().unwrap()).unwrap();
        assert_eq!(protected, br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    }

    #[test]
    fn other_algorithms_are_refused() {
        let mut document: serde_json::Value = serde_json::from_str(&sealed_for(&[&KEYS[0]])).unwrap();
        for header in [
            r#"{"alg":"RSA1_5","enc":"A256GCM"}"#,
            r#"{"alg":"RSA-OAEP","enc":"A128CBC-HS256"}"#,
            r#"{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}"#,
            r#"{"alg":"RSA-OAEP","enc":"A256GCM","crit":["exp"]}"#,
        ] {
            document["protected"] = URL_SAFE_NO_PAD.encode(header).into();
            let opened = open(document.to_string().as_bytes(), &KEYS[0]);
            assert_eq!(opened.err(), Some(JweError::Unsupported), "{header}");
        }
    }

    #[test]
    fn altered_contents_are_refused() {
        let mut document: serde_json::Value = serde_json::from_str(&sealed_for(&[&KEYS[0]])).unwrap();
        document["ciphertext"] = URL_SAFE_NO_PAD.encode("CONTENTS").into();
        let opened = open(document.to_string().as_bytes(), &KEYS[0]);
        assert_eq!(opened.err(), Some(JweError::Altered));
    }

    #[test]
    fn recipients_are_bounded() {
        assert_eq!(seal(b"", &[]).err(), Some(JweError::Recipients));
        let public = KEYS[0].public().unwrap();
        let many = [&public; MAX_RECIPIENTS + 1];
        assert_eq!(seal(b"", &many).err(), Some(JweError::Recipients));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_open(bytes: Vec<u8>) {
            prop_assert!(open(&bytes, &KEYS[0]).is_err());
        }

        #[test]
        fn arbitrary_fields_never_open(fields in prop::collection::btree_map(
            prop::sample::select(vec![
                "protected", "unprotected", "header", "encrypted_key", "recipients", "aad", "iv",
                "ciphertext", "tag",
            ]),
            "[A-Za-z0-9_-]{0,40}", 0..9,
        )) {
            let document = serde_json::to_vec(&fields).unwrap();
            prop_assert!(open(&document, &KEYS[0]).is_err());
        }
    }
}
