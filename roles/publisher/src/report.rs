//! How the steps tell what they are doing.

use crate::{BroughtHost, Money};
use apocryph_model::{Address, ChannelId, Digest, Endpoint, Name, PeerAddress, TransactionId};
use serde::Serialize;
use std::fmt;

/// A step of a use case, by the system's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The manifest is read, secrets too, and images are resolved.
    Collect,
    /// The Registry is read.
    ListProviders,
    /// One provider is settled on.
    SelectProvider,
    /// The payment channel is opened, or looked up again.
    OpenChannel,
    /// Images and secrets are encrypted and published.
    Ship,
    /// The provider makes the pod.
    Provision,
    /// The provider told where the pod is reached.
    Confirm,
    /// More money is paid in.
    Fund,
    /// The provider settles and ends the pod.
    Remove,
    /// The delay begins after which money comes back.
    Unlock,
    /// The delay is taken back.
    CancelUnlock,
    /// Money comes back.
    Withdraw,
}

impl Step {
    /// The step's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::ListProviders => "list_providers",
            Self::SelectProvider => "select_provider",
            Self::OpenChannel => "open_channel",
            Self::Ship => "ship",
            Self::Provision => "provision",
            Self::Confirm => "confirm",
            Self::Fund => "fund",
            Self::Remove => "remove",
            Self::Unlock => "unlock",
            Self::CancelUnlock => "cancel_unlock",
            Self::Withdraw => "withdraw",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What shows from outside that a step was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "value")]
pub enum Evidence {
    /// A transaction that was mined.
    Transaction(TransactionId),
    /// The digest of an image or of a sealed spec.
    Digest(Digest),
    /// The payment channel.
    Channel(ChannelId),
    /// The provider's account.
    Provider(Address),
    /// Where the pod is reached.
    Endpoint(Endpoint),
    /// How many were found.
    Count(usize),
    /// How many bytes of ciphertext were offered to the provider.
    Bytes(u64),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction(id) => write!(f, "transaction {id}"),
            Self::Digest(digest) => write!(f, "{digest}"),
            Self::Channel(id) => write!(f, "channel {id}"),
            Self::Provider(address) => write!(f, "provider {address}"),
            Self::Endpoint(Endpoint::Http { host, gateway, tls, .. }) => {
                write!(f, "{}://{host} at {gateway}", if *tls { "https" } else { "http" })
            }
            Self::Endpoint(Endpoint::Tcp { address, container_port }) => {
                write!(f, "tcp {address} for port {container_port}")
            }
            Self::Count(found) => write!(f, "{found} found"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}

/// Something that happened within a use case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum Event {
    /// A step begins.
    Begun {
        /// Which.
        step: Step,
    },
    /// A step has come this far.
    Bytes {
        /// Which.
        step: Step,
        /// Bytes that are done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A step does something else now.
    Stage {
        /// Which.
        step: Step,
        /// What it does.
        stage: &'static str,
    },
    /// A provider was not taken.
    PassedOver {
        /// Its account.
        provider: Address,
        /// What it calls itself.
        name: String,
        /// Why not.
        reason: String,
    },
    /// An IPFS node does not give the provider what it is asked for.
    SourceTrouble {
        /// Which.
        source: PeerAddress,
        /// What is wrong with it.
        problem: String,
    },
    /// The DNS does not say, as far as is seen from here, that a host name is the publisher's.
    HostNotSeen {
        /// Which, and what it needs.
        host: BroughtHost,
    },
    /// The pod was not deployed, but the channel that pays for it is open.
    StillOpen {
        /// The pod.
        name: Name,
        /// The channel.
        channel: ChannelId,
        /// What is in it.
        balance: Money,
    },
    /// A step ended well.
    Done {
        /// Which.
        step: Step,
        /// What shows it.
        evidence: Vec<Evidence>,
    },
}

impl Event {
    /// What a node did not do for the provider, for people.
    pub fn source_trouble(source: &PeerAddress, problem: &str) -> String {
        format!("{source} does not help: {problem}; the rest comes from the next source, or from here")
    }

    /// What to do about a channel that is still open, for people.
    pub fn advice_on_open(name: &Name, balance: &Money) -> String {
        format!(
            "the channel of {name} stays open with {balance}: deploy again once this is mended, or get it back by `apocryph remove {name}` and then `apocryph withdraw {name}`"
        )
    }
}

/// Is told of every event, from any thread, and does not take long.
pub trait Reporter: Send + Sync {
    /// Something happened.
    fn report(&self, event: Event);
}

impl dyn Reporter {
    pub(crate) fn begun(&self, step: Step) {
        self.report(Event::Begun { step });
    }

    pub(crate) fn stage(&self, step: Step, stage: &'static str) {
        self.report(Event::Stage { step, stage });
    }

    pub(crate) fn bytes(&self, step: Step, done: u64, total: u64) {
        self.report(Event::Bytes { step, done, total });
    }

    pub(crate) fn done(&self, step: Step, evidence: Vec<Evidence>) {
        self.report(Event::Done { step, evidence });
    }
}
