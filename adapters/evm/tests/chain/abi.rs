//! The ABI and bytecode that are checked in are those of the contracts.

use std::path::Path;
use std::process::Command;

#[test]
fn the_checked_in_abi_is_that_of_a_fresh_build() {
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
    if !contracts.join("node_modules/solc").exists() {
        return eprintln!("skipped: the compiler is missing: run `npm install --no-save --prefix contracts`");
    }
    let output =
        Command::new("node").arg(contracts.join("tools/export-abi")).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
