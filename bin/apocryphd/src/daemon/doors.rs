//! Where requests arrive.

use super::certificate::Certificate;
use crate::{
    failure::Failure,
    settings::{Settings, TlsSettings},
};
use apocryph_gateway::Gateway;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// The listeners of a gateway, which nobody accepts on yet.
pub(crate) struct Doors {
    plain: TcpListener,
    tls: Option<(TcpListener, Certificate)>,
}

impl Doors {
    /// Those of the daemon.
    pub(crate) async fn of(settings: &Settings) -> Result<Self, Failure> {
        Self::open(settings.file.listen.gateway.0, settings.tls.as_ref()).await
    }

    /// Listens, and reads certificate and key.
    pub(crate) async fn open(plain: SocketAddr, tls: Option<&TlsSettings>) -> Result<Self, Failure> {
        let plain = listen(plain, "listen.gateway").await?;
        let Some(tls) = tls else { return Ok(Self { plain, tls: None }) };
        let certificate = Certificate::read(tls)?;
        let listener = listen(tls.listen, "listen.gateway-tls").await?;
        Ok(Self { plain, tls: Some((listener, certificate)) })
    }

    /// Accepts.
    pub(crate) fn serve(self, gateway: &Gateway) {
        gateway.listen(self.plain, None);
        if let Some((listener, certificate)) = self.tls {
            gateway.listen(listener, Some(certificate.tls.clone()));
            // Until the process ends.
            tokio::spawn(certificate.keep_fresh());
        }
    }
}

/// Listens; `setting` says where.
pub(crate) async fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|problem| Failure::Listen { address: address.to_string(), setting, problem })
}

/// Where it listens, with the port that the system chose.
pub(crate) fn address(listener: &TcpListener, setting: &'static str) -> Result<SocketAddr, Failure> {
    let address = listener.local_addr();
    address.map_err(|problem| Failure::Listen { address: String::new(), setting, problem })
}
