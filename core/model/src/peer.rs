//! Where a peer of the network is found.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is not a peer's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a multiaddr that ends with the peer's id, such as /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...")]
pub struct ParsePeerError;

/// A libp2p peer id in its text form. The network adapter checks that it is a key's hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(String);

/// A multiaddr that ends with `/p2p/<peer id>`: where to dial a peer and whom to expect there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerAddress(String);

impl PeerId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PeerAddress {
    const MAX_LENGTH: usize = 256;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who is expected there.
    pub fn peer(&self) -> PeerId {
        let id = self.0.rsplit('/').next().unwrap_or_default();
        PeerId(id.into())
    }
}

impl FromStr for PeerId {
    type Err = ParsePeerError;
    fn from_str(text: &str) -> Result<Self, ParsePeerError> {
        let base58 = |b: u8| b.is_ascii_alphanumeric() && !b"0OIl".contains(&b);
        let valid = (40..=64).contains(&text.len()) && text.bytes().all(base58);
        if valid { Ok(Self(text.into())) } else { Err(ParsePeerError) }
    }
}

impl FromStr for PeerAddress {
    type Err = ParsePeerError;
    fn from_str(text: &str) -> Result<Self, ParsePeerError> {
        let (transport, id) = text.rsplit_once("/p2p/").ok_or(ParsePeerError)?;
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.len() > Self::MAX_LENGTH || !transport.starts_with('/') || !printable {
            return Err(ParsePeerError);
        }
        id.parse::<PeerId>().map(|_| Self(text.into()))
    }
}

macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = ParsePeerError;
            fn try_from(text: String) -> Result<Self, ParsePeerError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}
text!(PeerId);
text!(PeerAddress);

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

    #[test]
    fn an_address_names_its_peer() {
        let address: PeerAddress = format!("/ip4/127.0.0.1/tcp/4001/p2p/{ID}").parse().unwrap();
        assert_eq!(address.peer(), ID.parse().unwrap());
    }

    #[test]
    fn an_address_without_a_peer_is_refused() {
        for bad in ["/ip4/127.0.0.1/tcp/4001", "/p2p/x", "", &format!("x/p2p/{ID}")] {
            assert!(bad.parse::<PeerAddress>().is_err(), "{bad}");
        }
    }
}
