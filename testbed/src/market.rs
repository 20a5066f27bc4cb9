//! A market on one machine: a dev chain and providers, each a process of its own. Whatever happens,
//! nothing of it stays.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use apocryph_model::{Amount, ChainError, ChannelId};

use crate::audit::{self, Flow};
use crate::chain::{DevChain, StartError};
use crate::cli::Cli;
use crate::cluster::Cluster;
use crate::daemon::{Daemon, DaemonError, Offer, Site};
use crate::sweep::sweep;
use crate::traces::{Left, Traces};

/// Not /tmp, which may be in memory: the upper side of an overlay needs a disk.
const FOLDERS: &str = "/var/tmp";
const PREFIX: &str = "apocryph-market-";
/// A thousand of the dev chain's token.
const PURSE: Amount = Amount(1_000_000_000_000_000_000_000);
const PATIENCE: Duration = Duration::from_secs(60);

/// How many were opened by this process.
static OPENED: AtomicU8 = AtomicU8::new(0);

/// A chain with providers. When it is dropped everything is ended, and all traces are taken away.
#[derive(Debug)]
pub struct Market {
    /// The chain.
    pub chain: DevChain,
    /// The providers, in the order of their coming.
    pub daemons: Vec<Daemon>,
    /// How everything of it is known on this machine.
    pub traces: Traces,
    mark: String,
    network: u8,
    kept: bool,
}

/// Why there is no market.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// Its folder cannot be written, or this machine cannot be looked at.
    #[error("the market's folder: {0}")]
    Io(#[from] io::Error),
    /// The chain does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The chain refuses.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A provider does not run.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

impl Market {
    /// Starts the chain. Providers run pods on this machine.
    ///
    /// # Errors
    /// See [`MarketError`].
    pub async fn open() -> Result<Self, MarketError> {
        Self::open_on(None).await
    }

    /// Starts the chain. Providers run pods on the cluster, or else on this machine.
    ///
    /// # Errors
    /// See [`MarketError`].
    pub async fn open_on(cluster: Option<Cluster>) -> Result<Self, MarketError> {
        let number = OPENED.fetch_add(1, Ordering::Relaxed) % 20;
        // No mark is the beginning of another: it ends with its only letter from g on.
        let mark = format!("m{:x}{}", std::process::id(), char::from(b'g' + number));
        let traces = traces(&mark, cluster);
        let folder = traces.folder.join("chain");
        std::fs::create_dir_all(&folder)?;
        let chain = DevChain::start(&folder).await?;
        let first = std::process::id() + 7 * u32::from(number);
        let network = free_network(first, &std::fs::read_to_string("/proc/net/route")?);
        Ok(Self { chain, daemons: Vec::new(), traces, mark, network, kept: false })
    }

    /// Has a provider set up, registered and running.
    ///
    /// # Errors
    /// See [`MarketError`].
    pub async fn add_provider(&mut self, offer: &Offer) -> Result<&mut Daemon, MarketError> {
        let number = u8::try_from(self.daemons.len()).unwrap_or(u8::MAX);
        let site = Site {
            engine: format!("{}{}", self.mark, char::from(b'a' + number)),
            // Markets beside this one have networks of their own.
            network: self.network,
            number,
            folder: self.folder().join(&offer.name),
            cluster: self.traces.cluster.clone(),
        };
        let daemon = Daemon::set_up(&self.chain, offer, site).await?;
        Ok(self.daemons.push_mut(daemon))
    }

    /// The command line of one of the dev chain's accounts, with a thousand tokens to spend.
    ///
    /// # Errors
    /// See [`MarketError`].
    pub async fn publisher(&self, account: usize) -> Result<Cli, MarketError> {
        let folder = self.folder().join(format!("publisher-{account}"));
        std::fs::create_dir_all(&folder)?;
        self.chain.mint(DevChain::key(account).address(), PURSE).await?;
        Ok(Cli::of(&self.chain, account, &folder))
    }

    /// Where everything of it is.
    pub fn folder(&self) -> &Path {
        &self.traces.folder
    }

    /// The money of every channel, by the contract's events.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub async fn flows(&self) -> io::Result<BTreeMap<ChannelId, Flow>> {
        audit::flows(self.chain.rpc(), self.chain.contracts().payment).await
    }

    /// What the Payment contract holds of the token.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub async fn deposits(&self) -> io::Result<u128> {
        audit::balance(self.chain.rpc(), self.chain.token(), self.chain.contracts().payment).await
    }

    /// Ends providers and chain as their operators would; tells what is left of them on this
    /// machine.
    ///
    /// # Errors
    /// See [`MarketError`].
    pub async fn close(&mut self) -> Result<Left, MarketError> {
        for daemon in &mut self.daemons {
            daemon.stop().await?;
        }
        self.chain.service().stop(PATIENCE).await?;
        Ok(self.traces.left()?)
    }

    /// Lets everything run on when this is dropped.
    pub fn keep(mut self) {
        self.kept = true;
        self.chain.service().release();
        for daemon in &mut self.daemons {
            daemon.release();
        }
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        if !self.kept {
            self.daemons.clear();
            // What withstands is seen by whoever looks with `sweep_all`.
            let _ = sweep(&self.traces);
        }
    }
}

