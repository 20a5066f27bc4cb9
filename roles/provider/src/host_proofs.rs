//! What the provider needs of the DNS.

use apocryph_model::{DnsError, HostProof, Hostname};
use async_trait::async_trait;

/// Whose the host names are that publishers bring. Every implementation keeps:
///
/// - What is given is what the DNS surely says now; nothing is remembered from one call to the next.
/// - No proofs are given only where the DNS says so: there is no such name, or no such record.
///   Whatever else happens is an error, which means unknown.
/// - An answer, or the error, comes within ten seconds, and was 64 KiB at most.
#[async_trait]
pub trait HostProofs: Send + Sync {
    /// The proofs at a host name's own record, of whatever accounts and providers.
    async fn of(&self, host: &Hostname) -> Result<Vec<HostProof>, DnsError>;
}
