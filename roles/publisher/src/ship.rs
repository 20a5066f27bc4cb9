//! `ship`: images and the pod's spec are encrypted, and the ciphertext is offered to the
//! provider, and to it alone.

use crate::{
    Collected, EncryptedImage, Error, Evidence, ImageError, LinkError, LocalBlob, Publisher, ResolvedImage,
    SealedSpec, SpecKey, Step, Trusted, journal::Journal,
};
use apocryph_model::{ChannelId, Digest, Fault, PodId, PodSpec, ProvisionRequest, Who};
use apocryph_seal::{DeploymentKey, EnvelopeError, EnvelopeKey, KeyError};
use std::{collections::BTreeMap, path::Path};

/// Why nothing was shipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShipError {
    /// An image could not be read or encrypted.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The deployment's image key could not be made or read.
    #[error("the deployment's image key: {0}")]
    Key(#[from] KeyError),
    /// The spec could not be sealed.
    #[error("the pod's spec: {0}")]
    Seal(#[from] EnvelopeError),
    /// The provider would refuse so many layers.
    #[error("the images have {0} blobs, at most {max} are allowed: use images with fewer layers", max = ProvisionRequest::MAX_BLOBS)]
    TooManyBlobs(usize),
}

impl ShipError {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Image(ImageError::Unavailable { .. }) => {
                Fault::passing(Who::Network, "image-unavailable", self.to_string())
            }
            Self::Image(_) => Fault::lasting(Who::Publisher, "image", self.to_string()),
            Self::TooManyBlobs(_) => Fault::lasting(Who::Publisher, "too-many-blobs", self.to_string()),
            Self::Key(_) | Self::Seal(_) => Fault::lasting(Who::Internal, "encryption", self.to_string()),
        }
    }
}

/// The pod's images, encrypted.
pub(crate) struct Encrypted {
    /// By the digest of the plain image.
    images: BTreeMap<Digest, EncryptedImage>,
    /// PKCS #8, DER.
    key: Vec<u8>,
}

impl Encrypted {
    /// The pod with its images named by what they are now.
    fn rename(&self, mut spec: PodSpec) -> PodSpec {
        for container in &mut spec.containers {
            if let Some(image) = self.images.get(&container.image) {
                container.image = image.manifest;
            }
        }
        spec
    }

    /// Every blob once.
    fn blobs(&self) -> Vec<LocalBlob> {
        let all = self.images.values().flat_map(|image| &image.blobs);
        let once: BTreeMap<_, _> = all.map(|blob| (blob.digest, blob.clone())).collect();
        once.into_values().collect()
    }
}

impl Publisher {
    /// Encrypts the images under the deployment's key, which is made at the first time. Begins
    /// the step `ship`; runs beside `open_channel`, for nothing leaves this machine yet.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn encrypt(
        &self,
        collected: &Collected,
        folder: &Path,
        journal: &Journal<'_>,
    ) -> Result<Encrypted, Error> {
        self.reporter.begun(Step::Ship);
        let key = image_key(journal)?;
        let out = self.deployments.images(&collected.spec.name)?;
        let total = collected.distinct().map(|image| image.size).sum();
        let mut before = 0;
        let mut images = BTreeMap::new();
        for image in collected.distinct() {
            let progress = |done| self.reporter.bytes(Step::Ship, before + done, total);
            let encrypted = self.images.encrypt(image, folder, &key, &out, &progress).await;
            images.insert(image.digest, encrypted.map_err(ShipError::from)?);
            before += image.size;
        }
        Ok(Encrypted { images, key })
    }

    /// Seals the spec and offers all ciphertext to the provider, whose evidence was accepted.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn ship(
        &self,
        trusted: &Trusted,
        channel: ChannelId,
        collected: &Collected,
        encrypted: Encrypted,
        journal: &Journal<'_>,
    ) -> Result<ProvisionRequest, Error> {
        let spec = encrypted.rename(collected.spec.clone());
        let (envelope, sealed) = self.seal(channel, &spec, journal)?;
        let mut blobs = encrypted.blobs();
        if blobs.len() > ProvisionRequest::MAX_BLOBS {
            return Err(ShipError::TooManyBlobs(blobs.len()).into());
        }
        self.deployments.keep_only(&spec.name, &blobs)?;
        blobs.insert(0, envelope);
        let peer = trusted.link().peer();
        let mut published = self.network.publish(&blobs, &peer).await?.into_iter();
        let spec_blob = published.next().ok_or_else(nothing_published)?;
        let bytes = blobs.iter().map(|blob| blob.size).sum();
        self.reporter.done(Step::Ship, vec![Evidence::Digest(sealed.digest), Evidence::Bytes(bytes)]);
        Ok(ProvisionRequest {
            pod: PodId::of(&spec.name),
            terms: journal.now().terms,
            spec: spec_blob,
            spec_key: sealed.key.expose(),
            image_key: encrypted.key,
            blobs: published.collect(),
            public: false,
            sources: vec![],
        })
    }

    /// The sealed spec: the one that was shipped last where nothing has changed.
    fn seal(
        &self,
        channel: ChannelId,
        spec: &PodSpec,
        journal: &Journal<'_>,
    ) -> Result<(LocalBlob, SealedSpec), Error> {
        let json = spec.to_json();
        if let Some(earlier) = self.unchanged(channel, &json, journal)? {
            return Ok(earlier);
        }
        let key = EnvelopeKey::generate().map_err(ShipError::from)?;
        let envelope = key.seal(&json, &channel.0).map_err(ShipError::from)?;
        let blob = self.deployments.keep_spec(&spec.name, &envelope)?;
        let sealed = SealedSpec { digest: blob.digest, key: SpecKey::new(*key.expose()) };
        journal.write(|deployment| deployment.spec = Some(sealed.clone()))?;
        Ok((blob, sealed))
    }

    fn unchanged(
        &self,
        channel: ChannelId,
        json: &[u8],
        journal: &Journal<'_>,
    ) -> Result<Option<(LocalBlob, SealedSpec)>, Error> {
        let deployment = journal.now();
        let kept = self.deployments.spec(&deployment.name)?;
        let Some((sealed, (blob, envelope))) = deployment.spec.zip(kept) else { return Ok(None) };
        let opened = EnvelopeKey::from_bytes(sealed.key.expose()).open(&envelope, &channel.0);
        let same = opened.is_ok_and(|opened| *opened == json);
        Ok(same.then_some((blob, sealed)))
    }
}

impl Collected {
    /// The images, each once.
    fn distinct(&self) -> impl Iterator<Item = &ResolvedImage> {
        let first = |(i, image): &(usize, &ResolvedImage)| {
            !self.images[..*i].iter().any(|earlier| earlier.digest == image.digest)
        };
        self.images.iter().enumerate().filter(first).map(|(_, image)| image)
    }
}

/// The deployment's image key, PKCS #8 in DER; remembered before it is used.
fn image_key(journal: &Journal<'_>) -> Result<Vec<u8>, Error> {
    let key = match journal.now().image_key {
        Some(pem) => DeploymentKey::from_pem(&pem).map_err(ShipError::from)?,
        None => {
            let key = DeploymentKey::generate().map_err(ShipError::from)?;
            let pem = key.to_pem().map_err(ShipError::from)?;
            journal.write(|deployment| deployment.image_key = Some(pem.to_string()))?;
            key
        }
    };
    Ok(key.to_pkcs8().map_err(ShipError::from)?.to_vec())
}

fn nothing_published() -> Error {
    LinkError::Local("the spec was not published".into()).into()
}
