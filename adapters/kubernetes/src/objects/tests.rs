use super::*;
use crate::node_registry::NodeImage;
use apocryph_model::{Bytes, Millicores, Mount, Resources, Scale, VolumeSpec};
use std::collections::BTreeMap;

pub(crate) fn config() -> Config {
    let mut config = Config::new("test".parse().unwrap(), "/data".into(), "registry.local:5000".into());
    config.gateways.networks = vec!["192.0.2.1/32".into()];
    config
}

/// A pod with a bit of everything.
pub(crate) fn prepared() -> Prepared {
    let volume = |name: &str, kind| VolumeSpec { name: name.parse().unwrap(), kind, files: BTreeMap::new() };
    let mount =
        |name: &str| Mount { volume: name.parse().unwrap(), path: format!("/{name}"), read_only: false };
    let mut secret = volume("secret", VolumeKind::Secret);
    secret.files.insert("pass word".into(), b"hunter2".to_vec());
    let size = Bytes(8 << 20);
    let container = ContainerSpec {
        name: "main".parse().unwrap(),
        image: Digest([7; 32]),
        entrypoint: Some(vec!["/bin/sh".into(), "-c".into(), "echo $(HOME) $$".into()]),
        command: None,
        working_dir: None,
        user: Some("guest:friends".into()),
        env: BTreeMap::from([("KEY".into(), "value".into())]),
        ports: Vec::new(),
        mounts: vec![mount("keep"), mount("drop"), mount("secret")],
        resources: Resources { cpu: Millicores(1500), memory: Bytes(32 << 20), storage: Bytes(16 << 20) },
    };
    let image = NodeImage {
        manifest: Digest([8; 32]),
        architecture: "amd64".into(),
        has_command: true,
        group: Some(1001),
    };
    Prepared {
        id: ChannelId([1; 32]),
        publisher: Address([2; 20]),
        namespace: "apocryph-1".into(),
        images: HashMap::from([(container.name.clone(), image)]),
        spec: PodSpec {
            name: "web".parse().unwrap(),
            containers: vec![container],
            volumes: vec![
                volume("keep", VolumeKind::Persistent { size }),
                volume("drop", VolumeKind::Ephemeral { size }),
                secret,
            ],
            scale: Scale { max: 3, ..Scale::default() },
        },
        digest: Digest([3; 32]),
        token: "open-sesame".into(),
    }
}

#[test]
fn a_replica_is_confined_and_knows_no_secret_by_itself() {
    let replica = replica(&config(), &prepared(), "r-1");
    let text = replica.to_string();
    assert!(!text.contains("hunter2") && !text.contains("value\""), "{text}");
    insta::assert_json_snapshot!("replica", replica);
}

#[test]
fn a_profile_of_the_operators_takes_the_place_of_the_runtimes() {
    let mut config = config();
    config.seccomp_profile = Some("apocryph.json".into());
    for pod in [replica(&config, &prepared(), "r-1"), pull_pod(&config, &prepared(), "pull-1", "node")] {
        let profile = json!({ "type": "Localhost", "localhostProfile": "apocryph.json" });
        assert_eq!(pod["spec"]["securityContext"]["seccompProfile"], profile);
    }
}

#[test]
fn a_pod_stands_bounded() {
    let nodes = Nodes { count: 2, addresses: vec!["8.8.4.4".parse().unwrap(), "2600::1".parse().unwrap()] };
    let standing: Vec<Value> =
        standing(&config(), &prepared(), &nodes).into_iter().map(|object| object.value).collect();
    insta::assert_json_snapshot!("standing", standing);
}

#[test]
fn what_is_written_is_what_kubernetes_reads() {
    let pod = prepared();
    let reads = |value: Value| serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(value).unwrap();
    let replica = reads(replica(&config(), &pod, "r-1"));
    let pull = reads(pull_pod(&config(), &pod, "pull-1", "node"));
    for pod in [replica, pull] {
        let spec = pod.spec.unwrap();
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert!(spec.host_network.is_none() && spec.containers[0].security_context.is_some());
        let command = spec.containers[0].command.clone().unwrap();
        assert!(command.last().unwrap() == "echo $$(HOME) $$$$" || command == ["/.apocryph-pull"]);
    }
}
