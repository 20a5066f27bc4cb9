//! `collect`: the manifest becomes a pod with its secrets and resolved images.

use crate::{Error, Evidence, ImageError, Publisher, ResolvedImage, Step};
use apocryph_model::{
    Container, ContainerSpec, EnvValue, Fault, InvalidPod, Manifest, PodSpec, SecretSource, Volume,
    VolumeKind, VolumeSource, VolumeSpec, Who,
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    path::Path,
};

/// Where secrets are read from.
pub trait Secrets: Send + Sync {
    /// The contents of a file; not more than `at_most` bytes and one.
    fn file(&self, path: &Path, at_most: u64) -> io::Result<Vec<u8>>;

    /// An environment variable of the command, if it is set.
    fn variable(&self, name: &str) -> Option<Vec<u8>>;
}

/// Why a manifest did not become a pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// A secret's file cannot be read.
    #[error("{place}: the secret's file {path} cannot be read: {problem}")]
    SecretFile {
        /// Where the manifest names it.
        place: String,
        /// The file.
        path: String,
        /// What happened.
        problem: String,
    },
    /// A secret's variable is not set.
    #[error("{place}: the environment variable {variable} is not set: set it and repeat")]
    SecretVariable {
        /// Where the manifest names it.
        place: String,
        /// The variable.
        variable: String,
    },
    /// A secret is larger than any key or certificate.
    #[error("{place}: the secret is larger than {} bytes", Publisher::MAX_SECRET)]
    SecretTooLarge {
        /// Where the manifest names it.
        place: String,
    },
    /// A variable of a container must be text.
    #[error("{place}: the secret is not UTF-8 text: mount it from a secret volume instead")]
    SecretNotText {
        /// Where the manifest names it.
        place: String,
    },
    /// An image cannot be had.
    #[error("containers[{index}].image: {problem}")]
    Image {
        /// Which container.
        index: usize,
        /// Why.
        problem: ImageError,
    },
    /// The pod breaks a bound.
    #[error(transparent)]
    Invalid(#[from] InvalidPod),
}

impl CollectError {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Image { problem: ImageError::Unavailable { .. }, .. } => {
                Fault::passing(Who::Network, "image-unavailable", self.to_string())
            }
            Self::Image { .. } => Fault::lasting(Who::Publisher, "image", self.to_string()),
            Self::Invalid(_) => Fault::lasting(Who::Publisher, "manifest", self.to_string()),
            _ => Fault::lasting(Who::Publisher, "secret", self.to_string()),
        }
    }
}

/// A pod that is ready to be priced and encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Collected {
    /// The pod, its images named by their plain digests.
    pub spec: PodSpec,
    /// The image of each container, in their order.
    pub images: Vec<ResolvedImage>,
}

impl Publisher {
    /// The largest secret, in bytes.
    pub const MAX_SECRET: u64 = 1 << 20;

    /// Reads the secrets, resolves the images and checks the pod against its bounds. Relative
    /// paths are relative to `folder`.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn collect(&self, manifest: &Manifest, folder: &Path) -> Result<Collected, Error> {
        self.reporter.begun(Step::Collect);
        let images = self.resolve(&manifest.containers, folder).await?;
        let reading = Reading { secrets: &*self.secrets, folder };
        let spec = reading.pod(manifest, &images)?;
        spec.validate().map_err(CollectError::from)?;
        let evidence = images.iter().map(|image| Evidence::Digest(image.digest)).collect();
        self.reporter.done(Step::Collect, evidence);
        Ok(Collected { spec, images })
    }

    /// Resolves each reference once.
    async fn resolve(
        &self,
        containers: &[Container],
        folder: &Path,
    ) -> Result<Vec<ResolvedImage>, CollectError> {
        let mut known = BTreeMap::new();
        let mut images = Vec::with_capacity(containers.len());
        for (index, container) in containers.iter().enumerate() {
            let image = match known.entry(&container.image) {
                Entry::Occupied(earlier) => earlier.into_mut(),
                Entry::Vacant(place) => {
                    let found = self.images.resolve(&container.image, folder).await;
                    place.insert(found.map_err(|problem| CollectError::Image { index, problem })?)
                }
            };
            images.push(image.clone());
        }
        Ok(images)
    }
}

