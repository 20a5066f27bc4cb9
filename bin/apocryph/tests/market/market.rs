//! A chain, a provider that answers, a cheaper one that does not, and a publisher's home.

use crate::{
    home::Home,
    provider::{Double, USED},
};
use apocryph_evm::Evm;
use apocryph_model::{
    Address, Amount, Attestation, Hash32, Offer, Offering, PeerAddress, PodId, Price, Resource, Tariff, Terms,
};
use apocryph_p2p::{BlobStore, Identity, Node, NodeConfig};
use apocryph_provider::{Chain as _, Claim};
use apocryph_testbed::{
    chain::{DevChain, StartError},
    layout::{Image, Layer},
};
use serde_json::Value;
use std::{
    process::Output,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::process::Command;

const PUBLISHER: usize = 0;
const PROVIDER: usize = 1;
const DEAD: usize = 2;
const UNLOCK_DELAY: u64 = 60;
pub(crate) const MARKER: &[u8] = b"a marker that only the plaintext holds";
pub(crate) const FUNDS: Amount = Amount(1_000_000_000_000_000_000_000);

pub(crate) struct Market {
    pub(crate) chain: DevChain,
    pub(crate) home: Home,
    pub(crate) provider: Arc<Double>,
    _folder: TempDir,
}

/// `price` times 0.036 tokens for a core-hour used, which divides without a remainder.
fn tariff(price: u128) -> Tariff {
    let mut tariff = Tariff::default();
    let hour = u128::from(Resource::CpuUsed.units_per_priced());
    tariff.0[Resource::CpuUsed as usize] =
        Price(price * 36_000_000_000_000_000 * 1_000_000_000_000_000_000 / hour);
    tariff
}

impl Market {
    /// `None`, and why, where there is no chain on this machine.
    pub(crate) async fn open() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let chain = match DevChain::start(folder.path()).await {
            Err(StartError::NoAnvil) => {
                eprintln!("skipped: {}", StartError::NoAnvil);
                return None;
            }
            started => started.unwrap(),
        };
        let publisher = DevChain::key(PUBLISHER).address();
        chain.mint(publisher, FUNDS).await.unwrap();
        let (node, address) = node(&folder).await;
        // The dead one claims the other's peer id, which must not harm the other.
        let nowhere = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", address.peer());
        register(&chain, PROVIDER, "alive", address, 20).await;
        register(&chain, DEAD, "dead", nowhere.parse().unwrap(), 10).await;
        let provider = Arc::new(Double {
            node,
            offer: offer(&chain),
            publisher,
            specs: Mutex::default(),
            ciphertext: Mutex::default(),
            removed: Mutex::default(),
        });
        let serving = provider.clone();
        tokio::spawn(async move { serving.node.serve(serving.clone(), std::future::pending()).await });
        let home = home(&chain);
        Some(Self { chain, home, provider, _folder: folder })
    }

    pub(crate) async fn run(&self, line: &str) -> Output {
        let mut command = Command::from(self.home.command(line));
        command.env("APOCRYPH_KEY", DevChain::key_hex(PUBLISHER)).kill_on_drop(true);
        command.output().await.unwrap()
    }

    /// The standard output of a command that succeeds.
    pub(crate) async fn text(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(output.status.success(), "{line}: {}", self.home.shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON lines of a command that succeeds; the last one is its result.
    pub(crate) async fn json(&self, line: &str) -> Vec<Value> {
        let text = self.text(&format!("{line} --json")).await;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The provider claims for all that it measured.
    pub(crate) async fn claim(&self) -> Amount {
        let claim = Claim {
            publisher: self.provider.publisher,
            pod: PodId::of(&"web".parse().unwrap()),
            epoch: 1,
            terms: self.provider.offer.terms,
            usage: USED,
        };
        evm(&self.chain, PROVIDER).claim(&[claim]).await.unwrap().paid[0]
    }

    pub(crate) async fn held(&self) -> Amount {
        let chain = evm(&self.chain, PUBLISHER);
        apocryph_publisher::Chain::balance(&chain, self.chain.token()).await.unwrap()
    }
}

fn evm(chain: &DevChain, account: usize) -> Evm {
    Evm::new(chain.account(DevChain::key(account)), chain.contracts())
}

async fn node(folder: &TempDir) -> (Node, PeerAddress) {
    let config = NodeConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        provider: true,
        ..NodeConfig::default()
    };
    let store = BlobStore::open(&folder.path().join("blobs"), 1 << 30).unwrap();
    let node = Node::start(&Identity::ephemeral(), &config, store).await.unwrap();
    let address = node.addresses()[0].to_string().parse().unwrap();
    (node, address)
}

async fn register(chain: &DevChain, account: usize, name: &str, address: PeerAddress, price: u128) {
    let provider = DevChain::key(account).address();
    let offering = Offering {
        provider,
        name: name.into(),
        regions: vec!["here".parse().unwrap()],
        addresses: vec![address],
        tariff: tariff(price),
        token: chain.token(),
        payout: provider,
        attestation: Attestation::None,
        description: Hash32([0; 32]),
    };
    evm(chain, account).register(&offering).await.unwrap();
}

fn offer(chain: &DevChain) -> Offer {
    let provider = DevChain::key(PROVIDER).address();
    Offer {
        chain: chain.id(),
        payment: chain.contracts().payment,
        provider,
        token: chain.token(),
        terms: Terms { tariff: tariff(20), meter_key: Address::ZERO, payout: provider },
        least_runway: 600,
        least_unlock_delay: UNLOCK_DELAY,
        attestation: Attestation::None,
    }
}

/// A home with settings, a manifest and an image.
fn home(chain: &DevChain) -> Home {
    let home = Home::new();
    let contracts = chain.contracts();
    home.write(
        ".config/apocryph/config.toml",
        &format!(
            "[chain]\nrpc = [\"{}\"]\nid = {}\npayment = \"{}\"\nregistry = \"{}\"\n",
            chain.url(),
            chain.id(),
            contracts.payment,
            contracts.registry
        ),
    );
    home.write("apocryph.yaml", &manifest("hello"));
    home.write("token.txt", "the secret");
    let layer = Layer::new().file("marker", MARKER, 0o644);
    Image::new(vec![layer]).command(&["/serve"]).write_to(&home.path().join("image"), "latest").unwrap();
    home
}

pub(crate) fn manifest(greeting: &str) -> String {
    format!(
        "name: web\n\
         containers:\n\
         - name: main\n\
         \x20 image: oci:image:latest\n\
         \x20 env: {{GREETING: {greeting}, TOKEN: {{secret: token}}}}\n\
         \x20 ports: [{{tcp: 6379}}]\n\
         \x20 resources: {{cpu: 1, memory: 64Mi, storage: 64Mi}}\n\
         secrets:\n\
         \x20 token: {{file: token.txt}}\n"
    )
}
