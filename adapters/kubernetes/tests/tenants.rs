//! What a pod's namespace refuses whoever asks, in case that something of a tenant's speaks to the API
//! server after all. Needs a cluster.

#![expect(clippy::unwrap_used, reason = "these are tests: what fails is to panic")]

mod support;

use apocryph_provider::Engine as _;
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Service};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{Bench, with_engine};

/// The namespace of a pod that is prepared.
async fn prepared(bench: &mut Bench, client: &Client) -> String {
    let image = bench.ship(&shell());
    let pod = PodUnderTest::new(1, image).container("main", "sleep 600").build(bench);
    bench.engine().prepare(&pod).await.unwrap();
    let selector = ListParams::default().labels(&format!("apocryph.network/instance={}", bench.instance()));
    let namespaces = Api::<Namespace>::all(client.clone()).list(&selector).await.unwrap();
    namespaces.items[0].name_any()
}

/// What the API server says to an object of this spec, by who may do everything else.
async fn answer<K>(client: &Client, namespace: &str, spec: Value) -> String
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let object = json!({ "metadata": { "name": "intruder" }, "spec": spec });
    match api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await {
        Ok(_) => "taken".into(),
        Err(error) => error.to_string(),
    }
}

fn container(security: Value) -> Value {
    let most = json!({ "cpu": "10m", "memory": "16Mi" });
    json!({ "name": "main", "image": "none", "securityContext": security, "resources": { "limits": most } })
}

#[test]
fn objects_beyond_the_quota_are_refused() {
    with_engine(|bench| {
        Box::pin(async move {
            let client = bench.client().await;
            let namespace = prepared(bench, &client).await;
            let labels = json!({ "app": "intruder" });
            let template =
                json!({ "metadata": { "labels": labels }, "spec": { "containers": [container(json!({}))] } });
            let deployment = json!({ "selector": { "matchLabels": labels }, "template": template });
            let claim = json!({
                "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
            });
            let answers = [
                answer::<Deployment>(&client, &namespace, deployment).await,
                answer::<Service>(&client, &namespace, json!({ "ports": [{ "port": 80 }] })).await,
                answer::<PersistentVolumeClaim>(&client, &namespace, claim).await,
            ];
            assert!(answers.iter().all(|answer| answer.contains("exceeded quota")), "{answers:?}");
        })
    });
}

#[test]
fn pods_with_power_over_the_node_are_refused() {
    with_engine(|bench| {
        Box::pin(async move {
            let client = bench.client().await;
            let namespace = prepared(bench, &client).await;
            let pod = |security: Value, more: Value| {
                let mut spec = json!({ "containers": [container(security)] });
                spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                spec
            };
            let root = json!({ "volumes": [{ "name": "root", "hostPath": { "path": "/" } }] });
            let sysctl = json!({ "name": "kernel.msgmax", "value": "1" });
            for spec in [
                pod(json!({ "privileged": true }), json!({})),
                pod(json!({ "capabilities": { "add": ["SYS_ADMIN"] } }), json!({})),
                pod(json!({}), root),
                pod(json!({}), json!({ "hostNetwork": true })),
                pod(json!({}), json!({ "hostPID": true })),
                pod(json!({}), json!({ "securityContext": { "sysctls": [sysctl] } })),
            ] {
                let answer = answer::<Pod>(&client, &namespace, spec.clone()).await;
                assert!(answer.contains("violates PodSecurity"), "{spec}: {answer}");
            }
        })
    });
}
