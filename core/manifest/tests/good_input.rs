//! What becomes of a manifest that is right.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use apocryph_manifest::{default_manifest, parse, schema};
use apocryph_model::*;
use proptest::prelude::*;

const FULL: &str = r#"
name: shop
containers:
  - name: web
    image: oci:images:web
    entrypoint: ["/bin/web"]
    command: [--verbose]
    workingDir: /srv
    user: "1000:1000"
    env:
      MODE: fast
      VERSION: 1.10
      DEBUG: true
      PORT: 0080
      EMPTY: ""
      QUOTED: "a\tb"
      PASSWORD: {secret: password}
    ports:
      - {http: 80, host: Shop.Example.com}
      - {http: 81}
      - {tcp: 6379, published: 16379}
    mounts:
      - {volume: data, path: /data}
      - {volume: keys, path: /run/keys, readOnly: true}
    resources: {cpu: 0.5, memory: 64Mi, storage: 1Gi}
volumes:
  - {name: data, persistent: 1Gi}
  - {name: tmp, ephemeral: 10M}
  - name: keys
    secret: {tls.key: tls}
secrets:
  password: {env: SHOP_PASSWORD}
  tls: {file: ./tls.key}
  note: {literal: hidden}
scale: {min: 1, max: 3, idle: 5m, requestsPerReplica: 10}
provider:
  address: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
  regions: [eu-west]
  attestation: [sev-snp, none]
  highestPrices: {cpuReserved: 0.040, egress: 1}
"#;

fn full() -> Manifest {
    parse(FULL.as_bytes(), "apocryph.yaml").map_err(|e| format!("{:?}", miette::Report::new(e))).unwrap()
}

#[test]
fn every_field_is_read() {
    insta::assert_debug_snapshot!(full());
}

#[test]
fn numbers_in_the_environment_stay_as_they_are_written() {
    let env = &full().containers[0].env;
    let literal = |name: &str| match &env[name] {
        EnvValue::Literal(text) => text.clone(),
        EnvValue::Secret(_) => panic!("{name} is a secret"),
    };
    assert_eq!(["VERSION", "DEBUG", "PORT", "QUOTED"].map(literal), ["1.10", "true", "0080", "a\tb"]);
}

#[test]
fn a_literal_secret_is_never_shown() {
    let text = FULL.replace("{secret: password}", "{secret: note}");
    let manifest = parse(text.as_bytes(), "apocryph.yaml").unwrap();
    assert!(!format!("{manifest:?}").contains("hidden"));
}

#[test]
fn anchors_may_repeat_values() {
    let text = FULL
        .replace("resources: {cpu: 0.5", "resources: &small {cpu: 0.5")
        .replace("volumes:\n", "  - {name: side, image: \"oci:images:side\", env: {SAME: &n 1.50, AGAIN: *n}, resources: *small}\nvolumes:\n");
    let manifest = parse(text.as_bytes(), "apocryph.yaml").unwrap();
    assert_eq!(manifest.containers[1].resources, manifest.containers[0].resources);
    assert_eq!(manifest.containers[1].env["AGAIN"], EnvValue::Literal("1.50".into()));
}

#[test]
fn the_default_manifest_is_valid() {
    let text = default_manifest(&"web".parse().unwrap(), "docker.io/library/nginx:1.27");
    insta::assert_snapshot!(text);
    let manifest = parse(text.as_bytes(), "apocryph.yaml").unwrap();
    assert_eq!(manifest.containers[0].ports, [Port::Http { container_port: 80, host: None }]);
}

#[test]
fn the_schema_of_editors() {
    insta::assert_snapshot!(schema());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_not_fatal(bytes: Vec<u8>) {
        prop_assert!(parse(&bytes, "apocryph.yaml").is_err());
    }

    #[test]
    fn a_damaged_manifest_is_never_fatal(at in 0..FULL.len(), byte: u8, cut: bool) {
        let mut bytes = FULL.as_bytes().to_vec();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Err(error) = parse(&bytes, "apocryph.yaml") {
            let shown = format!("{:?}", miette::Report::new(error));
            prop_assert!(shown.contains("apocryph.yaml"));
        }
    }
}
