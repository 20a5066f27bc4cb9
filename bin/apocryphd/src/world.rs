//! What the use cases are put into: the adapters, and what joins them.

mod blob_files;
mod clock;
mod engine;
mod gateway_pods;
mod gateway_routes;
mod host_names;
mod node_readers;

pub(crate) use blob_files::StoredBlobs;
pub(crate) use clock::SystemClock;
pub(crate) use engine::{OpenEngine, RegistryEndpoint, reach};
pub(crate) use gateway_pods::EnginePods;
pub(crate) use gateway_routes::{GatewayRoutes, Places};

use crate::{
    failure::Failure,
    settings::{Settings, SettingsError},
};
use apocryph_evm::{Account, Contracts, Evm, Key};
use apocryph_p2p::NodeConfig;

/// The chain, as this provider's account sees it. Nothing is sent yet.
pub(crate) fn chain(settings: &Settings, key: Key) -> Result<Evm, SettingsError> {
    settings.check_chain()?;
    let chain = &settings.file.chain;
    let account = Account::new(&chain.rpc, chain.id, chain.confirmations, key);
    let contracts =
        Contracts { payment: chain.payment, registry: chain.registry, since_block: chain.first_block };
    Ok(Evm::new(account, contracts).accepting_code(chain.accept_code.clone()))
}

/// How the node listens and is reached.
pub(crate) fn node_config(settings: &Settings) -> Result<NodeConfig, Failure> {
    let mut config = NodeConfig { provider: true, ..NodeConfig::default() };
    for address in settings.p2p_listen() {
        config.listen.push(address.parse().map_err(|_| Failure::Multiaddr { address })?);
    }
    for address in settings.file.network.external.clone() {
        config.external.push(address.parse().map_err(|_| Failure::Multiaddr { address })?);
    }
    config.bootstrap = settings.file.network.bootstrap.clone();
    Ok(config)
}
