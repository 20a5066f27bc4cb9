//! Manifests that are wrong, and the secrets they name: told before anything is signed.

use crate::pods::close_unused;
use crate::refusal::{kept, refused};

const GOOD: &str = "\
name: bad
containers:
  - name: main
    image: oci:images:front
    env: {MODE: fast}
    ports:
      - {http: 8080, host: bad.example.com}
    resources: {cpu: 100m, memory: 32Mi, storage: 32Mi}
";

/// A change of the good manifest, and a part of what is said of it.
const CHANGES: [(&str, &str, &str); 9] = [
    ("image:", "imgae:", "unknown field `imgae`"),
    ("memory: 32Mi", "memory: 32MB", "32MB"),
    ("memory: 32Mi", "memory: -32Mi", "-32Mi"),
    ("storage: 32Mi", "storage: 900Pi", "900Pi"),
    (
        "- {http: 8080, host: bad.example.com}",
        "- {http: 8080, host: bad.example.com}\n      - {http: 8081, host: bad.example.com}",
        "bad.example.com",
    ),
    (
        "- {http: 8080, host: bad.example.com}",
        "- {http: 8080, host: bad.example.com}\n      - {tcp: 8080}",
        "8080",
    ),
    ("MODE: fast", "MODE: {secret: mode}", "mode"),
    ("MODE: fast", "MODE: &loop [*loop]", "contains it"),
    ("name: bad", "name: ../bad", "../bad"),
];

/// Aliases that unfold to a thousand million values.
fn bomb() -> String {
    let level = |n: u32| format!("X{n}: &x{n} [{}]", vec![format!("*x{}", n - 1); 9].join(", "));
    let first = "X0: &x0 [x, x, x, x, x, x, x, x, x]".to_owned();
    std::iter::once(first).chain((1..10).map(level)).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_manifest_that_is_wrong_costs_nothing() {
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    let before = kept(&market.daemons[0]);
    let write = |text: &[u8]| std::fs::write(publisher.folder.join("bad.yaml"), text).unwrap();
    for (from, to, told) in CHANGES {
        assert!(GOOD.contains(from), "{from}");
        write(GOOD.replacen(from, to, 1).as_bytes());
        let refusal = refused(&publisher, "bad.yaml").await;
        assert_eq!(refusal.verdict(), ("publisher", "manifest", false), "{to}: {refusal:?}");
        assert_eq!(refusal.ending, "exit code 3");
        assert!(refusal.text.contains(told), "{refusal:?}");
    }
    write(GOOD.replace("MODE: fast", &bomb()).as_bytes());
    let refusal = refused(&publisher, "bad.yaml").await;
    assert!(refusal.text.contains("unfolds to more than a manifest may hold"), "{refusal:?}");
    write(&vec![b'a'; 50 << 20]);
    let refusal = refused(&publisher, "bad.yaml").await;
    assert_eq!(refusal.verdict(), ("publisher", "manifest", false), "{refusal:?}");
    assert!(refusal.text.contains("larger than 1 MiB"), "{refusal:?}");
    assert_eq!(kept(&market.daemons[0]), before);
    close_unused(market, &publisher).await;
}

#[tokio::test]
async fn a_secret_that_is_missing_costs_nothing() {
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    crate::pods::write(&publisher, "unused", "0");
    for (source, told) in [("file: gone.txt", "gone.txt"), ("env: UNSET", "UNSET is not set")] {
        let text = GOOD.replace("MODE: fast", "MODE: {secret: mode}") + "secrets:\n  mode: {SOURCE}\n";
        std::fs::write(publisher.folder.join("bad.yaml"), text.replace("SOURCE", source)).unwrap();
        let refusal = refused(&publisher, "bad.yaml").await;
        assert_eq!(refusal.verdict(), ("publisher", "secret", false), "{refusal:?}");
        assert_eq!(refusal.ending, "exit code 3");
        assert!(refusal.text.contains("MODE") && refusal.text.contains(told), "{refusal:?}");
    }
    close_unused(market, &publisher).await;
}
