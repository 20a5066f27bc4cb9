//! A chain with the contracts, a publisher and a provider.

use apocryph_evm::Evm;
use apocryph_model::{
    Address, Amount, Attestation, Channel, ChannelId, Hash32, Offering, PodId, Price, Rate, Resource, Tariff,
    Terms, Usage,
};
use apocryph_provider::Claim;
use apocryph_publisher::{Chain as PublisherChain, Opening};
use apocryph_testbed::chain::{DevChain, StartError};
use std::ops::Deref;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) publisher: Evm,
    pub(crate) provider: Evm,
}

/// A chain of one's own; it is gone when this is dropped.
pub(crate) struct Chain {
    chain: DevChain,
    _folder: TempDir,
}

impl Deref for Chain {
    type Target = DevChain;

    fn deref(&self) -> &DevChain {
        &self.chain
    }
}

/// `None`, with the reason printed, where there is no anvil.
pub(crate) async fn chain() -> Option<Chain> {
    let folder = tempfile::tempdir().unwrap();
    match DevChain::start(folder.path()).await {
        Err(error @ StartError::NoAnvil) => {
            eprintln!("skipped: {error}");
            None
        }
        started => Some(Chain { chain: started.unwrap(), _folder: folder }),
    }
}

/// As [`chain`], with a publisher and a provider.
pub(crate) async fn start() -> Option<World> {
    let chain = chain().await?;
    let evm = |index| Evm::new(chain.account(DevChain::key(index)), chain.contracts());
    let (publisher, provider) = (evm(0), evm(1));
    chain.mint(PublisherChain::account(&publisher), Amount(1_000_000_000)).await.unwrap();
    Some(World { chain, publisher, provider })
}

/// A second of a core costs a thousand of the token's smallest units.
pub(crate) fn tariff() -> Tariff {
    let mut tariff = Tariff::default();
    tariff.0[Resource::CpuUsed as usize] = Price(1_000_000_000_000_000);
    tariff
}

pub(crate) fn core_seconds(seconds: u64) -> Usage {
    let mut usage = Usage::default();
    usage[Resource::CpuUsed] = seconds * 1_000_000;
    usage
}

impl World {
    pub(crate) fn account(&self) -> Address {
        PublisherChain::account(&self.publisher)
    }

    pub(crate) fn seller(&self) -> Address {
        PublisherChain::account(&self.provider)
    }

    pub(crate) fn pod(&self, name: &str) -> PodId {
        PodId::of(&name.parse().unwrap())
    }

    pub(crate) fn id(&self, name: &str) -> ChannelId {
        ChannelId::of(self.account(), self.seller(), self.pod(name))
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms { tariff: tariff(), meter_key: Address::ZERO, payout: Address([0xCA; 20]) }
    }

    /// Ten core-seconds a second may be claimed; a minute passes between unlock and withdraw.
    pub(crate) fn opening(&self, name: &str, deposit: u128) -> Opening {
        Opening {
            provider: self.seller(),
            pod: self.pod(name),
            token: self.chain.token(),
            deposit: Amount(deposit),
            max_rate: Rate(10_000_000_000_000),
            unlock_delay: 60,
            terms: self.terms(),
        }
    }

    pub(crate) async fn open(&self, name: &str, deposit: u128) -> Channel {
        self.publisher.open_channel(&self.opening(name, deposit)).await.unwrap();
        self.publisher.channel(self.id(name)).await.unwrap().unwrap()
    }

    pub(crate) fn claim(&self, name: &str, epoch: u32, seconds: u64) -> Claim {
        Claim {
            publisher: self.account(),
            pod: self.pod(name),
            epoch,
            terms: self.terms(),
            usage: core_seconds(seconds),
        }
    }

    pub(crate) fn offering(&self, name: &str) -> Offering {
        let address = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        Offering {
            provider: self.seller(),
            name: name.into(),
            regions: vec!["eu-west".parse().unwrap()],
            addresses: vec![address.parse().unwrap()],
            tariff: tariff(),
            token: self.chain.token(),
            payout: Address([0xCA; 20]),
            attestation: Attestation::None,
            description: Hash32([7; 32]),
        }
    }
}
