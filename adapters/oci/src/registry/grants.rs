//! Who may pull what.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use apocryph_model::Digest;
use apocryph_seal::{EnvelopeError, EnvelopeKey, sha256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest `Authorization` that is looked at, in bytes.
const MAX_AUTHORIZATION_LEN: usize = 1024;

/// A tenant's secret: sent as a bearer token, or as the password of any user. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

/// Why no token could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system gives no randomness for a token")]
pub struct TokenError;

/// Which token opens which digests. Kept in memory only: a token ends with the process.
#[derive(Default)]
pub struct Grants {
    /// By the token's hash, so that the time of a look-up tells nothing about a token.
    by_token: RwLock<HashMap<Digest, HashSet<Digest>>>,
}

impl Token {
    /// The text to send.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn generate() -> Result<Self, TokenError> {
        let random = EnvelopeKey::generate().map_err(|_: EnvelopeError| TokenError)?;
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(random.expose()))))
    }

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

    fn hash(&self) -> Digest {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Grants {
    /// Nobody may pull anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A fresh token that opens `digests`.
    ///
    /// # Errors
    /// [`TokenError`] if the system gives no randomness.
    pub fn grant(&self, digests: impl IntoIterator<Item = Digest>) -> Result<Token, TokenError> {
        let token = Token::generate()?;
        self.write().insert(token.hash(), digests.into_iter().collect());
        Ok(token)
    }

    /// Ends what `token` opens; downloads under way go on.
    pub fn revoke(&self, token: &Token) {
        self.write().remove(&token.hash());
    }

    pub(super) fn knows(&self, token: &Token) -> bool {
        self.read().contains_key(&token.hash())
    }

    pub(super) fn opens(&self, token: &Token, digest: &Digest) -> bool {
        self.read().get(&token.hash()).is_some_and(|digests| digests.contains(digest))
    }

    // A map of plain values is whole whatever a panicking thread left undone.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Digest, HashSet<Digest>>> {
        self.by_token.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Digest, HashSet<Digest>>> {
        self.by_token.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    #[test]
    fn a_token_opens_what_it_was_granted_for() {
        let grants = Grants::new();
        let [mine, theirs] = [b"mine".as_slice(), b"theirs"].map(sha256);
        let token = grants.grant([mine]).unwrap();
        let other = grants.grant([theirs]).unwrap();
        assert!(grants.opens(&token, &mine) && !grants.opens(&token, &theirs));
        grants.revoke(&token);
        assert!(!grants.opens(&token, &mine) && !grants.knows(&token));
        assert!(grants.opens(&other, &theirs));
    }

    #[test]
    fn both_schemes_carry_it() {
        let token = Token::generate().unwrap();
        let bearer = header(&format!("Bearer {}", token.expose()));
        assert_eq!(Token::from_authorization(&bearer), Some(token.clone()));
        let pair = STANDARD.encode(format!("tenant:{}", token.expose()));
        assert_eq!(Token::from_authorization(&header(&format!("basic {pair}"))), Some(token));
        for bad in ["", "Bearer", "Basic !", "Basic bm9jb2xvbg==", "Digest x"] {
            assert_eq!(Token::from_authorization(&header(bad)), None, "{bad}");
        }
        let long = format!("Bearer {}", "x".repeat(MAX_AUTHORIZATION_LEN));
        assert_eq!(Token::from_authorization(&header(&long)), None);
    }
}
