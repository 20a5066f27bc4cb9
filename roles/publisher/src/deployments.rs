//! What is remembered of deployments from one run to the next.
//!
//! ```text
//!   (none) --intent--> Intended --channel open--> Paid --shipped, provisioned--> Confirmed --.
//!     ^                   |                        |                                |    ^   |
//!     |                   | refused by the chain   |                                |    '---'
//!     '-------------------'------------------------'------- money is back ----------'   update
//! ```
//!
//! The intent is kept before anything is sent to the chain, so that a run that was cut off is
//! taken up at the same provider and never pays into a second channel.

use crate::LocalBlob;
use apocryph_model::{Address, Amount, ChannelId, Digest, Endpoint, Hash32, Name, PeerAddress, PodId, Terms};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// A pod that was deployed, or is about to be.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployment {
    /// The pod's name.
    pub name: Name,
    /// Whose it is.
    pub publisher: Address,
    /// Where it is.
    pub provider: Address,
    /// What the provider calls itself.
    pub provider_name: String,
    /// Where the provider was reached last, best first.
    pub addresses: Vec<PeerAddress>,
    /// The token that it is paid in.
    pub token: Address,
    /// What it is priced by.
    pub terms: Terms,
    /// The channel's epoch once the channel was seen open.
    pub epoch: Option<u32>,
    /// Whether the provider was used without verified evidence.
    pub unattested: bool,
    /// The private key of the deployment's images, PKCS #8 in PEM.
    pub image_key: Option<String>,
    /// What was shipped last.
    pub spec: Option<SealedSpec>,
    /// Where the pod is reached.
    pub endpoints: Vec<Endpoint>,
    /// The payment that was begun and not seen to arrive.
    pub payment: Option<BegunPayment>,
}

/// A payment into the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BegunPayment {
    /// How much is paid.
    pub amount: Amount,
    /// What the channel's deposit comes to once it has arrived.
    pub up_to: Amount,
}

impl Deployment {
    /// The channel that pays for it.
    pub fn channel(&self) -> ChannelId {
        ChannelId::of(self.publisher, self.provider, PodId::of(&self.name))
    }
}

/// The sealed spec that was shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedSpec {
    /// SHA-256 of the envelope.
    pub digest: Digest,
    /// Opens it.
    pub key: SpecKey,
}

/// The key of one sealed spec. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecKey(Hash32);

impl SpecKey {
    /// The key made of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Hash32(bytes))
    }

    /// The key's bytes, for sending it to whom it is meant for.
    pub fn expose(&self) -> [u8; 32] {
        self.0.0
    }
}

impl fmt::Debug for SpecKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpecKey(..)")
    }
}

/// Shows no key.
impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment")
            .field("name", &self.name)
            .field("provider", &self.provider)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Why deployments cannot be remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another run works on the same deployment.
    #[error("another run of apocryph works on {0}: wait until it has ended")]
    Locked(Name),
    /// What is remembered cannot be read.
    #[error("{path} is damaged: {problem}: put a copy back, or move it away to begin anew")]
    Damaged {
        /// Where.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// This machine's disk failed.
    #[error("{path}: {problem}")]
    Disk {
        /// Where.
        path: String,
        /// What happened.
        problem: String,
    },
}

/// Keeps other runs away from a deployment until it is dropped.
pub trait Lock: Send {}

/// The deployments of one account on one chain, on the publisher's machine. What is kept is
/// secret, survives a crash at any instruction, and is there for other runs at once.
pub trait Deployments: Send + Sync {
    /// Keeps other runs away from the deployment; does not wait.
    fn lock(&self, name: &Name) -> Result<Box<dyn Lock>, StateError>;

    /// The deployment, if it is known.
    fn find(&self, name: &Name) -> Result<Option<Deployment>, StateError>;

    /// Every deployment, by name.
    fn list(&self) -> Result<Vec<Deployment>, StateError>;

    /// Remembers the deployment as it is now.
    fn keep(&self, deployment: &Deployment) -> Result<(), StateError>;

    /// Forgets the deployment and its ciphertext.
    fn forget(&self, name: &Name) -> Result<(), StateError>;

    /// Forgets the deployment and its ciphertext, but for whose it was.
    fn end(&self, deployment: &Deployment) -> Result<(), StateError>;

    /// Whose deployment of this name ended last.
    fn ended(&self, name: &Name) -> Result<Option<Address>, StateError>;

    /// A folder for the deployment's encrypted images; made if it is not there.
    fn images(&self, name: &Name) -> Result<PathBuf, StateError>;

    /// Deletes what the folder of encrypted images holds besides these.
    fn keep_only(&self, name: &Name, blobs: &[LocalBlob]) -> Result<(), StateError>;

    /// Keeps the deployment's sealed spec in place of the one before.
    fn keep_spec(&self, name: &Name, envelope: &[u8]) -> Result<LocalBlob, StateError>;

    /// The sealed spec that was kept last.
    fn spec(&self, name: &Name) -> Result<Option<(LocalBlob, Vec<u8>)>, StateError>;
}
