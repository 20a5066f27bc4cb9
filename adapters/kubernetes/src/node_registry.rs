//! What the engine needs of the endpoint that nodes pull from.

use apocryph_model::{ChannelId, Digest};
use apocryph_provider::EngineError;
use async_trait::async_trait;

/// An image as nodes run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// The digest of its manifest, as nodes name it.
    pub manifest: Digest,
    /// What it runs on, as Go names it.
    pub architecture: String,
    /// Whether it says itself what to run.
    pub has_command: bool,
    /// The number of the group in `user:group`.
    pub group: Option<u32>,
}

/// Which shipped image is to be opened, and how.
#[derive(Clone, Copy)]
pub struct Shipped<'a> {
    /// The pod's.
    pub pod: ChannelId,
    /// What opens the pod's blobs; nodes show it as the password of any user.
    pub token: &'a str,
    /// The private key that unwraps the layers' keys (PKCS #8, DER).
    pub key: &'a [u8],
    /// The manifest, encrypted.
    pub image: Digest,
    /// Replaces the image's user, by number or name: `user[:group]`. A cluster takes users by number
    /// or from the image, and groups by number.
    pub user: Option<&'a str>,
}

/// Gives images to nodes, decrypted: OCI Distribution 1.1, by digest, with HTTP Basic
/// authentication. What one pod's token opens, no other's does.
#[async_trait]
pub trait NodeRegistry: Send + Sync + 'static {
    /// Opens an image beside those that are open for the pod.
    ///
    /// # Errors
    /// Whose fault it is.
    async fn open(&self, image: Shipped<'_>) -> Result<NodeImage, EngineError>;

    /// Reads an open image whole, by the token and its manifest: whether it is what it says.
    ///
    /// # Errors
    /// What is wrong with it, where something is; else why that cannot be told.
    async fn check(&self, token: &str, manifest: Digest) -> Result<(), EngineError>;

    /// Closes all images of a token but those with these manifests.
    fn retain(&self, token: &str, manifests: &[Digest]);
}
