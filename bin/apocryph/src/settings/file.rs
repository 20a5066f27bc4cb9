//! The configuration file.

use super::{Settings, SettingsError};
use apocryph_model::{Address, Hash32};
use serde::Deserialize;
use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
};
use url::Url;

/// `config.toml`: every key may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) chain: Chain,
    pub(super) key: Key,
    pub(super) state: State,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Chain {
    pub(super) rpc: Vec<Url>,
    pub(super) id: Option<u64>,
    pub(super) payment: Option<Address>,
    pub(super) registry: Option<Address>,
    pub(super) first_block: Option<u64>,
    pub(super) accept_code: Vec<Hash32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Key {
    pub(super) file: Option<PathBuf>,
    pub(super) password_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub(super) dir: Option<PathBuf>,
}

impl File {
    /// Reads the file; one that is not there sets nothing.
    pub(super) fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(problem) => return Err(SettingsError::Unreadable { path: path.into(), problem }),
        };
        toml::from_str(&text).map_err(|e| SettingsError::Malformed {
            path: path.into(),
            problem: e.to_string().trim_end().into(),
        })
    }
}

/// A commented configuration file with what is known filled in.
pub(crate) fn template(settings: &Settings) -> String {
    let Settings { rpc, chain_id: id, payment, registry, first_block, .. } = settings;
    let quoted = |address: Address| format!("\"{address}\"");
    let rpc: Vec<_> = rpc.iter().map(|url| format!("\"{url}\"")).collect();
    let rpc = Some(rpc.join(", ")).filter(|rpc| !rpc.is_empty()).map(|rpc| format!("[{rpc}]"));
    format!(
        "# Settings of apocryph. Flags and environment variables go before them.\n\
         \n\
         [chain]\n\
         # RPC endpoints of the chain; they stand in for each other.\n\
         {}\
         # The chain's id (EIP-155): an endpoint of another chain is refused.\n\
         {}\
         # The contracts.\n\
         {}\
         {}\
         # The block of their deployment, or any before it: where their events begin.\n\
         {}\
         # Hashes (EIP-1052) of other code to take for the contracts': those that a refusal names.\n\
         # accept-code = []\n\
         \n\
         [key]\n\
         # A keystore V3, or a file with the key as hex.\n\
         {}\
         # A file with the keystore's password; without one it is asked for.\n\
         # password-file = \"/run/secrets/apocryph-password\"\n\
         \n\
         [state]\n\
         # Where deployments and their keys are remembered.\n\
         {}",
        line("rpc", rpc, "[\"http://127.0.0.1:8545\"]"),
        line("id", *id, "31337"),
        line("payment", payment.map(quoted), "\"0x0000000000000000000000000000000000000000\""),
        line("registry", registry.map(quoted), "\"0x0000000000000000000000000000000000000000\""),
        line("first-block", Some(*first_block).filter(|block| *block > 0), "0"),
        line("file", Some(toml::Value::from(settings.key.file.display().to_string())), ""),
        line("dir", Some(toml::Value::from(settings.state.display().to_string())), ""),
    )
}

/// `key = value`, or the example as a comment.
fn line(key: &str, value: Option<impl Display>, example: &str) -> String {
    match value {
        Some(value) => format!("{key} = {value}\n"),
        None => format!("# {key} = {example}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, text).unwrap();
        let error = File::read(&path).err().unwrap().to_string();
        error.replace(&folder.path().display().to_string(), "")
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_stands() {
        insta::assert_snapshot!(refused("[chain]\nid = 1\npayement = \"0x00\"\n"));
        insta::assert_snapshot!(refused("[chain]\nid = \"one\"\n"));
        insta::assert_snapshot!(refused("[chain]\nregistry = \"0x00\"\n"));
    }

    #[test]
    fn a_file_that_is_absent_sets_nothing() {
        assert!(File::read(Path::new("/nonexistent/config.toml")).unwrap().chain.rpc.is_empty());
    }
}
