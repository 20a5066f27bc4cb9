//! The DNS, as a stub resolver asks it (hickory).
//!
//! The server that is asked is trusted: it resolves names for this machine, and is the one to
//! validate signatures (DNSSEC). What is guarded against here is whoever is not on the way to it:
//! each question has a port, an id and a spelling of its own that an answer has to repeat. Aliases
//! (CNAME) are followed, so that a record can be kept in another zone.

use apocryph_model::{DnsError, HostProof, Hostname};
use apocryph_provider::HostProofs as ProviderHostProofs;
use apocryph_publisher::HostProofs as PublisherHostProofs;
use async_trait::async_trait;
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{NameServerConfig, ResolverConfig},
    lookup::Lookup,
    net::{DnsError as Answered, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType, rdata::TXT},
    },
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::time::timeout;

/// How long one answer may take, with all its tries.
const PATIENCE: Duration = Duration::from_secs(10);
const TRY: Duration = Duration::from_secs(3);

/// The DNS as one server tells it, or those of the system.
#[derive(Debug, Clone, Copy)]
pub struct Dns {
    server: Option<SocketAddr>,
}

impl Dns {
    /// What is asked of `server`, or where there is none of the system's (resolv.conf(5), as it
    /// stands at each question).
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self { server }
    }

    /// Whether questions are answered at all: the root's name servers are known to every resolver.
    ///
    /// # Errors
    /// They are not.
    pub async fn check(&self) -> Result<(), DnsError> {
        self.ask(Name::root(), RecordType::NS).await.map(drop)
    }

    async fn proofs(&self, host: &Hostname) -> Result<Vec<HostProof>, DnsError> {
        let failed = |_| DnsError::Failed("no name".into());
        let mut name = Name::from_ascii(HostProof::record_name(host)).map_err(failed)?;
        // Nothing is looked for in the system's search domains.
        name.set_fqdn(true);
        let found = self.ask(name, RecordType::TXT).await?;
        let records = found.iter().flat_map(Lookup::answers);
        Ok(records.filter_map(|record| proof(&record.data)).collect())
    }

    /// The records; nothing where there surely are none.
    async fn ask(&self, name: Name, kind: RecordType) -> Result<Option<Lookup>, DnsError> {
        let resolver = self.resolver().map_err(|error| failure(&error))?;
        match timeout(PATIENCE, resolver.lookup(name, kind)).await {
            Ok(Ok(found)) => Ok(Some(found)),
            Ok(Err(error)) if surely_none(&error) => Ok(None),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(DnsError::Silent),
        }
    }

    /// A new one for each question: it remembers no answer, and a change of the system's settings
    /// is seen.
    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let provider = TokioRuntimeProvider::default();
        // Without settings of the system this machine is asked, as resolv.conf(5) has it.
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        let mut builder = match self.server {
            Some(server) => Resolver::builder_with_config(only(server), provider),
            None => Resolver::builder(provider.clone())
                .unwrap_or_else(|_| Resolver::builder_with_config(only(local), provider)),
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.case_randomization = true;
        options.timeout = TRY;
        options.attempts = 1;
        builder.build()
    }
}

#[async_trait]
impl ProviderHostProofs for Dns {
    async fn of(&self, host: &Hostname) -> Result<Vec<HostProof>, DnsError> {
        self.proofs(host).await
    }
}

#[async_trait]
impl PublisherHostProofs for Dns {
    async fn of(&self, host: &Hostname) -> Result<Vec<HostProof>, DnsError> {
        self.proofs(host).await
    }
}

fn only(server: SocketAddr) -> ResolverConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    ResolverConfig::from_parts(None, Vec::new(), vec![config])
}

/// A record's strings are one text (RFC 7208, 3.3, has the same).
fn proof(data: &RData) -> Option<HostProof> {
    let RData::TXT(TXT { txt_data, .. }) = data else { return None };
    std::str::from_utf8(&txt_data.concat()).ok()?.parse().ok()
}

/// Whether there is no such name (NXDOMAIN) or no such record (NODATA, RFC 2308). A referral, which
/// looks like the latter, only says that somebody else knows.
fn surely_none(error: &NetError) -> bool {
    let NetError::Dns(Answered::NoRecordsFound(NoRecords { response_code, ns, soa, .. })) = error else {
        return false;
    };
    match response_code {
        ResponseCode::NXDomain => true,
        ResponseCode::NoError => ns.is_none() || soa.is_some(),
        _ => false,
    }
}

fn failure(error: &NetError) -> DnsError {
    match error {
        NetError::Dns(Answered::ResponseCode(code)) => DnsError::Failed(code.to_string()),
        NetError::Dns(Answered::NoRecordsFound(NoRecords { response_code, .. })) => {
            DnsError::Failed(format!("{response_code}, and no answer"))
        }
        NetError::Timeout | NetError::NoConnections | NetError::Busy | NetError::Io(_) => DnsError::Silent,
        _ => DnsError::Failed("with what cannot be read".into()),
    }
}
