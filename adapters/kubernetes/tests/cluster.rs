//! What the engine does in the cluster, beyond the contract of engines. Needs a cluster.

mod support;

use std::time::Duration;

use apocryph_model::Bytes;
use apocryph_model::VolumeKind;
use apocryph_provider::Engine as _;
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use support::{Bench, PATIENCE, with_engine, with_faults};

/// The only namespace of the engine's pods.
async fn namespace(bench: &Bench) -> Namespace {
    bench.namespaces().await.remove(0)
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    with_faults(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image)
                .container("main", "sleep 600")
                .with(|container| drop(container.env.insert("KEY".into(), "value".into())))
                .volume("keep", "/keep", VolumeKind::Persistent { size: Bytes(8 << 20) }, &[])
                .volume("secret", "/secret", VolumeKind::Secret, &[("password", "hunter2")])
                .build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            let written = bench.api().written();
            assert!(written >= 8, "namespace, bounds, secrets, volume: {written}");
            bench.engine().prepare(&pod).await.unwrap();
            bench.restart().await;
            bench.engine().prepare(&pod).await.unwrap();
            assert_eq!(bench.api().written(), written, "no write has reached the API server");
        })
    });
}

#[test]
fn what_others_change_is_put_back() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", "sleep 600").build(bench);
            let client = bench.client().await;
            bench.engine().prepare(&pod).await.unwrap();
            let name = namespace(bench).await.name_any();
            let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), &name);
            let before = policies.get("bounds").await.unwrap().spec;
            let open = json!({ "spec": { "ingress": [{}] } });
            policies.patch("bounds", &PatchParams::default(), &Patch::Merge(open)).await.unwrap();
            let quotas: Api<ResourceQuota> = Api::namespaced(client, &name);
            quotas.delete("bounds", &DeleteParams::default()).await.unwrap();
            bench.engine().prepare(&pod).await.unwrap();
            assert_eq!(policies.get("bounds").await.unwrap().spec, before);
            quotas.get("bounds").await.unwrap();
        })
    });
}

#[test]
fn an_update_takes_away_what_it_does_not_name() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let first = PodUnderTest::new(1, image)
                .container("main", "sleep 600")
                .volume("keep", "/keep", VolumeKind::Persistent { size: Bytes(8 << 20) }, &[])
                .build(bench);
            let second = PodUnderTest::new(1, image).container("main", "sleep 600").build(bench);
            let client = bench.client().await;
            bench.engine().prepare(&first).await.unwrap();
            bench.engine().prepare(&second).await.unwrap();
            let name = namespace(bench).await.name_any();
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, &name);
            let gone = async {
                while !claims.list(&ListParams::default()).await.unwrap().items.is_empty() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            tokio::time::timeout(PATIENCE, gone).await.expect("the volume goes");
        })
    });
}
