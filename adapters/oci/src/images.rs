//! The publisher's images, by this crate's sources and encryption.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apocryph_publisher::{EncryptedImage, ImageError, Images, ResolvedImage};
use apocryph_seal::DeploymentKey;
use async_trait::async_trait;

use crate::encrypt::encrypt_image;
use crate::image::Image;
use crate::reference::Reference;
use crate::source::{self, Places, SourceError};

/// Where Docker, if it is installed, keeps what is its.
#[derive(Debug, Clone)]
pub struct DockerPlaces {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The file in which `docker login` keeps credentials.
    pub config: PathBuf,
}

/// Finds images where skopeo would, and encrypts them.
pub struct OciImages {
    places: Places,
    /// What was resolved, by folder and reference, so that encrypting need not look again.
    resolved: Mutex<HashMap<(PathBuf, String), Arc<Image>>>,
}

impl DockerPlaces {
    /// As Docker's own command line finds them: `DOCKER_HOST`, `DOCKER_CONFIG`, and defaults.
    #[must_use]
    pub fn from_environment() -> Self {
        let host = env::var("DOCKER_HOST").ok();
        let socket = host.as_deref().and_then(|host| host.strip_prefix("unix://"));
        let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".docker");
        Self {
            socket: socket.unwrap_or("/var/run/docker.sock").into(),
            config: folder.unwrap_or_else(home).join("config.json"),
        }
    }
}

impl OciImages {
    /// Images by Docker's places; what must be stored on the way goes to the folder `scratch`,
    /// and is removed with this.
    #[must_use]
    pub fn new(docker: DockerPlaces, scratch: PathBuf) -> Self {
        Self { places: Places { docker, scratch }, resolved: Mutex::default() }
    }

    async fn image(&self, reference: &str, folder: &Path) -> Result<Arc<Image>, SourceError> {
        let parsed = Reference::parse(reference, folder)?;
        let source = source::open(parsed, &self.places).await?;
        let image = Arc::new(Image::resolve(source).await?);
        let key = (folder.to_owned(), reference.to_owned());
        self.known().insert(key, image.clone());
        Ok(image)
    }

    /// The image that was resolved, or, in another process than that, the same one found again.
    async fn image_again(&self, image: &ResolvedImage, folder: &Path) -> Result<Arc<Image>, SourceError> {
        let key = (folder.to_owned(), image.reference.clone());
        let known = self.known().get(&key).cloned();
        if let Some(known) = known.filter(|known| known.digest == image.digest) {
            return Ok(known);
        }
        let found = self.image(&image.reference, folder).await?;
        if found.digest == image.digest { Ok(found) } else { Err(SourceError::Changed(found.digest)) }
    }

    // A map of whole entries is whole whatever a panicking thread left undone.
    fn known(&self) -> MutexGuard<'_, HashMap<(PathBuf, String), Arc<Image>>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Images for OciImages {
    async fn resolve(&self, reference: &str, folder: &Path) -> Result<ResolvedImage, ImageError> {
        let image = self.image(reference, folder).await.map_err(|error| error.of(reference))?;
        Ok(ResolvedImage { reference: reference.to_owned(), digest: image.digest, size: image.size() })
    }

    async fn encrypt(
        &self,
        image: &ResolvedImage,
        folder: &Path,
        key: &[u8],
        out: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<EncryptedImage, ImageError> {
        let encrypted = async {
            let key = DeploymentKey::from_pkcs8(key).and_then(|key| key.public())?;
            let found = self.image_again(image, folder).await?;
            encrypt_image(&found, Arc::new(key), out, progress).await
        };
        encrypted.await.map_err(|error: SourceError| error.of(&image.reference))
    }
}
