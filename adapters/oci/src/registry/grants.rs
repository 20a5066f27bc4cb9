//! Who may pull what.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use apocryph_model::{ChannelId, Digest};
use apocryph_provider::Registry;
use apocryph_seal::sha256;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use zeroize::Zeroizing;

/// The longest `Authorization` that is looked at, in bytes.
const MAX_AUTHORIZATION_LEN: usize = 1024;

/// What a client shows, as a bearer token or as the password of any user. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(Zeroizing<String>);

/// Which pod's token opens which digests. What is granted is kept in memory only.
pub struct Grants {
    /// Makes the tokens: each is the HMAC of its pod, so that none need be remembered.
    secret: hmac::Key,
    /// By the token's hash, so that the time of a look-up tells nothing about a token.
    by_token: RwLock<HashMap<Digest, HashSet<Digest>>>,
}

impl Token {
    /// The token in an `Authorization` header, `Bearer` or `Basic`.
    pub(super) fn from_authorization(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok().filter(|text| text.len() <= MAX_AUTHORIZATION_LEN)?;
        let (scheme, rest) = text.split_once(' ')?;
        let token = if scheme.eq_ignore_ascii_case("bearer") {
            rest.trim().to_owned()
        } else if scheme.eq_ignore_ascii_case("basic") {
            let pair = Zeroizing::new(STANDARD.decode(rest.trim()).ok()?);
            let (_, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
            password.to_owned()
        } else {
            return None;
        };
        Some(Self(Zeroizing::new(token)))
    }

    pub(super) fn new(token: &str) -> Self {
        Self(Zeroizing::new(token.to_owned()))
    }

    pub(super) fn hash(&self) -> Digest {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Grants {
    /// Nobody may pull anything yet. `secret` is random, and for this use alone; with the same
    /// after a restart the tokens are the same.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { secret: hmac::Key::new(hmac::HMAC_SHA256, secret), by_token: RwLock::default() }
    }

    fn token_of(&self, pod: ChannelId) -> Token {
        let tag = hmac::sign(&self.secret, &pod.0);
        Token(Zeroizing::new(URL_SAFE_NO_PAD.encode(tag)))
    }

    pub(super) fn knows(&self, token: &Token) -> bool {
        self.read().contains_key(&token.hash())
    }

    pub(super) fn opens(&self, token: &Token, digest: &Digest) -> bool {
        self.opens_by_hash(&token.hash(), digest)
    }

    fn opens_by_hash(&self, token: &Digest, digest: &Digest) -> bool {
        self.read().get(token).is_some_and(|digests| digests.contains(digest))
    }

    /// What a node shows for a layer's key: the token's hash, the layer's digest, and a MAC over
    /// both. It is worth something as long as the token opens the layer, and the same after a
    /// restart.
    pub(super) fn ticket(&self, token: &Token, layer: &Digest) -> Vec<u8> {
        let mut ticket = [token.hash().0, layer.0].concat();
        let mac = hmac::sign(&self.secret, &ticket);
        ticket.extend(mac.as_ref());
        ticket
    }

    /// The token's hash and the layer that a ticket is for.
    pub(super) fn admit_ticket(&self, ticket: &[u8]) -> Option<(Digest, Digest)> {
        let (named, mac) = ticket.split_at_checked(64)?;
        hmac::verify(&self.secret, named, mac).ok()?;
        let (token, layer) = named.split_at(32);
        let (token, layer) = (Digest(token.try_into().ok()?), Digest(layer.try_into().ok()?));
        self.opens_by_hash(&token, &layer).then_some((token, layer))
    }

    // A map of plain values is whole whatever a panicking thread left undone.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Digest, HashSet<Digest>>> {
        self.by_token.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Digest, HashSet<Digest>>> {
        self.by_token.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry for Grants {
    fn admit(&self, pod: ChannelId, digests: &[Digest]) -> String {
        let token = self.token_of(pod);
        self.write().insert(token.hash(), digests.iter().copied().collect());
        token.0.to_string()
    }

    /// Downloads under way go on.
    fn dismiss(&self, pod: ChannelId) {
        self.write().remove(&self.token_of(pod).hash());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: [ChannelId; 2] = [ChannelId([1; 32]), ChannelId([2; 32])];

    fn bearer(token: &str) -> Option<Token> {
        Token::from_authorization(&HeaderValue::from_str(&format!("Bearer {token}")).unwrap())
    }

    #[test]
    fn a_token_opens_what_its_pod_was_granted() {
        let grants = Grants::new(&[7; 32]);
        let [one, two] = [b"one".as_slice(), b"two"].map(sha256);
        let mine = bearer(&grants.admit(PODS[0], &[one])).unwrap();
        let theirs = bearer(&grants.admit(PODS[1], &[two])).unwrap();
        assert!(grants.opens(&mine, &one) && !grants.opens(&mine, &two));
        assert_eq!(bearer(&grants.admit(PODS[0], &[two])), Some(mine.clone()));
        assert!(grants.opens(&mine, &two) && !grants.opens(&mine, &one));
        grants.dismiss(PODS[0]);
        assert!(!grants.knows(&mine) && grants.opens(&theirs, &two));
    }

    #[test]
    fn a_ticket_is_for_one_layer_as_long_as_its_token_opens_it() {
        let grants = Grants::new(&[7; 32]);
        let [one, two] = [b"one".as_slice(), b"two"].map(sha256);
        let mine = bearer(&grants.admit(PODS[0], &[one])).unwrap();
        let ticket = grants.ticket(&mine, &one);
        assert_eq!(grants.admit_ticket(&ticket), Some((mine.hash(), one)));
        assert_eq!(Grants::new(&[8; 32]).admit_ticket(&ticket), None, "another's");
        assert_eq!(grants.admit_ticket(&grants.ticket(&mine, &two)), None, "not granted");
        for byte in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[byte] ^= 1;
            assert_eq!(grants.admit_ticket(&forged), None, "byte {byte}");
        }
        for length in [0, 63, 64, 95] {
            assert_eq!(grants.admit_ticket(&ticket[..length]), None, "{length} bytes");
        }
        grants.dismiss(PODS[0]);
        assert_eq!(grants.admit_ticket(&ticket), None);
    }

    #[test]
    fn a_token_survives_with_its_secret_only() {
        let token = |secret| Grants::new(&[secret; 32]).admit(PODS[0], &[]);
        assert_eq!(token(7), token(7));
        assert_ne!(token(7), token(8));
    }

    #[test]
    fn both_schemes_carry_it() {
        let header = |text: &str| Token::from_authorization(&HeaderValue::from_str(text).unwrap());
        let token = bearer("t0ken").unwrap();
        let pair = STANDARD.encode("tenant:t0ken");
        assert_eq!(header(&format!("basic {pair}")), Some(token));
        for bad in ["", "Bearer", "Basic !", "Basic bm9jb2xvbg==", "Digest x"] {
            assert_eq!(header(bad), None, "{bad}");
        }
        assert_eq!(bearer(&"x".repeat(MAX_AUTHORIZATION_LEN)), None);
    }
}
