//! TLS at the gateway.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    },
    server::TlsStream,
};

/// A certificate with its key, and how it is used: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1. Clones are of
/// the same one, also after it is renewed.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<TlsAcceptor>>);

/// A certificate and key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate chain is not PEM or empty.
    #[error("the TLS certificate is not a PEM file of certificates")]
    Certificate(#[source] pem::Error),
    /// The key is not PEM.
    #[error("the TLS key is not a PEM file of a private key")]
    Key(#[source] pem::Error),
    /// The key does not fit the certificate, or its kind is not supported.
    #[error("the TLS certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
}

impl Tls {
    /// Uses a chain of certificates, the server's own first, with its private key.
    ///
    /// # Errors
    /// Either is not PEM, or they do not fit.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(acceptor(certificates, key)?))))
    }

    /// Uses another chain and key for connections from now on.
    ///
    /// # Errors
    /// As of [`Tls::from_pem`]; the earlier ones are used on.
    pub fn renew(&self, certificates: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let renewed = acceptor(certificates, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// Shakes hands; tells also whether the client chose HTTP/2.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, bool)> {
        let acceptor = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = acceptor.accept(stream).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, http2))
    }
}

fn acceptor(certificates: &[u8], key: &[u8]) -> Result<TlsAcceptor, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::Certificate(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
