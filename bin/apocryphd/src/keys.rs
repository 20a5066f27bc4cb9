//! The provider's keys: its account's, its node's, and the one that seals its state.

use crate::{
    failure::{Failure, with_causes},
    settings::Settings,
};
use apocryph_evm::{Key, KeyError};
use apocryph_link::{Role, Token};
use apocryph_p2p::{Identity, IdentityError};
use apocryph_seal::{EnvelopeError, EnvelopeKey};
use apocryph_statement::SignerError;
use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Holds the account's key as hex.
const KEY_VARIABLE: &str = "APOCRYPHD_KEY";
/// Holds the keystore's password.
const PASSWORD_VARIABLE: &str = "APOCRYPHD_PASSWORD";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyProblem {
    /// The account's key is not there, or is something else.
    #[error(transparent)]
    Account(#[from] KeyError),
    /// The node's key is not there, or is something else.
    #[error("{text}: `apocryphd init` makes one", text = with_causes(.0))]
    Node(#[from] IdentityError),
    /// A file with a key or password cannot be read or written.
    #[error("{path}: {problem}: `apocryphd init` makes what is missing")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The state key's file holds something else.
    #[error("{0} does not hold a key of 32 bytes: restore it, without it no pod can be restored")]
    State(PathBuf),
    /// The account's key does not sign.
    #[error(transparent)]
    Signature(#[from] SignerError),
    /// The system gives no randomness.
    #[error("a key could not be made: {0}")]
    Randomness(#[from] EnvelopeError),
}

/// The account's key: from the environment, else from its file.
pub(crate) fn account(settings: &Settings) -> Result<Key, KeyProblem> {
    if let Some(hex) = secret_variable(KEY_VARIABLE) {
        return Ok(Key::from_hex(&hex)?);
    }
    let (key_file, password_file) = settings.key_files();
    match Key::read(&key_file, None) {
        Err(KeyError::PasswordNeeded(_)) => {
            let password = match secret_variable(PASSWORD_VARIABLE) {
                Some(password) => password,
                None => read_password(&password_file)?,
            };
            Ok(Key::read(&key_file, Some(&password))?)
        }
        read => Ok(read?),
    }
}

/// The node's key.
pub(crate) fn node(settings: &Settings) -> Result<Identity, KeyProblem> {
    Ok(Identity::load(&settings.data("network.key"))?)
}

/// What seals the pods' keys at rest.
pub(crate) fn state(settings: &Settings) -> Result<EnvelopeKey, KeyProblem> {
    let path = settings.data("state.key");
    let bytes = fs::read(&path).map(Zeroizing::new).map_err(at(&path))?;
    let key = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| KeyProblem::State(path))?;
    Ok(EnvelopeKey::from_bytes(key))
}

/// What the daemon shares with its gateways, or with the readers on nodes.
pub(crate) fn link_token(path: &Path, role: Role) -> Result<Token, Failure> {
    Token::read(path, role).map_err(|problem| Failure::Token { path: path.into(), role, problem })
}

/// Makes the data directory and every key that is missing; tells which were made.
pub(crate) fn create(settings: &Settings) -> Result<Vec<PathBuf>, KeyProblem> {
    let data_dir = &settings.file.data_dir;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(at(data_dir))?;
    let mut made = Vec::new();
    let node = settings.data("network.key");
    if !node.exists() {
        Identity::create(&node)?;
        made.push(node);
    }
    let state = settings.data("state.key");
    if !state.exists() {
        write_secret(&state, EnvelopeKey::generate()?.expose())?;
        made.push(state);
    }
    made.extend(create_account(settings)?);
    Ok(made)
}

/// Makes a keystore, with a password of its own where none is given.
fn create_account(settings: &Settings) -> Result<Vec<PathBuf>, KeyProblem> {
    let (key_file, password_file) = settings.key_files();
    if key_file.exists() || secret_variable(KEY_VARIABLE).is_some() {
        return Ok(Vec::new());
    }
    let mut made = vec![key_file.clone()];
    let password = match secret_variable(PASSWORD_VARIABLE) {
        Some(password) => password,
        None if password_file.exists() => read_password(&password_file)?,
        None => {
            let password = Key::generate().to_hex();
            write_secret(&password_file, password.as_bytes())?;
            made.push(password_file);
            password
        }
    };
    Key::generate().write(&key_file, &password)?;
    Ok(made)
}

fn secret_variable(name: &str) -> Option<Zeroizing<String>> {
    env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
}

fn read_password(path: &Path) -> Result<Zeroizing<String>, KeyProblem> {
    let text = fs::read_to_string(path).map(Zeroizing::new).map_err(at(path))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).into()))
}

/// Writes a new file that only its owner can read, down to the disk.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyProblem> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeyProblem {
    let path = path.to_owned();
    move |problem| KeyProblem::File { path, problem }
}
