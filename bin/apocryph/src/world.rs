//! The one place where the adapters are chosen.

use crate::{
    failure::Failure, keys, printer::Printer, secrets::HostSecrets, settings::Settings,
    state::FileDeployments,
};
use apocryph_dns::Dns;
use apocryph_evm::{Account, Contracts, Evm};
use apocryph_oci::{DockerPlaces, OciImages};
use apocryph_p2p::{BlobStore, Identity, Node, NodeConfig, PublisherNetwork};
use apocryph_publisher::{Publisher, Timer};
use async_trait::async_trait;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// How many blocks must hold a transaction before it counts: waiting for more is the provider's
/// affair, which looks at the channel itself.
const CONFIRMATIONS: u64 = 1;

/// The same as [`publisher`], with host names looked up at `resolver`.
pub(crate) async fn publisher_at(
    resolver: Option<SocketAddr>,
    settings: &Settings,
    printer: &Printer,
) -> Result<Publisher, Failure> {
    Ok(Publisher { host_proofs: Arc::new(Dns::new(resolver)), ..publisher(settings, printer).await? })
}

/// The publisher as it is set up, with its progress going to `printer`.
pub(crate) async fn publisher(settings: &Settings, printer: &Printer) -> Result<Publisher, Failure> {
    let chain = settings.chain()?;
    let key = keys::load(&settings.key)?;
    let deployments = FileDeployments::open(&settings.state, chain.id)?;
    let images = OciImages::new(DockerPlaces::from_environment(), deployments.scratch());
    let account = Account::new(&chain.rpc, chain.id, CONFIRMATIONS, key.clone());
    let contracts =
        Contracts { payment: chain.payment, registry: chain.registry, since_block: chain.first_block };
    Ok(Publisher {
        chain: Arc::new(Evm::new(account, contracts).accepting_code(chain.accept_code)),
        images: Arc::new(images),
        network: Arc::new(PublisherNetwork::new(node().await?, chain.id)),
        deployments: Arc::new(deployments),
        secrets: Arc::new(HostSecrets),
        signer: Arc::new(key),
        host_proofs: Arc::new(Dns::new(None)),
        timer: Arc::new(SystemTimer),
        reporter: Arc::new(printer.clone()),
    })
}

struct SystemTimer;

#[async_trait]
impl Timer for SystemTimer {
    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

/// A node that only dials, known by no name from one run to the next: providers know a publisher
/// by its signature.
async fn node() -> Result<Node, Failure> {
    let store = BlobStore::of_files().map_err(|e| Failure::Network(e.to_string()))?;
    let started = Node::start(&Identity::ephemeral(), &NodeConfig::default(), store).await;
    started.map_err(|e| Failure::Network(e.to_string()))
}
