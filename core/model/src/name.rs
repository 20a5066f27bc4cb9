//! Names that people choose.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is not a name or not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// Not an RFC 1123 label.
    #[error("expected 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit")]
    Label,
    /// Not a fully qualified host name.
    #[error(
        "expected a host name such as shop.example.com: labels of a-z, 0-9 and '-' joined by '.', at most {} characters, no IP address; other letters in their xn-- form",
        Hostname::MAX
    )]
    Hostname,
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A name of a pod, container or volume: an RFC 1123 label, as Kubernetes asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A host name of an HTTP route: lower-case RFC 1123 labels joined by dots, without a dot at the
/// end. No wildcard, and no IP address: the last label has a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = ParseNameError;
            fn try_from(text: String) -> Result<Self, ParseNameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}
text!(Name);
text!(Hostname);

impl FromStr for Name {
    type Err = ParseNameError;
    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        if is_label(text) { Ok(Self(text.into())) } else { Err(ParseNameError::Label) }
    }
}

impl Hostname {
    /// The most characters: ten less than a name of the DNS may have, so that the record that
    /// proves it ([`HostProof`](crate::HostProof)) has a name.
    pub const MAX: usize = 243;
}

impl FromStr for Hostname {
    type Err = ParseNameError;
    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let lower = text.to_ascii_lowercase();
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        let named = lower.rsplit_once('.').is_some_and(|(_, last)| !is_number(last));
        let valid = lower.len() <= Self::MAX && named && lower.split('.').all(is_label);
        if valid { Ok(Self(lower)) } else { Err(ParseNameError::Hostname) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        for good in ["a", "web-1", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", "../x", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hostnames_have_a_dot_and_ignore_case() {
        assert_eq!("Shop.Example".parse::<Hostname>().unwrap().as_str(), "shop.example");
        assert_eq!("xn--bcher-kva.example".parse::<Hostname>().unwrap().as_str(), "xn--bcher-kva.example");
        for bad in ["localhost", "a..b", ".a.b", "a.b.", "a b.c", "*.a.b", "a.b:80", "bücher.example", "_a.b"]
        {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
        for address in ["192.0.2.1", "1.2", "a.1"] {
            assert!(address.parse::<Hostname>().is_err(), "{address}");
        }
    }
}
