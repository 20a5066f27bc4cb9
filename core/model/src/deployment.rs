//! What publisher and provider tell each other over the deployment sub-protocol.

use crate::{
    Address, Attestation, Channel, Digest, Fault, Hash32, Hostname, Name, PeerAddress, PeerId, PodId, Tariff,
    Terms, Usage,
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A piece of ciphertext that is fetched over IPFS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256 of the whole content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The root of its UnixFS DAG: a CID in its text form.
    pub cid: String,
}

/// What a provider answers before anyone signs anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The chain that it is paid on (EIP-155 chain id).
    pub chain: u64,
    /// The Payment contract that it accepts.
    pub payment: Address,
    /// The provider's account: the channel's other end.
    pub provider: Address,
    /// The token that it takes.
    pub token: Address,
    /// What it asks, to be agreed to as it stands.
    pub terms: Terms,
    /// The shortest time, in seconds, that a deposit must last at the channel's full rate.
    pub least_runway: u64,
    /// The shortest unlock delay that it accepts, in seconds.
    pub least_unlock_delay: u64,
    /// How it proves what it runs.
    pub attestation: Attestation,
}

impl Offer {
    /// The prices.
    pub fn tariff(&self) -> &Tariff {
        &self.terms.tariff
    }
}

/// What is to be provisioned, or updated to. The keys make it secret: it travels encrypted, to a
/// provider whose evidence was accepted, and is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvisionRequest {
    /// The publisher's pod.
    pub pod: PodId,
    /// What the open channel is priced by.
    pub terms: Terms,
    /// The sealed [`crate::PodSpec`]: an envelope of `apocryph-seal` whose associated data is the 32
    /// bytes of the channel's id.
    pub spec: Blob,
    /// Opens [`ProvisionRequest::spec`].
    pub spec_key: [u8; 32],
    /// The private key (PKCS #8, DER) that unwraps the layers' keys.
    pub image_key: Vec<u8>,
    /// Image manifests, configurations and encrypted layers.
    pub blobs: Vec<Blob>,
    /// Whether everyone may fetch these blobs, encrypted as they are, from the provider. The spec
    /// is never among them.
    pub public: bool,
    /// IPFS nodes that may have [`ProvisionRequest::blobs`]: asked in this order, before the
    /// publisher.
    pub sources: Vec<PeerAddress>,
}

impl ProvisionRequest {
    /// Blobs of one pod.
    pub const MAX_BLOBS: usize = 2048;
    /// IPFS nodes that one request may name.
    pub const MAX_SOURCES: usize = 4;
}

/// Shows no key.
impl std::fmt::Debug for ProvisionRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvisionRequest").field("pod", &self.pod).finish_non_exhaustive()
    }
}

/// How far the provider is with `provision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stage")]
pub enum Progress {
    /// The channel is being looked up on the chain.
    Channel,
    /// Blobs are being fetched.
    Fetch {
        /// Bytes that are there.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A source other than the publisher does not give what it is asked for: the next one is asked.
    Source {
        /// Which.
        source: PeerAddress,
        /// What is wrong with it.
        problem: String,
    },
    /// Images are being pulled, decrypted and unpacked by the engine.
    Unpack,
    /// Routes and the meter are being set up.
    Route,
}

/// Where a pod is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Endpoint {
    /// By this host name at the provider's gateway.
    Http {
        /// The host name that the gateway routes by.
        host: Hostname,
        /// Where the gateway listens.
        gateway: SocketAddr,
        /// Whether it speaks TLS there.
        tls: bool,
        /// The port in the container.
        container_port: u16,
    },
    /// By a TCP port of the provider.
    Tcp {
        /// Where the provider listens.
        address: SocketAddr,
        /// The port in the container.
        container_port: u16,
    },
}

/// What a pod is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodPhase {
    /// Being provisioned or updated.
    Provisioning,
    /// Provisioned, at zero replicas, waiting for a request.
    Idle,
    /// At least one replica runs.
    Running,
    /// Removed by the provider; the last error says why. Nothing of it runs any more.
    Evicted,
    /// Removed at the publisher's wish. Nothing of it runs any more.
    Removed,
    /// Removed, by whomever, while something of it may still run.
    Ending,
}

/// What a provider says of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// What it is doing.
    pub phase: PodPhase,
    /// How many replicas run.
    pub replicas: u32,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// What was measured in the channel's epoch.
    pub usage: Usage,
    /// The channel as the provider sees it; `None` where it is not open or not known.
    pub channel: Option<Channel>,
    /// The digest of the sealed spec that runs.
    pub spec: Option<Digest>,
    /// What went wrong last, if anything did since the pod last served.
    pub last_error: Option<Fault>,
}

/// Which log lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only this container's.
    pub container: Option<Name>,
    /// Only from this time on, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Whether to go on with lines as they are written.
    pub follow: bool,
}

/// A line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The replica's short id.
    pub replica: String,
    /// The container's name.
    pub container: Name,
    /// Whether it went to standard error.
    pub stderr: bool,
    /// The line without its end; at most 16 KiB, longer ones are cut into several.
    pub text: String,
}

/// An entry of the provider's ledger. Entries of a channel form a chain by their hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRecord {
    /// Counts the channel's entries from 0.
    pub sequence: u64,
    /// The channel's epoch.
    pub epoch: u32,
    /// When it was measured, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What was measured: the replica's id, or `volumes`.
    pub source: String,
    /// What was used since the source's last entry.
    pub used: Usage,
    /// The hash of the entry before; all zeros at the first.
    pub previous: Hash32,
    /// SHA-256 over the fields above; see `apocryph-ledger`.
    pub hash: Hash32,
}

/// The methods of the sub-protocol, as statements name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Makes a pod, or changes it in place.
    Provision,
    /// Ends a pod.
    Remove,
    /// Tells what a pod is doing.
    Status,
    /// Reads a pod's log.
    Logs,
    /// Reads the ledger.
    Usage,
}

impl Method {
    /// The name in statements.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Remove => "remove",
            Self::Status => "status",
            Self::Logs => "logs",
            Self::Usage => "usage",
        }
    }
}

/// What a publisher signs for one call (see `apocryph-statement` for the EIP-712 form).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What is called.
    pub method: Method,
    /// The channel that pays for the pod.
    pub channel: crate::ChannelId,
    /// Whom the call is for.
    pub provider: PeerId,
    /// Keccak-256 of the call's payload as it is on the wire.
    pub payload: Hash32,
    /// Never used twice by the signer.
    pub nonce: u128,
    /// In seconds since the Unix epoch: worth nothing from then on.
    pub expires_at: u64,
}
