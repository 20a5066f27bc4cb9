//! Layers that the nodes decrypt, with keys from the registry endpoint.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests tell by panics and lines")]

mod support;

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use apocryph_oci::registry::Decryption;
use apocryph_provider::{Engine as _, EngineError};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _};
use apocryph_testbed::layout::{Image, Layer};
use support::with_decryption;

/// Has the nodes ask there for keys, by the command that `CLUSTER_KEYS` names; false, and a line
/// that says why, where there is none.
fn ask_for_keys_at(address: &str) -> bool {
    let Ok(command) = std::env::var("CLUSTER_KEYS") else {
        eprintln!("skipped: CLUSTER_KEYS names no command that tells nodes of a key provider");
        return false;
    };
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).arg(address).status();
    assert!(status.unwrap().success(), "{command}");
    true
}

/// A layer that a node has unpacked runs without any key: nobody else's has this content.
fn unheard_of(instance: &str, gzip: bool) -> Image {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let layer = Layer::new().directory("bin", 0o755).file("bin/sleep", busybox, 0o755);
    let layer = layer.file("content", format!("{instance} {now:?}"), 0o644);
    Image::new(vec![if gzip { layer.gzip() } else { layer }])
}

#[test]
fn nodes_run_what_they_get_the_keys_to() {
    with_decryption(Decryption::OnNodes, |bench| {
        Box::pin(async move {
            if !ask_for_keys_at("127.0.0.1:1") {
                return;
            }
            let pods = [(1, false), (2, true)].map(|(number, gzip)| {
                let image = bench.ship(&unheard_of(bench.instance(), gzip));
                let pod = PodUnderTest::new(number, image).container("main", "");
                let sleep = Some(vec!["/bin/sleep".into(), "600".into()]);
                pod.with(|container| container.entrypoint = sleep).build(bench)
            });
            for pod in &pods {
                let keyless = bench.engine().prepare(pod).await.unwrap_err();
                assert!(
                    matches!(&keyless, EngineError::Host(fault) if fault.code == "image-pull"),
                    "{keyless:?}"
                );
            }
            assert!(ask_for_keys_at(&bench.config.registry));
            for pod in &pods {
                bench.engine().prepare(pod).await.unwrap();
                assert_eq!(bench.engine().scale(pod.id, 1).await.unwrap().len(), 1);
            }
        })
    });
}
