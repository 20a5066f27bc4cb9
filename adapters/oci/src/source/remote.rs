//! Images in registries, with the credentials that `docker login` left.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use apocryph_model::Digest;
use async_trait::async_trait;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use futures::TryStreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use super::{BlobReader, Source, SourceError, in_full};
use crate::verified::Damage;
use crate::wire::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry may be silent.
const STALL: Duration = Duration::from_secs(60);
/// How long a manifest may take in all.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Where `docker login` keeps the credentials of Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// An image in a registry.
pub(super) struct Remote {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

impl Remote {
    /// Reads the reference and finds the credentials; nothing is sent yet but for them.
    pub(super) async fn connect(name: &str, config: &Path) -> Result<Self, SourceError> {
        let reference: Reference =
            name.parse().map_err(|error| SourceError::Reference(format!("{error}")))?;
        let auth = credentials(reference.registry(), config).await?;
        let config = ClientConfig {
            protocol: protocol_for(reference.resolve_registry()),
            read_timeout: Some(STALL),
            connect_timeout: Some(CONNECT_TIMEOUT),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config)?;
        client.auth(&reference, &auth, RegistryOperation::Pull).await?;
        Ok(Self { client, reference, auth })
    }

    async fn pull_manifest(&self, reference: &Reference) -> Result<Vec<u8>, SourceError> {
        let accepted = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];
        let pull = self.client.pull_manifest_raw(reference, &self.auth, &accepted);
        let (bytes, _) = timeout(MANIFEST_TIMEOUT, pull)
            .await
            .map_err(|_| SourceError::Unavailable("the manifest takes too long".to_owned()))??;
        Ok(bytes.into())
    }
}

#[async_trait]
impl Source for Remote {
    async fn root(&self) -> Result<Vec<u8>, SourceError> {
        self.pull_manifest(&self.reference).await
    }

    async fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let reference = self.reference.clone_with_digest(entry.digest.to_string());
        self.pull_manifest(&reference).await
    }

    async fn blob(&self, digest: Digest, size: u64) -> Result<BlobReader, SourceError> {
        let descriptor = OciDescriptor {
            digest: digest.to_string(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let stream = self.client.pull_blob_stream(&self.reference, &descriptor).await?;
        Ok(Box::new(StreamReader::new(stream.stream.map_err(damage_or_same))))
    }
}

/// Registries on this very machine speak plain HTTP, as for Docker.
fn protocol_for(registry: &str) -> ClientProtocol {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        ClientProtocol::Http
    } else {
        ClientProtocol::Https
    }
}

async fn credentials(registry: &str, config: &Path) -> Result<RegistryAuth, SourceError> {
    let server = if registry == "docker.io" { DOCKER_HUB } else { registry }.to_owned();
    let config = match std::fs::File::open(config) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(error) => return Err(SourceError::disk(config, error)),
    };
    // A credential helper is a program that is waited for.
    let found =
        tokio::task::spawn_blocking(move || docker_credential::get_credential_from_reader(config, &server))
            .await;
    match found.map_err(|error| SourceError::Unavailable(error.to_string()))? {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(SourceError::Unavailable(
            "the credentials are an identity token, which is not supported: log in with a password \
             or an access token"
                .to_owned(),
        )),
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            // Helpers fail when they know no such registry.
            | CredentialRetrievalError::HelperFailure { .. },
        ) => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(SourceError::Unavailable(format!("the docker configuration: {error}"))),
    }
}

/// The client's own verification, in this crate's terms.
fn damage_or_same(error: io::Error) -> io::Error {
    let digests = match error.get_ref().and_then(|inner| inner.downcast_ref::<DigestError>()) {
        Some(DigestError::VerificationError { expected, actual }) => {
            expected.parse().ok().zip(actual.parse().ok())
        }
        _ => None,
    };
    match digests {
        Some((expected, found)) => Damage::Digest { expected, found }.into(),
        None => error,
    }
}

impl From<OciDistributionError> for SourceError {
    fn from(error: OciDistributionError) -> Self {
        use OciDistributionError as E;
        match &error {
            E::ImageManifestNotFoundError(_) | E::ServerError { code: 404, .. } => Self::Absent,
            E::UnauthorizedError { .. }
            | E::AuthenticationFailure(_)
            | E::ServerError { code: 401 | 403, .. } => Self::Unauthorised,
            E::RegistryError { envelope, .. } => {
                let code = envelope.errors.first().map(|error| &error.code);
                match code {
                    Some(
                        OciErrorCode::ManifestUnknown
                        | OciErrorCode::NameUnknown
                        | OciErrorCode::NotFound
                        | OciErrorCode::BlobUnknown,
                    ) => Self::Absent,
                    Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => Self::Unauthorised,
                    _ => Self::Unavailable(in_full(&error)),
                }
            }
            E::DigestError(DigestError::VerificationError { .. }) => Self::Malformed(in_full(&error)),
            _ => Self::Unavailable(in_full(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for registry in ["localhost:5000", "127.0.0.1:80", "[::1]:5000", "localhost"] {
            assert!(matches!(protocol_for(registry), ClientProtocol::Http), "{registry}");
        }
        for registry in ["index.docker.io", "10.0.0.1:5000", "localhost.example.com"] {
            assert!(matches!(protocol_for(registry), ClientProtocol::Https), "{registry}");
        }
    }
}
