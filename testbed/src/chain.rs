//! A chain for development: anvil, with the contracts and a token on it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apocryph_evm::{Account, Contracts, Evm, Key, deploy, deploy_test_token, mint};
use apocryph_model::{Address, Amount, ChainError};
use serde_json::{Value, json};
use tokio::process::Command;
use url::Url;

use crate::audit::call;
use crate::service::Service;
use crate::until::until;

/// The mnemonic that anvil and others make their accounts of; everyone has their keys.
const KEYS: [&str; 10] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];
/// The account that deploys and mints; the others are the tests' own.
const DEPLOYER: usize = 9;
const CHAIN: u64 = 31337;
/// Channels may be unlocked within a second here, and up to 90 days.
const UNLOCK_DELAYS: std::ops::RangeInclusive<u32> = 1..=90 * 24 * 3600;
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the chain did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The npm packages of `contracts/` are not installed, or have no anvil for this machine.
    #[error("anvil is missing: run `npm install --no-save --prefix contracts` in the repository")]
    NoAnvil,
    /// anvil could not be run, or did not listen in time.
    #[error("anvil does not start: {0}")]
    Process(#[from] io::Error),
    /// The contracts could not be deployed.
    #[error("the contracts could not be deployed: {0}")]
    Deploy(#[from] ChainError),
}

/// A chain that runs until this is dropped. It makes a block for each transaction, and one a
/// second.
#[derive(Debug)]
pub struct DevChain {
    service: Service,
    rpc: SocketAddr,
    deployer: Account,
    contracts: Contracts,
    token: Address,
}

impl DevChain {
    /// Starts a chain on a free port of the loopback interface. Its log and state are kept in
    /// `folder`: started there again, it goes on where it was, also after a kill.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(folder: &Path) -> Result<Self, StartError> {
        let (service, rpc) = start_anvil(folder).await?;
        let deployer = Self::deployer(rpc);
        let record = folder.join("contracts.json");
        let (contracts, token) = match read_record(&record) {
            // A chain that was killed may have forgotten what it did in its last second.
            Some(known) if Evm::new(Self::deployer(rpc), known.0).check().await.is_ok() => known,
            _ => {
                let contracts = deploy(&deployer, UNLOCK_DELAYS).await?;
                let token = deploy_test_token(&deployer).await?;
                write_record(&record, contracts, token)?;
                (contracts, token)
            }
        };
        Ok(Self { service, rpc, deployer, contracts, token })
    }

    fn deployer(rpc: SocketAddr) -> Account {
        Account::new(&[url(rpc)], CHAIN, 1, Self::key(DEPLOYER))
    }

    /// The chain's id (EIP-155).
    pub fn id(&self) -> u64 {
        CHAIN
    }

    /// Where its API is.
    pub fn rpc(&self) -> SocketAddr {
        self.rpc
    }

    /// The same as a URL.
    pub fn url(&self) -> Url {
        url(self.rpc)
    }

    /// Where the contracts stand.
    pub fn contracts(&self) -> Contracts {
        self.contracts
    }

    /// The test token: 18 decimals, with permits.
    pub fn token(&self) -> Address {
        self.token
    }

    /// The key of one of the accounts 0 to 8, which have 10,000 of the chain's own coin.
    ///
    /// # Panics
    /// If there is no such account.
    pub fn key(account: usize) -> Key {
        #[expect(clippy::unwrap_used, reason = "the keys are constants, and tested")]
        Key::from_hex(KEYS[account]).unwrap()
    }

    /// The same key as hex, for the environment of a program.
    ///
    /// # Panics
    /// If there is no such account.
    pub fn key_hex(account: usize) -> &'static str {
        KEYS[account]
    }

    /// The account of a key on this chain.
    pub fn account(&self, key: Key) -> Account {
        Account::new(&[self.url()], CHAIN, 1, key)
    }

    /// Makes an amount of the test token for an account.
    ///
    /// # Errors
    /// As the chain's.
    pub async fn mint(&self, to: Address, amount: Amount) -> Result<(), ChainError> {
        mint(&self.deployer, self.token, to, amount).await
    }

    /// Gives an account some of the chain's own coin, in wei.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub async fn give_coin(&self, to: Address, wei: u128) -> io::Result<()> {
        self.call("anvil_setBalance", json!([to, format!("0x{wei:x}")])).await.map(drop)
    }

    /// Moves the chain's clock forward and makes a block with the new time.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub async fn advance(&self, seconds: u64) -> io::Result<()> {
        self.call("evm_increaseTime", json!([seconds])).await?;
        self.call("evm_mine", json!([])).await.map(drop)
    }

    /// Whether blocks are made: where not, transactions wait.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub async fn mine(&self, on: bool) -> io::Result<()> {
        self.call("evm_setAutomine", json!([on])).await?;
        self.call("evm_setIntervalMining", json!([u8::from(on)])).await.map(drop)
    }

    /// Calls a method of the chain's API.
    ///
    /// # Errors
    /// If it does not answer, or answers with an error.
    pub async fn call(&self, method: &str, params: Value) -> io::Result<Value> {
        call(self.rpc, method, params).await
    }

    /// The process, to be stopped or killed.
    pub fn service(&mut self) -> &mut Service {
        &mut self.service
    }
}

