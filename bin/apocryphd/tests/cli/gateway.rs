//! The gateway as a process of its own, as its operator meets it.

use crate::provider::{apocryphd, text};
use std::fs;

#[test]
fn a_gateway_is_explained_and_says_what_it_lacks() {
    insta::assert_snapshot!("help_gateway", text(&apocryphd(&["gateway", "--help"]).stdout));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    let run =
        |words: &[&str]| apocryphd(&[&["--config", config.to_str().unwrap(), "gateway"], words].concat());
    let hide = |bytes: &[u8]| text(bytes).replace(folder.path().to_str().unwrap(), "");
    let none = run(&["run"]);
    assert_eq!(none.status.code(), Some(2), "{}", text(&none.stderr));
    insta::assert_snapshot!("gateway_init", hide(&run(&["init"]).stdout));
    // Port 1 of this machine: nobody listens there.
    let token = folder.path().join("token");
    let settings = format!(
        "daemon = \"127.0.0.1:1\"\ntoken-file = \"{}\"\n[listen]\ngateway = \"127.0.0.1:0\"\nhealth = \"127.0.0.1:0\"\n",
        token.display()
    );
    fs::write(&config, settings).unwrap();
    fs::write(&token, "guess me").unwrap();
    let short = run(&["check"]);
    assert_eq!(short.status.code(), Some(1));
    insta::assert_snapshot!("gateway_token", hide(&short.stdout));
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let alone = run(&["check"]);
    assert_eq!(alone.status.code(), Some(1));
    insta::assert_snapshot!("gateway_alone", hide(&alone.stdout));
}
