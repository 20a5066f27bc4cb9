//! The configuration file. Every key that has a default may be left out; `template.toml` explains
//! each.

use super::{
    SettingsError,
    text::{Listener, Ports, Text},
};
use crate::{args::LogFormat, durations::Span};
use apocryph_embedded::{InstanceName, Subnet};
use apocryph_model::{Address, Bytes, Decimal, Hash32, Hostname, PeerAddress, Region};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};
use url::Url;

/// A table of a configuration file, every key of which has a default.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        pub(crate) struct $name { $(pub(crate) $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

pub(crate) use table;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

pub(crate) fn seconds(seconds: u64) -> Span {
    Span(std::time::Duration::from_secs(seconds))
}

fn gibibytes(count: u64) -> Bytes {
    Bytes(count << 30)
}

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct File {
    #[serde(default = "default_name")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) regions: Vec<Region>,
    #[serde(default = "default_data_dir")]
    pub(crate) data_dir: PathBuf,
    #[serde(default = "default_run_dir")]
    pub(crate) run_dir: PathBuf,
    pub(crate) chain: Chain,
    #[serde(default)]
    pub(crate) account: Account,
    #[serde(default)]
    pub(crate) prices: Prices,
    #[serde(default)]
    pub(crate) terms: Terms,
    #[serde(default)]
    pub(crate) listen: Listen,
    #[serde(default)]
    pub(crate) network: Network,
    #[serde(default)]
    pub(crate) gateway: Gateway,
    #[serde(default)]
    pub(crate) engine: Engine,
    #[serde(default)]
    pub(crate) kubernetes: Kubernetes,
    #[serde(default)]
    pub(crate) metering: Metering,
    #[serde(default)]
    pub(crate) claims: Claims,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) log: Log,
}

fn default_name() -> String {
    "provider".into()
}

fn default_data_dir() -> PathBuf {
    "/var/lib/apocryph".into()
}

fn default_run_dir() -> PathBuf {
    "/run/apocryph".into()
}

/// The chain and its contracts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Chain {
    #[serde(default)]
    pub(crate) rpc: Vec<Url>,
    pub(crate) id: u64,
    pub(crate) payment: Address,
    pub(crate) registry: Address,
    pub(crate) token: Address,
    #[serde(default = "default_decimals")]
    pub(crate) token_decimals: u8,
    #[serde(default = "default_confirmations")]
    pub(crate) confirmations: u64,
    #[serde(default)]
    pub(crate) first_block: u64,
    /// The hashes of other code that is taken for the contracts'.
    #[serde(default)]
    pub(crate) accept_code: Vec<Hash32>,
}

fn default_decimals() -> u8 {
    18
}

fn default_confirmations() -> u64 {
    1
}

table! {
    /// The key that claims.
    Account {
        key_file: Option<PathBuf> = None,
        password_file: Option<PathBuf> = None,
        payout: Option<Address> = None,
    }
}

table! {
    /// In whole tokens.
    Prices {
        cpu_used: Option<Text<Decimal>> = None,
        cpu_reserved: Option<Text<Decimal>> = None,
        memory: Option<Text<Decimal>> = None,
        storage: Option<Text<Decimal>> = None,
        ingress: Option<Text<Decimal>> = None,
        egress: Option<Text<Decimal>> = None,
    }
}

table! {
    /// What is asked of channels.
    Terms {
        least_runway: Span = seconds(10 * MINUTE),
        least_unlock_delay: Span = seconds(HOUR),
        grace: Span = seconds(10 * MINUTE),
    }
}

table! {
    /// Where it listens.
    Listen {
        gateway: Listener = listener([0, 0, 0, 0], 8080),
        gateway_tls: Option<Listener> = None,
        gateways: Option<Listener> = None,
        p2p: Listener = listener([0, 0, 0, 0], 4001),
        registry: Listener = listener([127, 0, 0, 1], 0),
        health: Listener = listener([127, 0, 0, 1], 9090),
    }
}

pub(crate) fn listener(ip: [u8; 4], port: u16) -> Listener {
    Listener(SocketAddr::from((ip, port)))
}

table! {
    /// The peer-to-peer network.
    Network {
        external: Vec<String> = Vec::new(),
        bootstrap: Vec<PeerAddress> = Vec::new(),
    }
}

/// Whose a host name is that a publisher brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HostNames {
    /// Whose the DNS says that it is.
    Dns,
    /// Whose pod came first.
    FirstCome,
}

table! {
    /// The door to the pods.
    Gateway {
        here: bool = true,
        token_file: Option<PathBuf> = None,
        lease: Span = seconds(10),
        domain: Option<Hostname> = None,
        host_names: HostNames = HostNames::Dns,
        resolver: Option<Listener> = None,
        public_address: Option<IpAddr> = None,
        public_port: Option<u16> = None,
        tcp_ports: Ports = Ports(30_000..=32_767),
        tls_certificate: Option<PathBuf> = None,
        tls_key: Option<PathBuf> = None,
        drain: Span = seconds(10),
    }
}

/// What runs the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EngineKind {
    /// This machine.
    Embedded,
    /// A cluster.
    Kubernetes,
}

table! {
    /// The engine.
    Engine {
        kind: EngineKind = EngineKind::Embedded,
        name: Option<Text<InstanceName>> = None,
        runtime: PathBuf = "crun".into(),
        subnet: Option<Text<Subnet>> = None,
        stop_grace: Span = seconds(10),
        image_limit: Bytes = gibibytes(10),
    }
}

/// Where the layers of images are decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Decrypt {
    /// In the daemon, while nodes pull them.
    Provider,
    /// By the nodes' container runtime, with keys from the daemon.
    Nodes,
}

table! {
    /// The cluster, where the engine is one.
    Kubernetes {
        decrypt: Decrypt = Decrypt::Provider,
        kubeconfig: Option<PathBuf> = None,
        registry_name: Option<String> = None,
        start_timeout: Span = seconds(MINUTE),
        runtime_class: Option<String> = None,
        seccomp_profile: Option<String> = None,
        storage_class: Option<String> = None,
        gateway_networks: Vec<String> = Vec::new(),
        gateway_namespace: Option<String> = None,
    }
}

table! {
    /// How often it looks.
    Metering {
        period: Span = seconds(10),
        reconcile: Span = seconds(3),
    }
}

table! {
    /// When it claims.
    Claims {
        fee_factor: u32 = 20,
        coin_worth: Option<Text<Decimal>> = None,
        period: Span = seconds(24 * HOUR),
        before_end: Span = seconds(HOUR),
    }
}

table! {
    /// What strangers may make it keep.
    Limits {
        pods: u64 = 1000,
        pods_per_publisher: u64 = 20,
        pod_size: Bytes = gibibytes(10),
        store_size: Bytes = gibibytes(100),
        provisions: usize = 8,
        provision_time: Span = seconds(30 * MINUTE),
        linger: Span = seconds(10 * MINUTE),
    }
}

table! {
    /// The log.
    Log {
        level: Text<tracing::Level> = Text(tracing::Level::INFO),
        format: LogFormat = LogFormat::Text,
    }
}

/// Reads a configuration file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    let text = fs::read_to_string(path)
        .map_err(|problem| SettingsError::Unreadable { path: path.into(), problem })?;
    toml::from_str(&text).map_err(|error| SettingsError::Malformed {
        path: path.into(),
        problem: error.to_string().trim_end().into(),
    })
}
