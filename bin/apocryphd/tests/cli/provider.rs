//! A provider's folder, and the program run on it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// The program in an environment of its own.
pub(crate) fn apocryphd(arguments: &[impl AsRef<OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apocryphd"));
    command.env_clear().env("PATH", "/usr/bin:/bin").args(arguments).output().unwrap()
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) struct Provider {
    pub(crate) folder: TempDir,
}

impl Provider {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("etc/apocryphd.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        apocryphd(&[&self.settings()[..], &strings(arguments)].concat())
    }

    /// The arguments by which everything of it is found.
    pub(crate) fn settings(&self) -> Vec<String> {
        let (config, data, run) = (self.config(), self.data(), self.folder.path().join("run"));
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let (config, data, run) = (path(&config), path(&data), path(&run));
        strings(&["--config", &config, "--data-dir", &data, "--run-dir", &run])
    }

    /// Has everything set that has no default. Port 1 of this machine: no chain answers there.
    pub(crate) fn init(&self) {
        let set = ["--rpc", "http://127.0.0.1:1", "init", "--chain-id", "31337"];
        let addresses = [("--payment", "0a"), ("--registry", "0b"), ("--token", "0c")]
            .map(|(flag, end)| format!("{flag}=0x{end:0>40}"));
        let made = apocryphd(&[&self.settings()[..], &strings(&set), &addresses].concat());
        assert!(made.status.success(), "{}", text(&made.stderr));
    }

    /// Puts one text of the configuration in place of another.
    pub(crate) fn set(&self, from: &str, to: &str) {
        let config = fs::read_to_string(self.config()).unwrap();
        assert!(config.contains(from), "{from} is not in {config}");
        fs::write(self.config(), config.replacen(from, to, 1)).unwrap();
    }

    pub(crate) fn hide(&self, shown: &[u8]) -> String {
        let shown = text(shown).replace(self.folder.path().to_str().unwrap(), "");
        let hide = |word: &str| match word {
            _ if word.starts_with("0x") && word.len() == 42 => "0x…".into(),
            _ if word.starts_with("12D3Koo") => "12D3Koo…".into(),
            _ => word.to_owned(),
        };
        let line = |line: &str| line.split(' ').map(hide).collect::<Vec<_>>().join(" ");
        shown.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}
