//! What the publisher needs of the DNS.

use apocryph_model::{DnsError, HostProof, Hostname};
use async_trait::async_trait;

/// What the owners of host names say. An error means unknown; it, or an answer, comes within ten
/// seconds.
#[async_trait]
pub trait HostProofs: Send + Sync {
    /// The proofs at a host name's own record, of whatever accounts and providers.
    async fn of(&self, host: &Hostname) -> Result<Vec<HostProof>, DnsError>;
}
