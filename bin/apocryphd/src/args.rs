//! The command line as it is typed. What it means is the affair of `settings` and `commands`.

use apocryph_link::nodes::NodeName;
use apocryph_model::Address;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use url::Url;

const EXAMPLES: &str = "\
Examples:
  apocryphd init --rpc https://rpc.example --chain-id 1 --payment 0x… --registry 0x… --token 0x…
  apocryphd check                       what this host lacks, one line each, with the remedy
  apocryphd register                    lists this provider; again: after a change of prices
  apocryphd run                         serves pods until SIGTERM; pods outlive a restart
  apocryphd status --json               pods, money, last claims
  apocryphd gateway run                 one of several gateways: `apocryphd gateway --help`

Settings come from flags, else from the environment, else from the configuration file. The account's
key may also be given in APOCRYPHD_KEY, as hex, and its password in APOCRYPHD_PASSWORD.
APOCRYPHD_LOG=debug tells more, RUST_LOG filters as the crate tracing-subscriber documents.

Exit codes:
  0   done
  1   the host lacks something (check)
  2   the command line, a setting or a key is wrong
  3   this machine's files, ports or engine are at fault
  4   the chain refused, or the account lacks money
  6   the chain did not answer: a repeat may help
  7   another daemon uses the data directory
  70  a defect of this program";

const GATEWAYS: &str = "\
A gateway takes requests to the pods and has the daemon start them; it holds no keys, no funds.
As many as one likes connect to one daemon, from machines that reach the pods:

  openssl rand -hex 32 > /etc/apocryph/gateway.token    the daemon and its gateways share it
  in apocryphd.toml: listen.gateways, gateway.token-file; gateway.here = false if it is to be none
  apocryphd gateway init; apocryphd gateway check; apocryphd gateway run

While the daemon is away, gateways serve the pods that run, and hold requests to the others.";

const NODE_READER: &str = "\
Kubelets look at processor time every 10 to 20 s. With one of these on each node it is known to the end of
each replica. The chart has them as a DaemonSet; docs/kubernetes.md tells what they may do.

  openssl rand -hex 32 > /etc/apocryph/reader.token    the daemon and its readers share it
  in apocryphd.toml: listen.node-readers, kubernetes.reader-token-file";

/// Sells this machine's compute: runs publishers' pods, meters them and claims what is owed.
#[derive(Debug, Parser)]
#[command(name = "apocryphd", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Write results as JSON to the standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Settings that go before those of the configuration file.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Overrides {
    /// The configuration file [default: /etc/apocryph/apocryphd.toml, of a gateway
    /// /etc/apocryph/gateway.toml]
    #[arg(long, global = true, env = "APOCRYPHD_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Where everything is kept that outlives a restart
    #[arg(long, global = true, env = "APOCRYPHD_DATA_DIR", value_name = "DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where everything is kept that must not reach a disk
    #[arg(long, global = true, env = "APOCRYPHD_RUN_DIR", value_name = "DIR", hide_env_values = true)]
    pub(crate) run_dir: Option<PathBuf>,
    /// An RPC endpoint of the chain; several, separated by commas, stand in for each other
    #[arg(
        long,
        global = true,
        env = "APOCRYPHD_RPC",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) rpc: Vec<Url>,
    /// listen.registry as the nodes of a cluster name it
    #[arg(
        long,
        global = true,
        env = "APOCRYPHD_REGISTRY_NAME",
        value_name = "HOST:PORT",
        hide_env_values = true
    )]
    pub(crate) registry_name: Option<String>,
    /// How the log is written
    #[arg(long, global = true, env = "APOCRYPHD_LOG_FORMAT", value_name = "FORMAT", hide_env_values = true)]
    pub(crate) log_format: Option<LogFormat>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// A line of text for each event
    Text,
    /// A JSON object for each event
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes a configuration with every setting explained, unless there is one, and makes the keys
    Init(Init),
    /// Tells what this host lacks, one line each, with the remedy
    Check,
    /// Lists this provider in the Registry, or changes its entry
    Register(Register),
    /// Takes this provider out of the Registry
    Unregister,
    /// Serves pods until told to stop
    Run(Run),
    /// Shows pods, money and last claims
    Status,
    /// Tells the daemon what the pods of a cluster's node used, by its cgroups
    #[command(after_help = NODE_READER)]
    NodeReader(NodeReader),
    /// A gateway beside the daemon, as a process of its own
    #[command(subcommand, after_help = GATEWAYS)]
    Gateway(Gateway),
}

/// What a reader is told.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeReader {
    /// Where the daemon listens for readers (its listen.node-readers)
    #[arg(long, env = "APOCRYPHD_DAEMON", value_name = "HOST:PORT", hide_env_values = true)]
    pub(crate) daemon: String,
    /// The file with what is shared with the daemon (its kubernetes.reader-token-file)
    #[arg(long, env = "APOCRYPHD_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    pub(crate) token_file: PathBuf,
    /// What the cluster calls the node
    #[arg(long, env = "APOCRYPHD_NODE", value_name = "NAME", hide_env_values = true)]
    pub(crate) node: NodeName,
    /// Where the node's cgroups are mounted, of either version
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/cgroup")]
    pub(crate) cgroups: PathBuf,
}

/// What is done with a gateway.
#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// Writes a configuration with every setting explained, unless there is one
    Init,
    /// Tells what is lacking, one line each, with the remedy
    Check,
    /// Serves requests until SIGTERM
    Run,
}

/// What is known of the chain when the configuration is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The chain's id (EIP-155)
    #[arg(long, value_name = "NUMBER")]
    pub(crate) chain_id: Option<u64>,
    /// The Payment contract
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) payment: Option<Address>,
    /// The Registry contract
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) registry: Option<Address>,
    /// The token to be paid in
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) token: Option<Address>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Register {
    /// Offer to run pods for nothing, where all prices are 0
    #[arg(long)]
    pub(crate) free: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Stop all replicas at the end; without it they run on, metered, for the next start to adopt
    #[arg(long)]
    pub(crate) stop_pods: bool,
}
