use apocryph_model::{Address, Amount, Attestation, PeerId, Terms};
use std::time::Duration;

/// What a provider asks and allows.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own id on the network: statements name it.
    pub peer: PeerId,
    /// The token that it takes.
    pub token: Address,
    /// What it asks of new pods. Pods that are there keep their channel's terms.
    pub terms: Terms,
    /// How it proves what it runs.
    pub attestation: Attestation,
    /// The shortest time, in seconds, that a new pod's deposit must last at its full rate.
    pub least_runway: u64,
    /// The shortest unlock delay that it accepts, in seconds.
    pub least_unlock_delay: u64,
    /// For how long a pod that is out of funds is kept, at zero replicas.
    pub grace: Duration,
    /// How often usage is read.
    pub meter_period: Duration,
    /// How often chain, ledger, engine and routes are compared.
    pub reconcile_period: Duration,
    /// When usage is claimed.
    pub claims: ClaimPolicy,
    /// What strangers may make it keep.
    pub limits: Limits,
}

/// When usage is claimed.
#[derive(Debug, Clone)]
pub struct ClaimPolicy {
    /// A claim is worth its fee from this multiple of the fee on.
    pub fee_factor: u32,
    /// What 10^18 of the chain's smallest coin unit (one coin) are worth, in the token's smallest
    /// unit; zero leaves fees out of account.
    pub coin_worth: Amount,
    /// Something due is claimed at least this often.
    pub period: Duration,
    /// A channel that may be used up, or withdrawn from, within this time is claimed from before.
    pub before_end: Duration,
}

/// What strangers may make the provider keep.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Pods in all.
    pub pods: u64,
    /// Pods of one publisher.
    pub pods_per_publisher: u64,
    /// Bytes of one pod's blobs.
    pub pod_bytes: u64,
    /// Pods that are provisioned at once.
    pub provisions: usize,
    /// How long provisioning takes at most.
    pub provision_time: Duration,
    /// How long blobs of a transfer that broke off are kept for its repetition.
    pub linger: Duration,
}
