//! What is told of host names before anything is paid.

use crate::world::{World, order};
use apocryph_model::{Address, HostProof, Port};
use apocryph_publisher::{Order, Seen};

fn with_host() -> Order {
    let mut order = order();
    order.manifest.containers[0].ports =
        vec![Port::Http { container_port: 80, host: Some("shop.example".parse().unwrap()) }];
    order
}

#[tokio::test]
async fn a_dry_run_tells_the_record_and_whether_it_is_seen() {
    let world = World::one();
    let plan = world.publisher.plan(&with_host()).await.unwrap();
    let proof = HostProof { publisher: world.publisher.chain.account(), provider: plan.provider };
    let [host] = &plan.hosts[..] else { panic!("{:?}", plan.hosts) };
    assert_eq!((host.host.as_str(), host.record.as_str()), ("shop.example", "_apocryph.shop.example"));
    assert_eq!(host.text, proof.to_string());
    assert!(matches!(host.seen, Seen::Unknown(_)), "{host:?}");

    let elsewhere = HostProof { provider: Address([0xee; 20]), ..proof };
    for (says, seen) in
        [(vec![], Seen::Missing), (vec![elsewhere], Seen::Missing), (vec![elsewhere, proof], Seen::There)]
    {
        *world.host_proofs.0.lock().unwrap() = Some(says);
        assert_eq!(world.publisher.plan(&with_host()).await.unwrap().hosts[0].seen, seen);
    }
    assert!(world.publisher.plan(&order()).await.unwrap().hosts.is_empty(), "a pod that brings none");
}

#[tokio::test]
async fn a_deploy_warns_and_goes_on() {
    let world = World::one();
    for says in [None, Some(vec![])] {
        *world.host_proofs.0.lock().unwrap() = says;
        let deployed = world.publisher.deploy(&with_host()).await.unwrap();
        let advice = world.host_advice();
        let proof = HostProof { publisher: world.publisher.chain.account(), provider: deployed.provider };
        assert!(
            advice.len() == 1 && advice[0].contains(&format!("_apocryph.shop.example to \"{proof}\"")),
            "{advice:?}"
        );
        *world.host_proofs.0.lock().unwrap() = Some(vec![proof]);
        world.publisher.deploy(&with_host()).await.unwrap();
        assert!(world.host_advice().is_empty());
    }
}
