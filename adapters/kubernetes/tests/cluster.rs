//! What the engine does in the cluster, beyond the contract of engines. Needs a cluster.

mod support;

use std::time::Duration;

use apocryph_model::Bytes;
use apocryph_model::VolumeKind;
use apocryph_provider::Engine as _;
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, ResourceQuota, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use support::{Bench, PATIENCE, with_engine, with_faults, within};

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
            let looked = bench.api().looked();
            bench.engine().prepare(&pod).await.unwrap();
            assert_eq!(bench.api().written(), written, "no write has reached the API server");
            assert_eq!(bench.api().looked(), looked, "all of it was listed when the engine started");
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
            let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), &name);
            quotas.delete("bounds", &DeleteParams::default()).await.unwrap();
            let own = policies.get("bounds").await.unwrap().metadata.labels;
            let secrets: Api<Secret> = Api::namespaced(client, &name);
            let other = json!({ "metadata": { "name": "other", "labels": own } });
            secrets.create(&PostParams::default(), &serde_json::from_value(other).unwrap()).await.unwrap();
            within("all is as it was", async || {
                let is_closed = policies.get("bounds").await.unwrap().spec == before;
                let is_bounded = quotas.get_opt("bounds").await.unwrap().is_some();
                let is_alone = secrets.get_opt("other").await.unwrap().is_none();
                (is_closed && is_bounded && is_alone).then_some(())
            })
            .await;
        })
    });
}

#[test]
fn what_others_change_while_the_api_server_is_away_is_put_back_afterwards() {
    with_faults(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", "sleep 600").build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            let name = namespace(bench).await.name_any();
            let policies: Api<NetworkPolicy> = Api::namespaced(bench.client().await, &name);
            bench.api().goes_away();
            policies.delete("bounds", &DeleteParams::default()).await.unwrap();
            bench.api().answers();
            within("the policy is back", async || policies.get_opt("bounds").await.unwrap()).await;
        })
    });
}

#[test]
fn a_namespace_that_others_take_away_is_made_again() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", "sleep 600").build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            let there = namespace(bench).await;
            let namespaces: Api<Namespace> = Api::all(bench.client().await);
            namespaces.delete(&there.name_any(), &DeleteParams::default()).await.unwrap();
            within("another is there, with all in it", async || {
                let now = namespaces.get_opt(&there.name_any()).await.unwrap()?;
                let is_whole = now.annotations().contains_key("apocryph.network/spec");
                (now.uid() != there.uid() && is_whole).then_some(())
            })
            .await;
            assert_eq!(bench.engine().scale(pod.id, 1).await.unwrap().len(), 1);
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
