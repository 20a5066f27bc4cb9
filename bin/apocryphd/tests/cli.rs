//! What the operator sees of the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// The program in an environment of its own.
fn apocryphd(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apocryphd"));
    command.env_clear().env("PATH", "/usr/bin:/bin").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

struct Provider {
    folder: TempDir,
}

impl Provider {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("etc/apocryphd.toml")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let (config, data, run) = (self.config(), self.data(), self.folder.path().join("run"));
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let (config, data, run) = (path(&config), path(&data), path(&run));
        let settings = ["--config", &config, "--data-dir", &data, "--run-dir", &run];
        apocryphd(&[&settings[..], arguments].concat())
    }

    fn hide(&self, shown: &[u8]) -> String {
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

#[test]
fn help_is_worth_reading() {
    insta::assert_snapshot!("help", text(&apocryphd(&["--help"]).stdout));
    for command in ["init", "run"] {
        let help = text(&apocryphd(&[command, "--help"]).stdout);
        insta::assert_snapshot!(format!("help_{command}"), help);
    }
}

#[test]
fn init_writes_an_explained_configuration_and_keys_that_only_their_owner_reads() {
    let provider = Provider::new();
    let token = "0x00000000000000000000000000000000000000bb";
    let made =
        provider.run(&["--rpc", "http://127.0.0.1:8545", "init", "--chain-id", "31337", "--token", token]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    insta::assert_snapshot!("init", provider.hide(&made.stdout));
    insta::assert_snapshot!("configuration", fs::read_to_string(provider.config()).unwrap());
    for name in ["account.json", "account.password", "network.key", "state.key"] {
        let mode = fs::metadata(provider.data().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let config = fs::read(provider.config()).unwrap();
    let again = provider.run(&["init"]);
    assert_eq!(fs::read(provider.config()).unwrap(), config);
    let lines = |output: &Output| text(&output.stdout).lines().filter(|l| !l.starts_with("wrote")).count();
    assert_eq!(lines(&again), lines(&made));
    assert!(!text(&again.stdout).contains("wrote"));
}

#[test]
fn without_a_configuration_it_says_how_to_make_one() {
    let provider = Provider::new();
    let run = provider.run(&["run"]);
    assert_eq!(run.status.code(), Some(2));
    insta::assert_snapshot!("no_configuration", provider.hide(&run.stderr));
}

#[test]
fn a_chain_that_does_not_answer_is_told_from_a_wrong_setting() {
    let provider = Provider::new();
    assert!(provider.run(&["--rpc", "http://127.0.0.1:1", "init"]).status.success());
    let registered = provider.run(&["register"]);
    assert_eq!(registered.status.code(), Some(2));
    insta::assert_snapshot!("no_address", provider.hide(&registered.stderr));
    let config = fs::read_to_string(provider.config()).unwrap().replace("0.0.0.0:4001", "127.0.0.1:4001");
    fs::write(provider.config(), config).unwrap();
    let registered = provider.run(&["register"]);
    assert_eq!(registered.status.code(), Some(6), "{}", text(&registered.stderr));
}

#[test]
fn status_without_a_ledger_says_so_in_json_too() {
    let provider = Provider::new();
    provider.run(&["init"]);
    let status = provider.run(&["--rpc", "http://127.0.0.1:1", "status", "--json"]);
    assert_eq!(status.status.code(), Some(3));
    insta::assert_snapshot!("no_ledger", provider.hide(&status.stdout));
}
