//! What clients see of the gateways over TLS.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A domain with a certificate of its own making, which its clients trust.
pub(crate) struct Site {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    trusted: CertificateDer<'static>,
}

impl Site {
    /// One for all names right below `domain`, with its files in `folder`.
    pub(crate) fn of(domain: &str, folder: &Path) -> Self {
        let own = rcgen::generate_simple_self_signed(vec![format!("*.{domain}")]).unwrap();
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
        std::fs::write(&certificate, own.cert.pem()).unwrap();
        std::fs::write(&key, own.key_pair.serialize_pem()).unwrap();
        Self { certificate, key, trusted: own.cert.der().clone() }
    }

    /// All that `gateway` answers to a request for `path` of `host`.
    pub(crate) async fn get(&self, gateway: SocketAddr, host: &str, path: &str) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let stream = TcpStream::connect(gateway).await?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}
