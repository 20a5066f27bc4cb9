use apocryph_model::{Address, Hash32, keccak256};
use async_trait::async_trait;
use k256::ecdsa::{RecoveryId, VerifyingKey};

/// A secp256k1 signature with its recovery id: `r ‖ s ‖ v`, `v` 27 or 28.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 65]);

/// A signature that no key can have made, or with a high `s` (EIP-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is malformed")]
pub struct BadSignature;

/// The signing key could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot sign: {0}")]
pub struct SignerError(pub String);

/// Holds a publisher's key.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The key's account.
    fn account(&self) -> Address;

    /// Signs a digest as it is, without a prefix.
    async fn sign(&self, digest: Hash32) -> Result<Signature, SignerError>;
}

/// The account whose key signed `digest`.
pub fn recover(digest: Hash32, signature: &Signature) -> Result<Address, BadSignature> {
    let (rs, v) = signature.0.split_at(64);
    let parity = v[0].checked_sub(27).filter(|parity| *parity < 2).ok_or(BadSignature)?;
    let rs = k256::ecdsa::Signature::from_slice(rs).map_err(|_| BadSignature)?;
    if rs.normalize_s().is_some() {
        return Err(BadSignature);
    }
    let recovery = RecoveryId::from_byte(parity).ok_or(BadSignature)?;
    let key = VerifyingKey::recover_from_prehash(&digest.0, &rs, recovery).map_err(|_| BadSignature)?;
    let point = key.to_encoded_point(false);
    let hash = keccak256(&[&point.as_bytes()[1..]]);
    Address::try_from(&hash[12..]).map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest;
    use apocryph_model::{ChannelId, Method, Statement};
    use k256::ecdsa::SigningKey;
    use proptest::prelude::*;

    fn statement() -> Statement {
        Statement {
            method: Method::Provision,
            channel: ChannelId([1; 32]),
            provider: "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".parse().unwrap(),
            payload: Hash32([2; 32]),
            nonce: 3,
            expires_at: 4,
        }
    }

    fn sign(key: &SigningKey, digest: Hash32) -> Signature {
        let (signature, recovery) = key.sign_prehash_recoverable(&digest.0).unwrap();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = 27 + recovery.to_byte();
        Signature(bytes)
    }

    #[test]
    fn the_signer_is_recovered() {
        // The first account of anvil and hardhat, by its public private key.
        let key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let key = SigningKey::from_slice(
            &(0..32).map(|i| u8::from_str_radix(&key[2 * i..2 * i + 2], 16).unwrap()).collect::<Vec<_>>(),
        )
        .unwrap();
        let digest = digest(&statement(), 31337);
        let account = recover(digest, &sign(&key, digest)).unwrap();
        assert_eq!(account.to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }

    #[test]
    fn every_field_counts() {
        let base = digest(&statement(), 1);
        let changed = [
            digest(&statement(), 2),
            digest(&Statement { method: Method::Remove, ..statement() }, 1),
            digest(&Statement { channel: ChannelId([9; 32]), ..statement() }, 1),
            digest(&Statement { payload: Hash32([9; 32]), ..statement() }, 1),
            digest(&Statement { nonce: 9, ..statement() }, 1),
            digest(&Statement { expires_at: 9, ..statement() }, 1),
        ];
        assert!(changed.iter().all(|other| *other != base));
    }

    proptest! {
        #[test]
        fn arbitrary_signatures_are_refused_or_name_someone(bytes in proptest::collection::vec(any::<u8>(), 65), digest: [u8; 32]) {
            let signature = Signature(bytes.try_into().unwrap());
            let _ = recover(Hash32(digest), &signature);
        }
    }
}
