//! Keystores of version 3 as they are written here (Web3 Secret Storage Definition): the key under
//! AES-128 in counter mode, by a key that scrypt derives of the password.

use aes::Aes128;
use alloy::primitives::{hex, keccak256};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use k256::elliptic_curve::rand_core::{OsRng, RngCore};
use scrypt::Params;
use serde_json::json;
use zeroize::Zeroizing;

/// What guessing one password costs: 2^17 rounds and 128 MiB, as other wallets ask for. The library
/// that reads keystores would write them with a sixteenth of that.
const LOG_ROUNDS: u8 = 17;
const BLOCK_SIZE: u32 = 8;
const LANES: u32 = 1;

/// The parameters of a primitive are out of its bounds.
#[derive(Debug)]
pub(crate) struct Unencrypted;

/// The keystore's text.
pub(crate) fn encrypt(secret: &[u8; 32], password: &str) -> Result<String, Unencrypted> {
    let (salt, iv, id): ([u8; 32], [u8; 16], [u8; 16]) = (random(), random(), random());
    let derived = derive(password, &salt)?;
    let mut ciphertext = *secret;
    let mut cipher = Ctr128BE::<Aes128>::new_from_slices(&derived[..16], &iv).map_err(|_| Unencrypted)?;
    cipher.apply_keystream(&mut ciphertext);
    let keystore = json!({
        "version": 3,
        "id": uuid(id),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": hex::encode(iv) },
            "ciphertext": hex::encode(ciphertext),
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": derived.len(), "n": 1u32 << LOG_ROUNDS, "r": BLOCK_SIZE, "p": LANES,
                "salt": hex::encode(salt),
            },
            "mac": hex::encode(keccak256([&derived[16..], &ciphertext].concat())),
        },
    });
    Ok(keystore.to_string())
}

fn derive(password: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, Unencrypted> {
    let params = Params::new(LOG_ROUNDS, BLOCK_SIZE, LANES).map_err(|_| Unencrypted)?;
    let mut derived = Zeroizing::new([0; 32]);
    scrypt::scrypt(password.as_bytes(), salt, &params, derived.as_mut_slice()).map_err(|_| Unencrypted)?;
    Ok(derived)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Version 4 (RFC 9562).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn guessing_is_costly_and_nothing_is_used_twice() {
        let texts = [(); 2].map(|()| encrypt(&[7; 32], "password").unwrap());
        let [one, other] = texts.map(|text| serde_json::from_str::<Value>(&text).unwrap());
        assert_eq!(one["crypto"]["kdfparams"]["n"], 131_072);
        for place in ["/id", "/crypto/kdfparams/salt", "/crypto/cipherparams/iv", "/crypto/ciphertext"] {
            assert_ne!(one.pointer(place).unwrap(), other.pointer(place).unwrap(), "{place}");
        }
    }

    #[test]
    fn an_id_is_one_of_version_4() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
