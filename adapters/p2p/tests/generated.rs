//! The checked-in gRPC code is what the proto file gives.
//!
//! After a change of the proto file: `REGENERATE=1 cargo test -p apocryph-p2p --test generated`.

use std::{fs, path::Path, process::Command};

#[test]
fn the_generated_code_is_current() {
    if Command::new("protoc").arg("--version").output().is_err() {
        eprintln!("skipped: needs protoc (Debian package protobuf-compiler)");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .bytes(".")
        .skip_debug([".apocryph.provision.v1.ProvisionPayload", ".apocryph.provision.v1.Call"])
        .out_dir(fresh.path())
        .compile_protos(&[root.join("proto/provision.proto")], &[root.join("proto")])
        .unwrap();
    let name = "apocryph.provision.v1.rs";
    let fresh = fs::read_to_string(fresh.path().join(name)).unwrap();
    let checked_in = root.join("src/generated").join(name);
    if std::env::var_os("REGENERATE").is_some() {
        fs::write(&checked_in, &fresh).unwrap();
    }
    let current = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(current == fresh, "proto/provision.proto has changed: see the head of this test");
}
