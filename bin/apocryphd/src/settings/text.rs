//! Values that are written as text.

use crate::durations::Span;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, str::FromStr};

/// Something of elsewhere that is read from a text. What is wrong with the text is told at its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<T>(pub(crate) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer).map(Self)
    }
}

fn from_text<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
}

macro_rules! written_as_text {
    ($($name:ty),*) => {
        $(impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        })*
    };
}
written_as_text!(Listener, Ports, Span);

/// Ports, such as `30000-32767`, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports(pub(crate) RangeInclusive<u16>);

/// A text that is not a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected two ports from 1 to 65535, the lower first, such as 30000-32767, or none")]
pub(crate) struct ParsePortsError;

impl FromStr for Ports {
    type Err = ParsePortsError;
    fn from_str(text: &str) -> Result<Self, ParsePortsError> {
        if text == "none" {
            return Ok(Self(RangeInclusive::new(1, 0)));
        }
        let (first, last) = text.split_once('-').ok_or(ParsePortsError)?;
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(ParsePortsError);
        let ports = port(first)?..=port(last)?;
        if ports.is_empty() { Err(ParsePortsError) } else { Ok(Self(ports)) }
    }
}

/// Where to listen, such as `0.0.0.0:8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener(pub(crate) SocketAddr);

/// A text that is not an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an IP address and a port, such as 0.0.0.0:8080 or [::1]:8080")]
pub(crate) struct ParseListenerError;

impl FromStr for Listener {
    type Err = ParseListenerError;
    fn from_str(text: &str) -> Result<Self, ParseListenerError> {
        text.parse().map(Self).map_err(|_| ParseListenerError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_range() {
        assert_eq!("30000-30001".parse(), Ok(Ports(30_000..=30_001)));
        assert!("none".parse::<Ports>().is_ok_and(|ports| ports.0.is_empty()));
        for bad in ["", "1", "0-5", "6-5", "1-65536", "a-b"] {
            assert_eq!(bad.parse::<Ports>(), Err(ParsePortsError), "{bad}");
        }
    }
}
