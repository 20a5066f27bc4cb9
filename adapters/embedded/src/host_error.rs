//! Failures of the host, and how they are told to publishers.

use std::fmt::Display;
use std::io;

use apocryph_model::{Cause, Fault, Who};
use apocryph_provider::EngineError;

/// The host did not do what it should. The details are the operator's; publishers are told that
/// it is not their fault.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {source}")]
pub struct HostError {
    doing: String,
    source: io::Error,
}

impl HostError {
    pub(crate) fn new(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { doing: doing.into(), source: source.into() }
    }

    /// What publishers are told. Logs the details.
    pub(crate) fn to_fault(&self) -> Fault {
        tracing::error!(error = %self, "the host failed");
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Fault::of(Cause::DiskFull, "the provider's disk is full: try again later or elsewhere")
            }
            io::ErrorKind::OutOfMemory => {
                Fault::of(Cause::MemoryFull, "the provider is out of memory: try again later")
            }
            _ => Fault::passing(
                Who::Provider,
                "host-failed",
                "the provider's host failed; its operator finds the details in its log",
            ),
        }
    }
}

impl From<HostError> for EngineError {
    fn from(error: HostError) -> Self {
        Self::Host(error.to_fault())
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Display) -> Result<T, HostError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T, HostError> {
        self.map_err(|error| HostError::new(what.to_string(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_see_no_detail() {
        let error = HostError::new("write /var/lib/x", io::Error::from_raw_os_error(28));
        let EngineError::Host(fault) = EngineError::from(error) else { panic!("not the host's") };
        assert_eq!((fault.who, fault.code.as_str(), fault.retry), (Who::Provider, "disk-full", true));
        assert!(!fault.text.contains("/var"));
    }
}
