//! The key pair of a deployment: whoever holds the private half reads its images.

use std::fmt;

use apocryph_model::Digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::hash::sha256;

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
const PEM_LINE: usize = 64;

/// The largest key file that is read, in bytes: an 8192-bit RSA key in PEM takes some 6.5 KB.
pub const MAX_KEY_LEN: usize = 16 * 1024;

/// Why a key could not be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a PEM block of the expected kind.
    #[error("not a PEM block of the kind \"{0}\"")]
    NotPem(&'static str),
    /// Not an RSA key of 2048 to 8192 bits in the expected encoding.
    #[error("not an RSA key of 2048 to 8192 bits (PKCS#8 if private, X.509 if public)")]
    NotRsa,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// The private half: decrypts every layer that was encrypted for [`DeploymentKey::public`].
///
/// RSA, because that is what ocicrypt's JWE recipients are. Never printed; the library wipes it.
pub struct DeploymentKey {
    private: PrivateDecryptingKey,
    decrypting: OaepPrivateDecryptingKey,
}

/// The public half: all that encrypting needs.
#[derive(Debug)]
pub struct DeploymentPublicKey {
    encrypting: OaepPublicEncryptingKey,
    der: Vec<u8>,
}

impl DeploymentKey {
    /// A fresh RSA key of 3072 bits, for ciphertext that strangers may keep for decades. Takes some
    /// 300 ms, so begin it beside other work.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] if the library fails.
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(PrivateDecryptingKey::generate(KeySize::Rsa3072).map_err(|_| KeyError::Crypto)?)
    }

    /// Reads a PKCS#8 document (RFC 5208).
    ///
    /// # Errors
    /// [`KeyError::NotRsa`] if it is anything else.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_KEY_LEN {
            return Err(KeyError::NotRsa);
        }
        Self::new(PrivateDecryptingKey::from_pkcs8(der).map_err(|_| KeyError::NotRsa)?)
    }

    /// Reads a PKCS#8 document in PEM (RFC 7468).
    ///
    /// # Errors
    /// [`KeyError::NotPem`] or [`KeyError::NotRsa`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::from_pkcs8(&from_pem(PRIVATE_LABEL, pem)?)
    }

    /// The key as a PKCS#8 document.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] if the library fails.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der: Pkcs8V1Der<'_> = self.private.as_der().map_err(|_| KeyError::Crypto)?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// The key as a PKCS#8 document in PEM.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] if the library fails.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        Ok(Zeroizing::new(to_pem(PRIVATE_LABEL, &self.to_pkcs8()?)))
    }

    /// The public half.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] if the library fails.
    pub fn public(&self) -> Result<DeploymentPublicKey, KeyError> {
        DeploymentPublicKey::new(self.private.public_key())
    }

    /// Opens what [`DeploymentPublicKey::wrap`] closed; `None` if it was not for this key.
    pub(crate) fn unwrap(&self, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(vec![0; self.decrypting.min_output_size()]);
        let length = self.decrypting.decrypt(&OAEP_SHA1_MGF1SHA1, wrapped, &mut plain, None).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    fn new(private: PrivateDecryptingKey) -> Result<Self, KeyError> {
        let decrypting = OaepPrivateDecryptingKey::new(private.clone()).map_err(|_| KeyError::NotRsa)?;
        Ok(Self { private, decrypting })
    }
}

impl fmt::Debug for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeploymentKey(..)")
    }
}