/// Reads what a manifest only names.
struct Reading<'a> {
    secrets: &'a dyn Secrets,
    folder: &'a Path,
}

impl Reading<'_> {
    fn pod(&self, manifest: &Manifest, images: &[ResolvedImage]) -> Result<PodSpec, CollectError> {
        let containers = manifest.containers.iter().zip(images);
        Ok(PodSpec {
            name: manifest.name.clone(),
            containers: containers.map(|(c, image)| self.container(c, image)).collect::<Result<_, _>>()?,
            volumes: manifest.volumes.iter().map(|v| self.volume(v)).collect::<Result<_, _>>()?,
            scale: manifest.scale,
        })
    }

    fn container(&self, c: &Container, image: &ResolvedImage) -> Result<ContainerSpec, CollectError> {
        let value = |(name, value): (&String, &EnvValue)| {
            let place = format!("container {}, env {name}", c.name);
            self.env(&place, value).map(|value| (name.clone(), value))
        };
        Ok(ContainerSpec {
            name: c.name.clone(),
            image: image.digest,
            entrypoint: c.entrypoint.clone(),
            command: c.command.clone(),
            working_dir: c.working_dir.clone(),
            user: c.user.clone(),
            env: c.env.iter().map(value).collect::<Result<_, _>>()?,
            ports: c.ports.clone(),
            mounts: c.mounts.clone(),
            resources: c.resources,
        })
    }

    fn volume(&self, volume: &Volume) -> Result<VolumeSpec, CollectError> {
        let (kind, files) = match &volume.source {
            VolumeSource::Empty(kind) => (*kind, BTreeMap::new()),
            VolumeSource::Secret(files) => (VolumeKind::Secret, self.files(volume, files)?),
        };
        Ok(VolumeSpec { name: volume.name.clone(), kind, files })
    }

    fn files(
        &self,
        volume: &Volume,
        files: &BTreeMap<String, SecretSource>,
    ) -> Result<BTreeMap<String, Vec<u8>>, CollectError> {
        let read = |(file, source): (&String, &SecretSource)| {
            let place = format!("volume {}, file {file}", volume.name);
            self.secret(&place, source).map(|content| (file.clone(), content))
        };
        files.iter().map(read).collect()
    }

    fn env(&self, place: &str, value: &EnvValue) -> Result<String, CollectError> {
        match value {
            EnvValue::Literal(text) => Ok(text.clone()),
            EnvValue::Secret(source) => String::from_utf8(self.secret(place, source)?)
                .map_err(|_| CollectError::SecretNotText { place: place.into() }),
        }
    }

    fn secret(&self, place: &str, source: &SecretSource) -> Result<Vec<u8>, CollectError> {
        let content = match source {
            SecretSource::Literal(text) => text.clone().into_bytes(),
            SecretSource::Env(variable) => self.variable(place, variable)?,
            SecretSource::File(path) => self.file(place, &self.folder.join(path))?,
        };
        if content.len() as u64 > Publisher::MAX_SECRET {
            return Err(CollectError::SecretTooLarge { place: place.into() });
        }
        Ok(content)
    }

    fn variable(&self, place: &str, variable: &str) -> Result<Vec<u8>, CollectError> {
        self.secrets
            .variable(variable)
            .ok_or_else(|| CollectError::SecretVariable { place: place.into(), variable: variable.into() })
    }

    fn file(&self, place: &str, path: &Path) -> Result<Vec<u8>, CollectError> {
        self.secrets.file(path, Publisher::MAX_SECRET).map_err(|e| CollectError::SecretFile {
            place: place.into(),
            path: path.display().to_string(),
            problem: e.to_string(),
        })
    }
}