async fn start_anvil(folder: &Path) -> Result<(Service, SocketAddr), StartError> {
    let mut command = Command::new(anvil().ok_or(StartError::NoAnvil)?);
    command.args(["--host", "127.0.0.1", "--port", "0", "--mixed-mining", "--block-time", "1"]);
    command.args(["--state-interval", "1", "--state"]).arg(folder.join("state.json"));
    // Else it keeps the states of old blocks in the user's home, gigabytes where there are many.
    command.args(["--max-persisted-states", "0", "--cache-path"]).arg(folder.join("states"));
    let log = folder.join("chain.log");
    let printed_before = std::fs::read_to_string(&log).unwrap_or_default().len();
    let mut service = Service::start("chain", command, &log)?;
    let mut found = None;
    let listens = async || {
        if let Some(status) = service.ended()? {
            return Err(io::Error::other(format!("it ended with {}", crate::service::ending(status))));
        }
        let text = std::fs::read_to_string(&log)?;
        found = text.get(printed_before..).and_then(listening_at);
        Ok(found.is_some())
    };
    until("anvil listens", PATIENCE, listens).await?;
    let rpc = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok((service, rpc))
}

fn listening_at(printed: &str) -> Option<SocketAddr> {
    let line = printed.lines().find_map(|line| line.strip_prefix("Listening on "))?;
    line.trim().parse().ok()
}

/// Whether anvil is on this machine.
pub fn is_there() -> bool {
    anvil().is_some()
}

/// The program in the npm packages of `contracts/`, without the wrapper that looks for it.
fn anvil() -> Option<PathBuf> {
    let platform = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return None,
    };
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/node_modules/@foundry-rs");
    Some(packages.join(format!("anvil-linux-{platform}/bin/anvil"))).filter(|program| program.exists())
}

fn url(rpc: SocketAddr) -> Url {
    #[expect(clippy::unwrap_used, reason = "a socket's address is a URL's authority")]
    Url::parse(&format!("http://{rpc}")).unwrap()
}

fn read_record(path: &Path) -> Option<(Contracts, Address)> {
    let record: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let address = |name: &str| record[name].as_str()?.parse::<Address>().ok();
    let contracts = Contracts {
        payment: address("payment")?,
        registry: address("registry")?,
        since_block: record["sinceBlock"].as_u64()?,
    };
    Some((contracts, address("token")?))
}

fn write_record(path: &Path, contracts: Contracts, token: Address) -> io::Result<()> {
    let record = json!({
        "payment": contracts.payment,
        "registry": contracts.registry,
        "sinceBlock": contracts.since_block,
        "token": token,
    });
    std::fs::write(path, record.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_that_everyone_has() {
        assert_eq!(DevChain::key(0).address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(
            DevChain::key(DEPLOYER).address().to_string(),
            "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
        );
    }

    #[test]
    fn it_is_seen_where_anvil_listens() {
        let printed = "==================\n\n0\n\nListening on 127.0.0.1:45201\n";
        assert_eq!(listening_at(printed), "127.0.0.1:45201".parse().ok());
        assert_eq!(listening_at("Listening on nothing"), None);
    }
}
