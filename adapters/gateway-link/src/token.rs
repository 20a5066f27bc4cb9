//! The secret that a daemon and its gateways share.

use apocryph_seal::sha256;
use std::{fs, io, path::Path};
use zeroize::Zeroizing;

/// What both ends of the link have to know.
///
/// The key of the handshake is the SHA-256 of the text `apocryph gateway link token ` and the token,
/// without the white space around it.
#[derive(Clone)]
pub struct Token(Zeroizing<[u8; 32]>);

/// Why a token cannot be used. It is never shown.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("it cannot be read: {0}")]
    File(#[from] io::Error),
    /// It could be guessed.
    #[error("it is shorter than {} characters", Token::SHORTEST)]
    Short,
}

impl Token {
    /// The least number of characters.
    pub const SHORTEST: usize = 32;

    /// Reads the token from a file.
    ///
    /// # Errors
    /// The file cannot be read, or holds too little.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        Self::from_text(&Zeroizing::new(fs::read_to_string(path)?))
    }

    /// Takes a token as it is written.
    ///
    /// # Errors
    /// It is too short.
    pub fn from_text(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.chars().count() < Self::SHORTEST {
            return Err(TokenError::Short);
        }
        let whole = Zeroizing::new(format!("apocryph gateway link token {text}"));
        Ok(Self(Zeroizing::new(sha256(whole.as_bytes()).0)))
    }

    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_not_part_of_a_token() {
        let token = "0123456789abcdef0123456789abcdef";
        let key = |text: &str| *Token::from_text(text).unwrap().key();
        assert_eq!(key(token), key(&format!(" {token}\r\n")));
        assert_ne!(key(token), key(&token.replace('f', "e")));
        assert!(matches!(Token::from_text(&token[1..]), Err(TokenError::Short)));
    }
}
