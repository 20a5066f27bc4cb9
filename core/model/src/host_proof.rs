//! How the owner of a host name says in the DNS whose pod may have it, and at which provider.
//!
//! A TXT record at an underscored name of its own below the host name (RFC 8552), so that the host
//! name itself can be an alias (CNAME) of the provider's. One record for each account and provider:
//!
//! ```text
//! _apocryph.shop.example.com.  TXT  "publisher=0x…; provider=0x…"
//! ```
//!
//! It speaks for this one host name, not for those below it, and says nothing else: a record with
//! any other word is no proof, so that what later versions may restrict by it is not overlooked.

use crate::{Address, Hostname};
use serde::Serialize;
use std::{fmt, str::FromStr};

/// That a publisher's pods may have a host name at a provider, as a TXT record says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HostProof {
    /// The publisher's account.
    pub publisher: Address,
    /// The provider's account: what is proved to one is not to another.
    pub provider: Address,
}

/// A text that is not a [`HostProof`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected publisher=0x…; provider=0x…")]
pub struct ParseHostProofError;

/// Why the DNS did not say whose a host name is: unknown, which is never "nobody's".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// Nothing was answered in time.
    #[error("no DNS server answers in time")]
    Silent,
    /// What was answered says nothing about the name.
    #[error("the DNS answers: {0}")]
    Failed(String),
}

impl HostProof {
    /// Where the records of a host name are.
    pub fn record_name(host: &Hostname) -> String {
        format!("_apocryph.{host}")
    }

    /// What the owner of a host name has to do, for people.
    pub fn advice(&self, host: &Hostname) -> String {
        format!("set the TXT record {} to \"{self}\"", Self::record_name(host))
    }
}

impl fmt::Display for HostProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "publisher={}; provider={}", self.publisher, self.provider)
    }
}

impl FromStr for HostProof {
    type Err = ParseHostProofError;
    fn from_str(text: &str) -> Result<Self, ParseHostProofError> {
        let (mut publisher, mut provider) = (None, None);
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (tag, value) = part.split_once('=').ok_or(ParseHostProofError)?;
            let place = match tag.trim_end() {
                "publisher" => &mut publisher,
                "provider" => &mut provider,
                _ => return Err(ParseHostProofError),
            };
            let account: Address = value.trim_start().parse().map_err(|_| ParseHostProofError)?;
            if place.replace(account).is_some() {
                return Err(ParseHostProofError);
            }
        }
        let both = publisher.zip(provider).ok_or(ParseHostProofError)?;
        Ok(Self { publisher: both.0, provider: both.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROOF: HostProof = HostProof { publisher: Address([0xab; 20]), provider: Address([0xcd; 20]) };

    fn hex(byte: &str) -> String {
        format!("0x{}", byte.repeat(20))
    }

    #[test]
    fn a_record_says_who_and_where_in_any_order_and_spacing() {
        let (publisher, provider) = (hex("ab"), hex("cd"));
        for text in [
            format!("publisher={publisher}; provider={provider}"),
            format!(" provider = {provider};publisher= {publisher} ;"),
            PROOF.to_string(),
        ] {
            assert_eq!(text.parse(), Ok(PROOF), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_in_a_record_makes_it_no_proof() {
        let (publisher, provider) = (hex("ab"), hex("cd"));
        for text in [
            String::new(),
            format!("publisher={publisher}"),
            format!("provider={provider}"),
            format!("publisher={publisher}; publisher={publisher}; provider={provider}"),
            format!("publisher={publisher}; provider={provider}; until=2030"),
            format!("publisher={publisher} provider={provider}"),
            format!("PUBLISHER={publisher}; provider={provider}"),
            format!("publisher={publisher}; provider=*"),
            format!("publisher={publisher}00; provider={provider}"),
            // Mistyped, as its checksum shows (EIP-55).
            format!("publisher={publisher}; provider=0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ] {
            assert_eq!(text.parse::<HostProof>(), Err(ParseHostProofError), "{text}");
        }
    }

    #[test]
    fn the_longest_host_name_has_a_record() {
        let label = "x".repeat(59);
        let host: Hostname = [&*label, &label, &label, &label, "exa"].join(".").parse().unwrap();
        assert_eq!(HostProof::record_name(&host).len(), 253, "as long as a name of the DNS may be");
        assert!(format!("x{host}").parse::<Hostname>().is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_refused_not_fatal(text: String) {
            prop_assert!(text.parse::<HostProof>().is_err());
        }

        #[test]
        fn what_is_written_is_read(publisher: [u8; 20], provider: [u8; 20]) {
            let proof = HostProof { publisher: Address(publisher), provider: Address(provider) };
            prop_assert_eq!(proof.to_string().parse(), Ok(proof));
        }
    }
}
