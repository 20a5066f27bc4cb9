//! The values that Apocryph speaks past its edges. Whatever holds one of these types has been
//! validated: wire formats, files and command lines turn into them by `TryFrom` and `FromStr`.
//!
//! No network, no files, no clock: time is passed in as seconds or milliseconds since the Unix epoch.

mod amount;
mod bytes32;
mod chain;
mod channel;
mod deployment;
mod digest;
mod fault;
mod host_proof;
mod manifest;
mod name;
mod peer;
mod pod;
mod provider;
mod quantity;
mod tariff;
mod usage;

pub use amount::{Amount, Decimal, ParseAmountError, Price, Rate};
pub use bytes32::{Address, ChannelId, Hash32, ParseHexError, PodId, keccak256};
pub use chain::{ChainError, TransactionId};
pub use channel::{Channel, Terms};
pub use deployment::{
    Blob, Endpoint, LogLine, LogQuery, Method, Offer, PodPhase, PodStatus, Progress, ProvisionRequest,
    Statement, UsageRecord,
};
pub use digest::{Digest, ParseDigestError};
pub use fault::{Cause, Fault, Who};
pub use host_proof::{DnsError, HostProof, ParseHostProofError};
pub use manifest::{
    Constraints, Container, EnvValue, Manifest, SecretSource, Strategy, Volume, VolumeSource,
};
pub use name::{Hostname, Name, ParseNameError};
pub use peer::{ParsePeerError, PeerAddress, PeerId};
pub use pod::{ContainerSpec, InvalidPod, Mount, PodSpec, Port, Resources, Scale, VolumeKind, VolumeSpec};
pub use provider::{Attestation, Offering, Region};
pub use quantity::{Bytes, Millicores, ParseQuantityError};
pub use tariff::Tariff;
pub use usage::{Resource, Usage};
