//! The command line as it is typed. What it means is the affair of `settings` and `commands`.

use crate::durations::parse_seconds;
use apocryph_model::{Address, Decimal, Name, PeerAddress};
use clap::{Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};
use url::Url;

const EXAMPLES: &str = "\
Examples:
  apocryph init --rpc http://127.0.0.1:8545 --chain-id 31337 --payment 0x… --registry 0x…
  apocryph deploy --dry-run             what would be done, and what it would cost
  apocryph deploy                       the pod of ./apocryph.yaml; again: brings it up to date
  apocryph logs shop --follow --since 10m
  apocryph remove shop                  and once the money is unlocked: apocryph withdraw shop

Settings come from flags, else from the environment, else from the configuration file
(~/.config/apocryph/config.toml). The key may also be given in APOCRYPH_KEY, as hex, and its
password in APOCRYPH_PASSWORD. NO_COLOR turns colours off, APOCRYPH_LOG=debug tells more.

Exit codes:
  0   done
  1   ledger and claims do not agree (usage)
  2   the command line or a setting is wrong
  3   the manifest, an image, a secret or this machine's files are at fault
  4   money: too little, locked, or a channel that does not fit
  5   the provider is at fault, or none will do
  6   the chain or the network did not answer: a repeat may help
  7   another run works on the same pod
  70  a defect of this program";

/// Deploys pods onto providers' machines, encrypted, and pays for what they use.
#[derive(Debug, Parser)]
#[command(name = "apocryph", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Write one JSON object per line to the standard output: events, then the result
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: Overrides,
}

/// Settings that go before those of the configuration file.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Overrides {
    /// The configuration file
    #[arg(long, global = true, env = "APOCRYPH_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// An RPC endpoint of the chain; several, separated by commas, stand in for each other
    #[arg(
        long,
        global = true,
        env = "APOCRYPH_RPC",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) rpc: Vec<Url>,
    /// The chain's id (EIP-155)
    #[arg(long, global = true, env = "APOCRYPH_CHAIN_ID", value_name = "NUMBER", hide_env_values = true)]
    pub(crate) chain_id: Option<u64>,
    /// The Payment contract
    #[arg(long, global = true, env = "APOCRYPH_PAYMENT", value_name = "ADDRESS", hide_env_values = true)]
    pub(crate) payment: Option<Address>,
    /// The Registry contract
    #[arg(long, global = true, env = "APOCRYPH_REGISTRY", value_name = "ADDRESS", hide_env_values = true)]
    pub(crate) registry: Option<Address>,
    /// The block from which on the contracts' events are looked for
    #[arg(long, global = true, env = "APOCRYPH_FIRST_BLOCK", value_name = "NUMBER", hide_env_values = true)]
    pub(crate) first_block: Option<u64>,
    /// The account's key: a keystore V3, or a file with the key as hex
    #[arg(long, global = true, env = "APOCRYPH_KEY_FILE", value_name = "FILE", hide_env_values = true)]
    pub(crate) key_file: Option<PathBuf>,
    /// A file with the keystore's password
    #[arg(long, global = true, env = "APOCRYPH_PASSWORD_FILE", value_name = "FILE", hide_env_values = true)]
    pub(crate) password_file: Option<PathBuf>,
    /// Where deployments are remembered
    #[arg(long, global = true, env = "APOCRYPH_STATE_DIR", value_name = "FOLDER", hide_env_values = true)]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a manifest that deploys as it is, a configuration file and a key
    Init(Init),
    /// Deploy a pod, or bring the deployed one up to date in place
    Deploy(Deploy),
    /// Show one pod: where it is, what it does, what money is left and for how long
    Status(Pod),
    /// List every pod of this account
    Ls,
    /// Show what a pod's containers wrote, also of a pod at zero replicas
    Logs(Logs),
    /// Pay more into a pod's channel
    Fund(Fund),
    /// Begin the delay after which a pod's unspent money can be withdrawn
    Unlock(Unlock),
    /// Take back what is left once the delay has passed
    Withdraw(Pod),
    /// End a pod: its provider settles, then the rest of the money is unlocked
    Remove(Pod),
    /// List the registered providers: prices, attestation, and whether they answer
    Providers,
    /// Compare the provider's ledger with the chain's claims, recomputing both
    Usage(Pod),
    /// About apocryph.yaml
    #[command(subcommand)]
    Manifest(Manifest),
    /// Write completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The pod's name
    #[arg(long, default_value = "web")]
    pub(crate) name: Name,
    /// The pod's image
    #[arg(long, default_value = "docker.io/library/nginx:stable")]
    pub(crate) image: String,
    /// Where to write the manifest
    #[arg(short, long, value_name = "FILE", default_value = "apocryph.yaml")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Running it again goes on where a run was cut off, or brings the pod up to date: the channel stays,
and only what changed is encrypted and shipped. Interrupting it is safe at any time.")]
pub(crate) struct Deploy {
    /// The manifest
    #[arg(short, long, value_name = "FILE", default_value = "apocryph.yaml")]
    pub(crate) file: PathBuf,
    /// Only this provider
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) provider: Option<Address>,
    /// How a provider is selected among those that satisfy the manifest and answer
    #[arg(long, value_enum, default_value_t)]
    pub(crate) strategy: Strategy,
    /// Only providers that are paid in this token
    #[arg(long, env = "APOCRYPH_TOKEN", value_name = "ADDRESS", hide_env_values = true)]
    pub(crate) token: Option<Address>,
    /// Stop before the first signature, and tell what it would cost
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How much is to be in the channel, in whole tokens; a day's cost if not given
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) fund: Option<Decimal>,
    /// Let everyone fetch the images from the provider by their CIDs: layers stay encrypted,
    /// manifests and configurations can be read
    #[arg(long)]
    pub(crate) public: bool,
    /// An IPFS node that has the encrypted images, such as one that pinned what an earlier
    /// `--public` told: the provider asks it before this machine. Up to four
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) source: Vec<PeerAddress>,
    /// The DNS server to ask whether host names are proved; the system's if not given
    #[arg(long, env = "APOCRYPH_RESOLVER", value_name = "ADDRESS:PORT", hide_env_values = true)]
    pub(crate) resolver: Option<SocketAddr>,
    /// Use a provider without verified evidence of what it runs: its operator could read the pod
    #[arg(long)]
    pub(crate) accept_unattested: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Strategy {
    /// The cheapest for this manifest
    #[default]
    Cheapest,
    /// Ask
    Ask,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pod {
    /// The pod's name
    pub(crate) name: Name,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The provider ends the pod when it sees the unlock. After --cancel, `apocryph deploy` brings it back.")]
pub(crate) struct Unlock {
    /// The pod's name
    pub(crate) name: Name,
    /// Take the unlock back while its delay lasts: the channel stays open and pays again
    #[arg(long)]
    pub(crate) cancel: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// The pod's name
    pub(crate) name: Name,
    /// Go on with lines as they are written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only lines of the last while, such as 90s, 10m, 2h or 1d
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub(crate) since: Option<u64>,
    /// Only this container's lines
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<Name>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Repeating a payment that was cut off goes on with it: what has arrived is not paid again.")]
pub(crate) struct Fund {
    /// The pod's name
    pub(crate) name: Name,
    /// How much, in whole tokens
    pub(crate) amount: Decimal,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Manifest {
    /// Write the JSON Schema of apocryph.yaml, for editors
    Schema,
}
