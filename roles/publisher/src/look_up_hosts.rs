//! Whether the DNS says of the host names that a pod brings that they are its publisher's. The
//! provider asks for itself, and may see something else, or not ask: what is found here is told, and
//! refuses nothing.

use crate::Publisher;
use apocryph_model::{Address, HostProof, Hostname, PodSpec, Port};
use futures::future::join_all;
use serde::Serialize;

/// A host name that a pod brings, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BroughtHost {
    /// The host name.
    pub host: Hostname,
    /// Where the TXT record has to be.
    pub record: String,
    /// What it has to say.
    pub text: String,
    /// Whether it was seen.
    pub seen: Seen,
}

/// What the DNS says now of a record, as seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// It is there.
    There,
    /// It is not.
    Missing,
    /// It could not be asked, for this reason.
    Unknown(String),
}

impl BroughtHost {
    /// What is to be done where the record was not seen, for people.
    pub fn advice(&self) -> Option<String> {
        let Self { host, record, text, seen } = self;
        let why = match seen {
            Seen::There => return None,
            Seen::Missing => "is not proved to be yours".to_owned(),
            Seen::Unknown(reason) => format!("may not be proved to be yours ({reason})"),
        };
        Some(format!(
            "the host name {host} {why}: unless the provider asks for no proofs, set the TXT record {record} to \"{text}\""
        ))
    }
}

impl Publisher {
    /// Asks for all at once. Those that a provider would give anyway cannot be told apart here.
    pub(crate) async fn look_up_hosts(&self, spec: &PodSpec, provider: Address) -> Vec<BroughtHost> {
        let ports = spec.containers.iter().flat_map(|container| &container.ports);
        let hosts = ports.filter_map(|port| match port {
            Port::Http { host, .. } => host.as_ref(),
            Port::Tcp { .. } => None,
        });
        let proof = HostProof { publisher: self.chain.account(), provider };
        join_all(hosts.map(|host| self.look_up(host, proof))).await
    }

    async fn look_up(&self, host: &Hostname, proof: HostProof) -> BroughtHost {
        let seen = match self.host_proofs.of(host).await {
            Ok(proofs) if proofs.contains(&proof) => Seen::There,
            Ok(_) => Seen::Missing,
            Err(cause) => Seen::Unknown(cause.to_string()),
        };
        BroughtHost {
            host: host.clone(),
            record: HostProof::record_name(host),
            text: proof.to_string(),
            seen,
        }
    }
}
