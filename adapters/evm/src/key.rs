//! The key of an account: made, read from a file or a text, and used. It is never shown, and is
//! wiped from memory with its owner.

use crate::keystore;
use alloy::primitives::{B256, hex};
use alloy::signers::{Signature, SignerSync, local::PrivateKeySigner};
use apocryph_model::{Address, Hash32};
use apocryph_statement::SignerError;
use async_trait::async_trait;
use k256::ecdsa::SigningKey;
use k256::elliptic_curve::rand_core::OsRng;
use serde_json::Value;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A secp256k1 key and the account that it controls.
#[derive(Clone)]
pub struct Key(PrivateKeySigner);

/// Why a key could not be read or written. No message holds a part of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes in hex, or not the number of a key.
    #[error("the private key is not 64 hex digits of a secp256k1 key")]
    Malformed,
    /// The file could not be read or written.
    #[error("cannot use the key file {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Neither a key in hex nor a keystore of version 3.
    #[error("{0} is neither a private key in hex nor a keystore of version 3: check the path")]
    NotAKeystore(PathBuf),
    /// The keystore is encrypted, and no password was given.
    #[error("{0} is encrypted: give its password")]
    PasswordNeeded(PathBuf),
    /// The password is not the keystore's.
    #[error("the password does not open {0}")]
    WrongPassword(PathBuf),
    /// The key could not be encrypted.
    #[error("the key could not be encrypted for {0}")]
    Encryption(PathBuf),
}

impl Key {
    /// A new key from the system's random numbers.
    pub fn generate() -> Self {
        Self(PrivateKeySigner::from_signing_key(SigningKey::random(&mut OsRng)))
    }

    /// Reads 64 hex digits, with or without `0x`, as an environment variable holds them.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let key = text.trim().parse().map_err(|_| KeyError::Malformed)?;
        Ok(Self(key))
    }

    /// Reads a file that holds a private key in hex, or a keystore of version 3 (Web3 Secret
    /// Storage), for which the password is needed.
    ///
    /// # Errors
    /// Every variant but [`KeyError::Encryption`].
    pub fn read(path: &Path, password: Option<&str>) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|e| at(path, e))?;
        if !text.trim_start().starts_with('{') {
            return Self::from_hex(&text).map_err(|_| KeyError::NotAKeystore(path.into()));
        }
        if !is_sound_keystore(&text) {
            return Err(KeyError::NotAKeystore(path.into()));
        }
        let password = password.ok_or_else(|| KeyError::PasswordNeeded(path.into()))?;
        PrivateKeySigner::decrypt_keystore(path, password)
            .map(Self)
            .map_err(|_| KeyError::WrongPassword(path.into()))
    }

    /// Writes the key as a new keystore of version 3 that only its owner can read.
    ///
    /// # Errors
    /// [`KeyError::File`], also where the file is there already, and [`KeyError::Encryption`].
    pub fn write(&self, path: &Path, password: &str) -> Result<(), KeyError> {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(path).map_err(|e| at(path, e))?;
        let text = keystore::encrypt(&self.secret(), password)
            .map_err(|keystore::Unencrypted| KeyError::Encryption(path.into()))?;
        file.write_all(text.as_bytes()).map_err(|e| at(path, e))
    }

    /// The account.
    pub fn address(&self) -> Address {
        Address(self.0.address().into_array())
    }

    /// The key in hex. Wiped with its owner; not to be logged.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode_prefixed(self.secret().as_slice()))
    }

    fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().0)
    }

    pub(crate) fn signer(&self) -> &PrivateKeySigner {
        &self.0
    }

    pub(crate) fn sign_digest(&self, digest: B256) -> Result<Signature, SignerError> {
        self.0.sign_hash_sync(&digest).map_err(|e| SignerError(e.to_string()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.address())
    }
}

#[async_trait]
impl apocryph_statement::Signer for Key {
    fn account(&self) -> Address {
        self.address()
    }

    async fn sign(&self, digest: Hash32) -> Result<apocryph_statement::Signature, SignerError> {
        let signature = self.sign_digest(B256::from(digest.0))?;
        Ok(apocryph_statement::Signature(signature.as_bytes()))
    }
}

/// Whether decrypting this keystore ends, and within bounds: the fields that the decryption takes
/// as they are have the length that it expects, and the work that they ask for is bearable.
fn is_sound_keystore(text: &str) -> bool {
    let Ok(keystore) = serde_json::from_str::<Value>(text) else { return false };
    let crypto = &keystore["crypto"];
    let hex_bytes = |value: &Value| value.as_str().map(|digits| digits.len() / 2);
    let at_most =
        |name: &str, most: u64| crypto["kdfparams"][name].as_u64().is_none_or(|n| (1..=most).contains(&n));
    keystore["version"] == 3
        && crypto["kdfparams"]["dklen"] == 32
        && hex_bytes(&crypto["cipherparams"]["iv"]) == Some(16)
        && hex_bytes(&crypto["ciphertext"]) == Some(32)
        && at_most("n", 1 << 20)
        && at_most("r", 16)
        && at_most("p", 16)
        && at_most("c", 10_000_000)
}

fn at(path: &Path, source: std::io::Error) -> KeyError {
    KeyError::File { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_statement::{Signer, recover};
    use std::os::unix::fs::PermissionsExt;

    const HEX: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn a_key_has_the_account_that_others_know() {
        let key = Key::from_hex(HEX).unwrap();
        assert_eq!(key.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(key.to_hex().as_str(), HEX);
    }

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?}", Key::from_hex(HEX).unwrap());
        assert_eq!(shown, "Key(0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266)");
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for bad in ["", "0x", "ac09", &HEX[..64], &format!("{HEX}00"), &"0".repeat(64), &"f".repeat(64)] {
            let message = Key::from_hex(bad).unwrap_err().to_string();
            assert!(!message.contains("ac09"), "{message}");
        }
    }

    #[test]
    fn a_keystore_is_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        let key = Key::generate();
        key.write(&path, "password").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Key::read(&path, Some("password")).unwrap().address(), key.address());
        assert!(matches!(Key::read(&path, Some("other")), Err(KeyError::WrongPassword(_))));
        assert!(matches!(Key::read(&path, None), Err(KeyError::PasswordNeeded(_))));
        assert!(matches!(key.write(&path, "password"), Err(KeyError::File { .. })));
    }

    #[test]
    fn a_file_in_hex_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, format!("{HEX}\n")).unwrap();
        assert_eq!(Key::read(&path, None).unwrap().address(), Key::from_hex(HEX).unwrap().address());
        fs::write(&path, "password123").unwrap();
        assert!(matches!(Key::read(&path, None), Err(KeyError::NotAKeystore(_))));
    }

    #[test]
    fn a_keystore_that_would_not_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        Key::generate().write(&path, "password").unwrap();
        let good: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let damages: [(&str, Value); 4] = [
            ("/crypto/kdfparams/n", (1u64 << 30).into()),
            ("/crypto/kdfparams/dklen", 8.into()),
            ("/crypto/cipherparams/iv", "00".into()),
            ("/version", 4.into()),
        ];
        for (place, value) in damages {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value;
            fs::write(&path, bad.to_string()).unwrap();
            assert!(matches!(Key::read(&path, Some("password")), Err(KeyError::NotAKeystore(_))), "{place}");
        }
    }

    #[tokio::test]
    async fn what_it_signs_is_recovered_to_its_account() {
        let key = Key::generate();
        let digest = Hash32([7; 32]);
        let signature = key.sign(digest).await.unwrap();
        assert_eq!(recover(digest, &signature), Ok(key.address()));
    }
}
