//! The account's key: from the environment, a file or a keystore.

use crate::settings::{KeySettings, PASSWORD_VARIABLE};
use apocryph_evm::{Key, KeyError};
use inquire::{Password, PasswordDisplayMode};
use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyProblem {
    /// It is not there, or is something else.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is none.
    #[error("there is no key at {0}: `apocryph init` makes one; APOCRYPH_KEY or --key-file names another")]
    Absent(PathBuf),
    /// The file with the password cannot be read.
    #[error("the password file {path}: {problem}")]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// There is no one to ask.
    #[error("the keystore's password is needed: set {PASSWORD_VARIABLE} or --password-file")]
    NoPassword,
}

/// The account's key.
pub(crate) fn load(settings: &KeySettings) -> Result<Key, KeyProblem> {
    if let Some(hex) = &settings.hex {
        return Ok(Key::from_hex(hex)?);
    }
    if !settings.file.exists() {
        return Err(KeyProblem::Absent(settings.file.clone()));
    }
    match Key::read(&settings.file, None) {
        Err(KeyError::PasswordNeeded(_)) => {
            let question = Password::new("Password of the key").without_confirmation();
            let password = password(settings, question)?;
            Ok(Key::read(&settings.file, Some(&password))?)
        }
        read => Ok(read?),
    }
}

/// Makes a keystore, unless there is a key already. Tells whether it did.
pub(crate) fn create(settings: &KeySettings) -> Result<Option<Key>, KeyProblem> {
    if settings.hex.is_some() || settings.file.exists() {
        return Ok(None);
    }
    let question = Password::new("New password for the key");
    let password = password(settings, question)?;
    let key = Key::generate();
    key.write(&settings.file, &password)?;
    Ok(Some(key))
}

fn password(settings: &KeySettings, question: Password<'_>) -> Result<Zeroizing<String>, KeyProblem> {
    if let Some(password) = &settings.password {
        return Ok(password.clone());
    }
    match &settings.password_file {
        Some(path) => read_password(path),
        None if io::stdin().is_terminal() => ask(question),
        None => Err(KeyProblem::NoPassword),
    }
}

fn read_password(path: &Path) -> Result<Zeroizing<String>, KeyProblem> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|problem| KeyProblem::PasswordFile { path: path.into(), problem })?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).into()))
}

fn ask(question: Password<'_>) -> Result<Zeroizing<String>, KeyProblem> {
    let answer = question.with_display_mode(PasswordDisplayMode::Hidden).prompt();
    answer.map(Zeroizing::new).map_err(|_| KeyProblem::NoPassword)
}
