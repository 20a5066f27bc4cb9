//! Fixed-size identifiers: 20-byte accounts and 32-byte hashes.

use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Keccak256};
use std::{fmt, str::FromStr};

/// Keccak-256 of the concatenation of `parts`, as Ethereum computes it.
pub fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A text that is not the hex form of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseHexError {
    /// Not `0x` and the right number of hex digits.
    #[error("expected 0x and {digits} hex digits")]
    Form {
        /// How many digits the identifier has.
        digits: usize,
    },
    /// Mixed-case address whose letter case is not the checksum of EIP-55.
    #[error("the address's upper and lower case do not match its checksum (EIP-55): a mistyped digit?")]
    Checksum,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseHexError> {
    let form = ParseHexError::Form { digits: 2 * N };
    let digits = text.strip_prefix("0x").ok_or(form.clone())?;
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| form)?;
    Ok(bytes)
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $size]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseHexError;
            fn try_from(bytes: &[u8]) -> Result<Self, ParseHexError> {
                let form = ParseHexError::Form { digits: 2 * $size };
                bytes.try_into().map(Self).map_err(|_| form)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseHexError;
            fn try_from(text: String) -> Result<Self, ParseHexError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

macro_rules! hash_identifier {
    ($(#[$doc:meta])* $name:ident) => {
        identifier!($(#[$doc])* $name, 32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseHexError;
            fn from_str(text: &str) -> Result<Self, ParseHexError> {
                parse_hex(text).map(Self)
            }
        }

        impl $name {
            /// The first eight hex digits, for people and for names of local objects.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }
    };
}

identifier!(
    /// An account or contract on an EVM chain. Displayed with the checksum of EIP-55.
    Address,
    20
);

hash_identifier!(
    /// Any 32-byte hash that has no more particular type.
    Hash32
);

hash_identifier!(
    /// A pod as its publisher names it: Keccak-256 of the pod's name.
    PodId
);

hash_identifier!(
    /// A payment channel: Keccak-256 of `abi.encode(publisher, provider, podId)`. A pod is known
    /// at its provider by the id of the channel that pays for it.
    ChannelId
);

impl PodId {
    /// The id of the publisher's pod called `name`.
    pub fn of(name: &crate::Name) -> Self {
        Self(keccak256(&[name.as_str().as_bytes()]))
    }
}

impl ChannelId {
    /// The channel between these two for this pod, whatever its epoch.
    pub fn of(publisher: Address, provider: Address, pod: PodId) -> Self {
        const PAD: [u8; 12] = [0; 12];
        Self(keccak256(&[&PAD, &publisher.0, &PAD, &provider.0, &pod.0]))
    }
}

impl Address {
    /// The account that nobody holds: stands for "none" in contracts.
    pub const ZERO: Self = Self([0; 20]);
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.0);
        let hash = hex::encode(keccak256(&[digits.as_bytes()]));
        f.write_str("0x")?;
        for (digit, check) in digits.chars().zip(hash.chars()) {
            let upper = check >= '8';
            write!(f, "{}", if upper { digit.to_ascii_uppercase() } else { digit })?;
        }
        Ok(())
    }
}

impl FromStr for Address {
    type Err = ParseHexError;
    fn from_str(text: &str) -> Result<Self, ParseHexError> {
        let address = parse_hex(text).map(Self)?;
        let mixed = text[2..].chars().any(|c| c.is_ascii_uppercase())
            && text[2..].chars().any(|c| c.is_ascii_lowercase());
        if mixed && address.to_string() != text {
            return Err(ParseHexError::Checksum);
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIP55: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

    #[test]
    fn addresses_carry_their_checksum() {
        assert_eq!(EIP55.parse::<Address>().unwrap().to_string(), EIP55);
        assert_eq!(EIP55.to_lowercase().parse::<Address>().unwrap().to_string(), EIP55);
        let mistyped = EIP55.replace("5aAeb", "5aaeb");
        assert_eq!(mistyped.parse::<Address>(), Err(ParseHexError::Checksum));
    }

    #[test]
    fn identifiers_refuse_other_lengths() {
        assert!("0x00".parse::<PodId>().is_err());
        assert!("00".repeat(32).parse::<PodId>().is_err());
        assert!("0xé".parse::<Address>().is_err());
    }

    #[test]
    fn keccak_of_nothing_is_ethereums() {
        let expected = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(Hash32(keccak256(&[])).to_string(), expected);
    }
}
