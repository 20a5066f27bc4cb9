//! What the operator sees of the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod check;
mod gateway;
mod provider;
mod unset;

use provider::{Provider, apocryphd, text};
use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

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
    provider.init();
    let registered = provider.run(&["register", "--free"]);
    assert_eq!(registered.status.code(), Some(2));
    insta::assert_snapshot!("no_address", provider.hide(&registered.stderr));
    provider.set("0.0.0.0:4001", "127.0.0.1:4001");
    let registered = provider.run(&["register", "--free"]);
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