/// Ends and takes away every market of this machine whose opener has ended; gives what withstood, by
/// folder.
///
/// # Errors
/// If this machine cannot be looked at.
pub fn sweep_all() -> io::Result<Vec<(PathBuf, Left)>> {
    let mut withstood = Vec::new();
    for entry in std::fs::read_dir(FOLDERS)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(mark) = name.strip_prefix(PREFIX).filter(|mark| !is_open(mark)) else { continue };
        let left = sweep(&traces(mark, Cluster::of_environment().ok()))?;
        if !left.is_empty() {
            withstood.push((entry.path(), left));
        }
    }
    Ok(withstood)
}

/// Whether the process that opened the market with this mark still runs.
fn is_open(mark: &str) -> bool {
    let process = mark.strip_prefix('m').map(|rest| rest.trim_end_matches(|last| last > 'f'));
    let process = process.and_then(|hex| u32::from_str_radix(hex, 16).ok());
    process.is_some_and(|id| Path::new(&format!("/proc/{id}")).exists())
}

/// The second number of addresses 10.x that no route leads to (see route(5): the second column, its
/// bytes reversed), looked for from a number that differs between markets that are opened at once.
fn free_network(first: u32, routes: &str) -> u8 {
    let is_free = |network: &u8| {
        let taken = |line: &str| {
            let destination = line.split('\t').nth(1).unwrap_or_default();
            destination.ends_with(&format!("{network:02X}0A"))
        };
        !routes.lines().any(taken)
    };
    let mut networks = (0..100).filter_map(|step| u8::try_from((first + step) % 100 + 128).ok());
    networks.find(is_free).unwrap_or(128)
}

/// How a market with this mark is known.
fn traces(mark: &str, cluster: Option<Cluster>) -> Traces {
    Traces {
        folder: Path::new(FOLDERS).join(format!("{PREFIX}{mark}")),
        bridges: format!("ap-{mark}"),
        tables: format!("apocryph_{mark}"),
        cgroups: mark.into(),
        cluster,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_market_is_open_while_its_opener_runs() {
        assert!(is_open(&format!("m{:x}g", std::process::id())));
        assert!(!is_open("mffffffffg") && !is_open("something else"));
    }

    #[test]
    fn a_network_that_is_in_use_is_passed_over() {
        let routes = "Iface\tDestination\tGateway\neth0\t00000000\t010200C0\nap-x\t0001A00A\t00000000\n";
        assert_eq!((free_network(31, routes), free_network(32, routes)), (159, 161));
        assert_eq!(free_network(32, ""), 160);
    }
}