impl DeploymentPublicKey {
    /// Reads an X.509 `SubjectPublicKeyInfo` (RFC 5280).
    ///
    /// # Errors
    /// [`KeyError::NotRsa`] if it is anything else.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_KEY_LEN {
            return Err(KeyError::NotRsa);
        }
        Self::new(PublicEncryptingKey::from_der(der).map_err(|_| KeyError::NotRsa)?)
    }

    /// Reads an X.509 `SubjectPublicKeyInfo` in PEM.
    ///
    /// # Errors
    /// [`KeyError::NotPem`] or [`KeyError::NotRsa`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::from_der(&from_pem(PUBLIC_LABEL, pem)?)
    }

    /// The key as an X.509 `SubjectPublicKeyInfo` in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(PUBLIC_LABEL, &self.der)
    }

    /// The SHA-256 of the key's X.509 form: names the key where it need not be given.
    #[must_use]
    pub fn id(&self) -> Digest {
        sha256(&self.der)
    }

    /// RSA-OAEP with SHA-1 and MGF1-SHA-1, which is what `RSA-OAEP` means in JWE (RFC 7518, 4.3).
    pub(crate) fn wrap(&self, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut wrapped = vec![0; self.encrypting.ciphertext_size()];
        let length = self
            .encrypting
            .encrypt(&OAEP_SHA1_MGF1SHA1, plain, &mut wrapped, None)
            .map_err(|_| KeyError::Crypto)?
            .len();
        wrapped.truncate(length);
        Ok(wrapped)
    }

    fn new(public: PublicEncryptingKey) -> Result<Self, KeyError> {
        let der: PublicKeyX509Der<'_> = public.as_der().map_err(|_| KeyError::Crypto)?;
        let der = der.as_ref().to_vec();
        let encrypting = OaepPublicEncryptingKey::new(public).map_err(|_| KeyError::NotRsa)?;
        Ok(Self { encrypting, der })
    }
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let lines = body.len().div_ceil(PEM_LINE);
    // The whole capacity at once: a growing string would leave unwiped copies of a key behind.
    let mut pem = String::with_capacity(body.len() + lines + 2 * label.len() + 32);
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    for start in (0..body.len()).step_by(PEM_LINE) {
        pem.push_str(&body[start..body.len().min(start + PEM_LINE)]);
        pem.push('\n');
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

fn from_pem(label: &'static str, pem: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let not_pem = KeyError::NotPem(label);
    if pem.len() > MAX_KEY_LEN {
        return Err(not_pem);
    }
    let (_, after) = pem.split_once(&format!("-----BEGIN {label}-----")).ok_or(not_pem)?;
    let (body, _) = after.split_once(&format!("-----END {label}-----")).ok_or(not_pem)?;
    let mut packed = Zeroizing::new(String::with_capacity(body.len()));
    packed.extend(body.split_ascii_whitespace());
    let der = STANDARD.decode(packed.as_bytes()).map_err(|_| not_pem)?;
    Ok(Zeroizing::new(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_give_the_same_key_back() {
        let key = DeploymentKey::generate().unwrap();
        let id = key.public().unwrap().id();
        let from_der = DeploymentKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        let from_pem = DeploymentKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(from_der.public().unwrap().id(), id);
        assert_eq!(from_pem.public().unwrap().id(), id);
        let public = DeploymentPublicKey::from_pem(&key.public().unwrap().to_pem()).unwrap();
        assert_eq!(public.id(), id);
    }

    #[test]
    fn only_the_private_half_unwraps() {
        let key = DeploymentKey::generate().unwrap();
        let other = DeploymentKey::generate().unwrap();
        let wrapped = key.public().unwrap().wrap(b"content key").unwrap();
        assert_eq!(&**key.unwrap(&wrapped).unwrap(), b"content key");
        assert!(other.unwrap(&wrapped).is_none());
        assert!(key.unwrap(&wrapped[1..]).is_none());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let pem = DeploymentKey::from_pem;
        let not_pem = Some(KeyError::NotPem("PRIVATE KEY"));
        assert_eq!(pem("").err(), not_pem);
        assert_eq!(pem("-----BEGIN PRIVATE KEY-----\nAAAA").err(), not_pem);
        let empty = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n";
        assert_eq!(pem(empty).err(), Some(KeyError::NotRsa));
        assert_eq!(pem(&" ".repeat(MAX_KEY_LEN + 1)).err(), not_pem);
    }

    #[test]
    fn a_private_key_is_never_printed() {
        let key = DeploymentKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), "DeploymentKey(..)");
    }
}
