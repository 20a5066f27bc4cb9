//! What the command line, the environment and the configuration file mean together.

mod file;

use crate::args::Overrides;
use apocryph_model::{Address, Hash32};
use file::File;
use std::{env, path::PathBuf};
use url::Url;
use zeroize::Zeroizing;

pub(crate) use file::template;

/// Holds the account's key as hex.
const KEY_VARIABLE: &str = "APOCRYPH_KEY";
/// Holds the keystore's password.
pub(crate) const PASSWORD_VARIABLE: &str = "APOCRYPH_PASSWORD";

/// Why the settings do not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The configuration file cannot be read.
    #[error("{path}: {problem}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// The configuration file holds something that it must not.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and what is allowed.
        problem: String,
    },
    /// A setting that the command needs was not given.
    #[error("{what} is not set: give --{flag}, set {variable}, or put `{key}` into {path}")]
    Missing {
        /// For people.
        what: &'static str,
        /// The flag.
        flag: &'static str,
        /// The environment variable.
        variable: &'static str,
        /// The key of the configuration file.
        key: &'static str,
        /// The configuration file.
        path: PathBuf,
    },
    /// There is no home directory, and no place was named.
    #[error("HOME is not set: name the files with --config, --key-file and --state-dir")]
    NoHome,
}

/// Everything that is set; what a command needs and lacks is told when it asks.
pub(crate) struct Settings {
    /// The configuration file, which need not be there.
    pub(crate) config: PathBuf,
    /// The key.
    pub(crate) key: KeySettings,
    /// Where deployments are remembered.
    pub(crate) state: PathBuf,
    rpc: Vec<Url>,
    chain_id: Option<u64>,
    payment: Option<Address>,
    registry: Option<Address>,
    first_block: u64,
    accept_code: Vec<Hash32>,
}

/// Where the key is.
pub(crate) struct KeySettings {
    /// The key itself, from the environment.
    pub(crate) hex: Option<Zeroizing<String>>,
    /// A keystore, or a file with hex.
    pub(crate) file: PathBuf,
    /// The keystore's password, from the environment.
    pub(crate) password: Option<Zeroizing<String>>,
    /// Where the keystore's password is.
    pub(crate) password_file: Option<PathBuf>,
}

/// The chain and its contracts.
#[derive(Debug, Clone)]
pub(crate) struct ChainSettings {
    /// The endpoints, the preferred one first.
    pub(crate) rpc: Vec<Url>,
    /// The chain's id.
    pub(crate) id: u64,
    /// The Payment contract.
    pub(crate) payment: Address,
    /// The Registry contract.
    pub(crate) registry: Address,
    /// The block from which on the contracts' events are looked for.
    pub(crate) first_block: u64,
    /// The hashes of other code that is taken for the contracts'.
    pub(crate) accept_code: Vec<Hash32>,
}

impl Settings {
    /// Reads the configuration file, if it is there, and lets flags and environment go before it.
    pub(crate) fn load(overrides: Overrides) -> Result<Self, SettingsError> {
        let own = |name| in_home("XDG_CONFIG_HOME", ".config").map(|folder| folder.join(name));
        let config = overrides.config.map_or_else(|| own("config.toml"), Ok)?;
        let file = File::read(&config)?;
        let secret = |variable| env::var(variable).ok().filter(|v| !v.is_empty()).map(Zeroizing::new);
        let key_file = overrides.key_file.or(file.key.file);
        let state = overrides.state_dir.or(file.state.dir);
        Ok(Self {
            key: KeySettings {
                hex: secret(KEY_VARIABLE),
                file: key_file.map_or_else(|| own("key.json"), Ok)?,
                password: secret(PASSWORD_VARIABLE),
                password_file: overrides.password_file.or(file.key.password_file),
            },
            state: state.map_or_else(|| in_home("XDG_DATA_HOME", ".local/share"), Ok)?,
            rpc: if overrides.rpc.is_empty() { file.chain.rpc } else { overrides.rpc },
            chain_id: overrides.chain_id.or(file.chain.id),
            payment: overrides.payment.or(file.chain.payment),
            registry: overrides.registry.or(file.chain.registry),
            first_block: overrides.first_block.or(file.chain.first_block).unwrap_or_default(),
            accept_code: file.chain.accept_code,
            config,
        })
    }

    /// The chain's settings, all of which must be there.
    pub(crate) fn chain(&self) -> Result<ChainSettings, SettingsError> {
        let lacks = |what, flag, variable, key| SettingsError::Missing {
            what,
            flag,
            variable,
            key,
            path: self.config.clone(),
        };
        let rpc = || lacks("the chain's RPC endpoint", "rpc", "APOCRYPH_RPC", "chain.rpc");
        let id = || lacks("the chain's id", "chain-id", "APOCRYPH_CHAIN_ID", "chain.id");
        let payment = || lacks("the Payment contract", "payment", "APOCRYPH_PAYMENT", "chain.payment");
        let registry = || lacks("the Registry contract", "registry", "APOCRYPH_REGISTRY", "chain.registry");
        Ok(ChainSettings {
            rpc: Some(self.rpc.clone()).filter(|rpc| !rpc.is_empty()).ok_or_else(rpc)?,
            id: self.chain_id.ok_or_else(id)?,
            payment: self.payment.ok_or_else(payment)?,
            registry: self.registry.ok_or_else(registry)?,
            first_block: self.first_block,
            accept_code: self.accept_code.clone(),
        })
    }
}

/// `apocryph` in a folder of the XDG Base Directory Specification.
fn in_home(variable: &str, default: &str) -> Result<PathBuf, SettingsError> {
    let set = |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set(variable).or_else(|| Some(set("HOME")?.join(default)));
    Ok(base.ok_or(SettingsError::NoHome)?.join("apocryph"))
}
