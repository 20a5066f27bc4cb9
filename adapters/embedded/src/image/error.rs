//! Why an image cannot be had.

use apocryph_model::{Bytes, Digest, Fault, Who};
use apocryph_provider::EngineError;

use crate::host_error::HostError;

/// Why an image cannot be had. All but the last two are for the publisher to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("{0} is not among the pod's blobs: deploy again")]
    Missing(Digest),
    #[error("{digest} arrived damaged or cut short: deploy again")]
    Damaged { digest: Digest },
    #[error("the image's {what} cannot be read: {problem}")]
    Malformed { what: &'static str, problem: String },
    #[error("layer {digest} does not open with the deployment's key: {problem}")]
    Key { digest: Digest, problem: String },
    #[error("the deployment's key is not one: {0}")]
    NoKey(String),
    #[error("layer {digest} is not encrypted: images are shipped encrypted")]
    NotEncrypted { digest: Digest },
    #[error("the image is for {found}, this provider runs {expected}")]
    Platform { found: String, expected: String },
    #[error("layer {digest} is refused: {problem}")]
    Refused { digest: Digest, problem: String },
    #[error("the pod's images unpack to more than {limit}, which is the most here")]
    TooLarge { limit: Bytes },
    #[error("the provider's registry failed: {0}")]
    Registry(String),
    #[error(transparent)]
    Host(#[from] HostError),
}

impl ImageError {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "image-missing",
            Self::Damaged { .. } => "image-damaged",
            Self::Malformed { .. } => "image-malformed",
            Self::Key { .. } | Self::NoKey(_) => "image-key",
            Self::NotEncrypted { .. } => "image-not-encrypted",
            Self::Platform { .. } => "image-platform",
            Self::Refused { .. } => "image-refused",
            Self::TooLarge { .. } => "image-too-large",
            Self::Registry(_) => "registry-failed",
            Self::Host(_) => "host-failed",
        }
    }
}

impl From<ImageError> for EngineError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Host(host) => host.into(),
            ImageError::Registry(_) => {
                tracing::error!(%error, "an image cannot be pulled");
                let text = "the provider's own registry does not answer: try again later";
                Self::Host(Fault::passing(Who::Provider, error.code(), text))
            }
            _ => Self::Pod(Fault::lasting(Who::Publisher, error.code(), error.to_string())),
        }
    }
}
