//! The secret that a daemon shares with who connects to it.

use apocryph_seal::sha256;
use std::{fs, io, path::Path};
use zeroize::Zeroizing;

/// Who connects. A token of one says nothing to the other, be it the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A gateway that is a process of its own.
    Gateway,
    /// A reader on a node.
    NodeReader,
}

impl Role {
    /// What both ends bind the handshake to: the protocol that is spoken after it.
    pub(crate) fn prologue(self) -> &'static [u8] {
        match self {
            Self::Gateway => b"apocryph gateway link 1",
            Self::NodeReader => b"apocryph node reader 1",
        }
    }

    fn key_text(self) -> &'static str {
        match self {
            Self::Gateway => "apocryph gateway link token",
            Self::NodeReader => "apocryph node reader token",
        }
    }
}

/// What both ends of a link have to know.
///
/// The key of the handshake is the SHA-256 of a text, a space and the token without the white space
/// around it. The text is `apocryph gateway link token` or `apocryph node reader token`.
#[derive(Clone)]
pub struct Token {
    role: Role,
    key: Zeroizing<[u8; 32]>,
}

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
    pub fn read(path: &Path, role: Role) -> Result<Self, TokenError> {
        Self::from_text(&Zeroizing::new(fs::read_to_string(path)?), role)
    }

    /// Takes a token as it is written.
    ///
    /// # Errors
    /// It is too short.
    pub fn from_text(text: &str, role: Role) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.chars().count() < Self::SHORTEST {
            return Err(TokenError::Short);
        }
        let whole = Zeroizing::new(format!("{} {text}", role.key_text()));
        Ok(Self { role, key: Zeroizing::new(sha256(whole.as_bytes()).0) })
    }

    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_not_part_of_a_token() {
        let token = "0123456789abcdef0123456789abcdef";
        let key = |text: &str| *Token::from_text(text, Role::Gateway).unwrap().key();
        assert_eq!(key(token), key(&format!(" {token}\r\n")));
        assert_ne!(key(token), key(&token.replace('f', "e")));
        assert_ne!(key(token), *Token::from_text(token, Role::NodeReader).unwrap().key());
        assert!(matches!(Token::from_text(&token[1..], Role::Gateway), Err(TokenError::Short)));
    }
}
