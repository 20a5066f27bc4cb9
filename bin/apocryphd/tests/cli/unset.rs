//! What `init` leaves to be filled in does not pass unseen.

use crate::provider::{Provider, text};

#[test]
fn a_chain_that_nobody_filled_in_is_refused_by_name() {
    let provider = Provider::new();
    assert!(provider.run(&["--rpc", "http://127.0.0.1:1", "init"]).status.success());
    provider.set("0.0.0.0:4001", "127.0.0.1:4001");
    for key in ["payment", "registry", "token"] {
        for (command, code) in [("check", 1), ("register", 2), ("unregister", 2), ("run", 2)] {
            let output = provider.run(&[command]);
            let told = text(&output.stdout) + &text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{command}: {told}");
            assert!(told.contains(&format!("chain.{key} is not set yet")), "{command}: {told}");
        }
        provider.set(&format!("\n{key} = \"0x{:0>40}\"", 0), &format!("\n{key} = \"0x{:0>40}\"", 7));
    }
    assert!(!text(&provider.run(&["check"]).stdout).contains("not set yet"));
}

#[test]
fn pods_run_for_nothing_only_where_that_was_said() {
    let provider = Provider::new();
    provider.init();
    provider.set("0.0.0.0:4001", "127.0.0.1:4001");
    let refused = provider.run(&["register"]);
    assert_eq!(refused.status.code(), Some(2));
    insta::assert_snapshot!("free", provider.hide(&refused.stderr));
    // With it, and with one price, the chain is asked, which is not there.
    assert_eq!(provider.run(&["register", "--free"]).status.code(), Some(6));
    provider.set("memory = \"0\"", "memory = \"0.1\"");
    assert_eq!(provider.run(&["register"]).status.code(), Some(6));
}
