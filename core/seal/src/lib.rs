//! Sealing: bytes to bytes, no files, no network.
//!
//! * [`LayerEncryptor`] and [`LayerDecryptor`]: image layers in the format of
//!   [ocicrypt](https://github.com/containers/ocicrypt), streamed;
//! * [`LayerKeys`]: what opens a layer, wrapped for its readers in the layer's annotations;
//! * [`DeploymentKey`]: the key pair of a deployment, which is such a reader;
//! * [`EnvelopeKey`]: small secrets, and state at rest;
//! * [`Hasher`]: SHA-256 at the speed of the rest.

mod annotations;
mod envelope;
mod hash;
mod jwe;
mod key;
mod layer;

pub use annotations::{
    AnnotationError, ENCRYPTED_SUFFIX, KEY_PROVIDER, KEYS_ANNOTATION, OPTIONS_ANNOTATION, TICKET_ANNOTATION,
    encrypted_media_type, plain_media_type,
};
pub use envelope::{EnvelopeError, EnvelopeKey, OVERHEAD as ENVELOPE_OVERHEAD};
pub use hash::{Hasher, sha256};
pub use jwe::JweError;
pub use key::{DeploymentKey, DeploymentPublicKey, KeyError, MAX_KEY_LEN};
pub use layer::{EncryptedLayer, LayerDecryptor, LayerEncryptor, LayerError, LayerKeys};
