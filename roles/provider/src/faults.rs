//! What a publisher is told of failures of the world. Internal detail goes to the log.

use crate::{BlobError, EngineError, ReplicaEnd, RouteError};
use apocryph_ledger::LedgerError;
use apocryph_model::{ChainError, DnsError, Fault, HostProof, Hostname, InvalidPod, Who};
use tracing::{error, warn};

pub(crate) fn of_ledger(cause: &LedgerError) -> Fault {
    error!(cause = cause as &dyn std::error::Error, "the ledger failed");
    Fault::passing(
        Who::Provider,
        "ledger",
        "the provider cannot write to its disk now: try again later, or choose another provider",
    )
}

pub(crate) fn of_chain(cause: &ChainError) -> Fault {
    warn!(%cause, "the chain could not be asked");
    let text = "the provider cannot ask the chain now: try again later";
    if cause.retry() {
        return Fault::passing(Who::Chain, "chain-unavailable", text);
    }
    Fault::passing(Who::Provider, "chain-misconfigured", text)
}

pub(crate) fn of_blob(cause: &BlobError) -> Fault {
    match cause {
        BlobError::Peer { .. } => Fault::lasting(Who::Publisher, "blob-unavailable", cause.to_string()),
        BlobError::Unreachable(_) => Fault::passing(Who::Network, "source-unreachable", cause.to_string()),
        BlobError::Stalled { .. } => Fault::passing(
            Who::Network,
            "transfer-stalled",
            format!("{cause}: try again, what has come is kept for a while"),
        ),
        BlobError::TooLarge { .. } => Fault::lasting(Who::Publisher, "blob-too-large", cause.to_string()),
        BlobError::Store(_) => {
            error!(%cause, "the block store failed");
            let text = "the provider has no room for the images now: try again later, or choose another";
            Fault::passing(Who::Provider, "store-full", text)
        }
    }
}

pub(crate) fn of_engine(cause: EngineError) -> Fault {
    match cause {
        EngineError::Pod(fault) | EngineError::Host(fault) => fault,
        EngineError::Unknown => {
            error!("the engine does not know a pod that it was given");
            Fault::passing(Who::Internal, "engine", "the provider lost track of the pod: try again")
        }
    }
}

pub(crate) fn of_end(end: ReplicaEnd) -> Fault {
    match end {
        ReplicaEnd::Failed(fault) => fault,
        ReplicaEnd::Leaving => Fault::passing(
            Who::Provider,
            "replica-leaving",
            "the provider ends the replica, such as for the sake of its node: start it again",
        ),
    }
}

pub(crate) fn of_route(cause: &RouteError) -> Fault {
    let code = match cause {
        RouteError::HostTaken(_) => "host-taken",
        RouteError::HostReserved { .. } => "host-reserved",
        RouteError::PortTaken(_) => "port-taken",
        RouteError::PortNotOffered { .. } => "port-not-offered",
        RouteError::Listen(_) => {
            error!(%cause, "the gateway failed");
            let text = "the provider's gateway cannot listen on the port: try again, or another port";
            return Fault::passing(Who::Provider, "gateway", text);
        }
    };
    Fault::lasting(Who::Publisher, code, cause.to_string())
}

/// Whether a host name is the caller's is not known: nobody gets it, nobody loses it.
pub(crate) fn of_dns(cause: &DnsError, host: &Hostname, wanted: &HostProof) -> Fault {
    warn!(%cause, %host, "whose a host name is could not be asked");
    let text = format!(
        "whether the host name {host} is yours is not known now ({cause}): try again; if it stays so, look at \
         the DNS of {host}, and {}",
        wanted.advice(host)
    );
    Fault::passing(Who::Network, "dns-unavailable", text)
}

pub(crate) fn host_not_proved(host: &Hostname, wanted: &HostProof) -> Fault {
    let text = format!(
        "the DNS does not say that the host name {host} is yours at this provider: {}, and deploy again once it \
         can be seen; or leave `host` out to be given a name",
        wanted.advice(host)
    );
    Fault::passing(Who::Publisher, "host-not-proved", text)
}

pub(crate) fn host_proved_twice(host: &Hostname) -> Fault {
    let text = format!(
        "the host name {host} is taken by a pod that the DNS names as well: remove that pod or, where it is \
         another account's, that account's TXT record {}",
        HostProof::record_name(host)
    );
    Fault::lasting(Who::Publisher, "host-taken", text)
}

pub(crate) fn host_lost(host: &Hostname) -> Fault {
    let text = format!(
        "the host name {host} went to another pod, as the DNS names its publisher and not this one: the pod is \
         reached by a name of the provider's"
    );
    Fault::lasting(Who::Publisher, "host-lost", text)
}

pub(crate) fn of_spec(cause: &InvalidPod) -> Fault {
    Fault::lasting(Who::Publisher, "invalid-pod", cause.to_string())
}

/// The sealed specification, or the provider's own state, does not open.
pub(crate) fn sealed() -> Fault {
    let text = "the sealed specification does not open with the key that came with it: deploy again";
    Fault::lasting(Who::Publisher, "spec-sealed", text)
}

pub(crate) fn internal(what: &str) -> Fault {
    error!(what, "a defect");
    Fault::passing(Who::Internal, "internal", "the provider met a defect of its own: try again")
}
