//! Settings that go together: all of them are set, or none.

use super::text::Listener;
use std::{net::SocketAddr, path::PathBuf};

/// How processes of the daemon's own connect that are elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct LinkSettings {
    /// Where.
    pub(crate) listen: SocketAddr,
    /// The file with what is shared with them.
    pub(crate) token: PathBuf,
}

/// How a gateway speaks TLS.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    /// Where.
    pub(crate) listen: SocketAddr,
    /// The chain of certificates, PEM.
    pub(crate) certificate: PathBuf,
    /// Its key, PEM.
    pub(crate) key: PathBuf,
}

/// Some of what belongs together is missing.
#[derive(Debug)]
pub(crate) struct Incomplete;

impl LinkSettings {
    /// Both, or none.
    pub(crate) fn of(listen: &Option<Listener>, token: &Option<PathBuf>) -> Result<Option<Self>, Incomplete> {
        match (listen, token) {
            (Some(Listener(listen)), Some(token)) => Ok(Some(Self { listen: *listen, token: token.clone() })),
            (None, None) => Ok(None),
            _ => Err(Incomplete),
        }
    }
}

impl TlsSettings {
    /// All of them, or none.
    pub(crate) fn of(
        listen: &Option<Listener>,
        certificate: &Option<PathBuf>,
        key: &Option<PathBuf>,
    ) -> Result<Option<Self>, Incomplete> {
        match (listen, certificate, key) {
            (Some(Listener(listen)), Some(certificate), Some(key)) => {
                Ok(Some(Self { listen: *listen, certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None, None) => Ok(None),
            _ => Err(Incomplete),
        }
    }
}
