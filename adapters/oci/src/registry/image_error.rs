//! Why an image cannot be given to nodes, and whose fault that is.

use std::io;

use apocryph_model::{Digest, Fault, Who};
use apocryph_provider::EngineError;
use apocryph_seal::{AnnotationError, JweError, KeyError};

/// Why an image cannot be given to nodes. All but `Crypto` and `Store` are for the publisher to mend.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A blob is not there, or not the pod's.
    #[error("{0} is not among the pod's blobs: deploy again")]
    Missing(Digest),
    /// A document is none.
    #[error("the image's {what} cannot be read: {problem}")]
    Malformed {
        /// Which.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The deployment's key is none.
    #[error("the deployment's key is not one: {0}")]
    NoKey(KeyError),
    /// The deployment's key is not the layer's.
    #[error("layer {digest} does not open with the deployment's key: {problem}")]
    Key {
        /// Which.
        digest: Digest,
        /// What is wrong.
        problem: AnnotationError,
    },
    /// The cryptographic library failed.
    #[error("a layer's key cannot be given to nodes: {0}")]
    Crypto(JweError),
    /// A layer was shipped in the clear.
    #[error("layer {0} is not encrypted: images are shipped encrypted")]
    NotEncrypted(Digest),
    /// A layer is not what its keys or its image say, or no layer.
    #[error("layer {digest} is refused: {problem}")]
    Refused {
        /// Which.
        digest: Digest,
        /// What is wrong.
        problem: String,
    },
    /// The image knows no such group.
    #[error("its image has no group {0:?}: use a number, or a name of its /etc/group")]
    Group(String),
    /// The provider's store failed.
    #[error("cannot read {digest} from the store: {problem}")]
    Store {
        /// Which.
        digest: Digest,
        /// What the system says.
        problem: io::Error,
    },
}

impl From<ImageError> for EngineError {
    fn from(error: ImageError) -> Self {
        let code = match &error {
            ImageError::Missing(_) => "image-missing",
            ImageError::Malformed { .. } => "image-malformed",
            ImageError::NoKey(_) | ImageError::Key { .. } => "image-key",
            ImageError::NotEncrypted(_) => "image-not-encrypted",
            ImageError::Refused { .. } => "image-refused",
            ImageError::Group(_) => "user-unknown",
            ImageError::Store { .. } | ImageError::Crypto(_) => {
                tracing::error!(%error, "an image cannot be opened");
                let text = "the provider's own store cannot be read: try again later";
                return Self::Host(Fault::passing(Who::Provider, "registry-failed", text));
            }
        };
        Self::Pod(Fault::lasting(Who::Publisher, code, error.to_string()))
    }
}
