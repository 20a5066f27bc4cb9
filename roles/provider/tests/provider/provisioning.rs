use crate::{
    publisher::{Publisher, image},
    world::{ACCOUNT, Failing, Place, TOKEN, terms},
};
use apocryph_model::{
    Address, Amount, Blob, Cause, Channel, Digest, Fault, Method, PeerAddress, PodPhase, Price, Progress,
    ProvisionRequest, Rate, Terms,
};
use apocryph_provider::{Deployments, ReplicaEnd, WakeRefusal};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

#[tokio::test]
async fn a_provisioned_pod_is_routed_and_can_be_woken() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.open(&place);
    let request = alice.request(&place, &alice.spec("serve"));
    let told = provisioned(&place, &alice, &request).await;
    let endpoints = alice.status(&place).await.endpoints;
    assert_eq!(endpoints.len(), 1);
    let total = request.spec.size + 19;
    assert_eq!(told.first(), Some(&Progress::Channel));
    assert!(told.contains(&Progress::Fetch { done: total, total }), "{told:?}");
    assert_eq!(told[told.len() - 2..], [Progress::Unpack, Progress::Route]);
    assert_eq!(alice.status(&place).await.phase, PodPhase::Idle);
    assert_eq!(place.provider.wake(alice.channel(), 2).await.unwrap().len(), 2);
    let status = alice.status(&place).await;
    assert_eq!((status.phase, status.replicas, status.endpoints), (PodPhase::Running, 2, endpoints));
    place.provider.idle(alice.channel()).await.unwrap();
    assert_eq!(alice.status(&place).await.replicas, 0);
}

#[tokio::test]
async fn images_are_everyones_only_while_the_publisher_wants_it() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.open(&place);
    let request = alice.request(&place, &alice.spec("serve"));
    alice.provision(&place, ProvisionRequest { public: true, ..request.clone() }).await.unwrap();
    let images: BTreeSet<_> = request.blobs.iter().map(|blob| blob.digest).collect();
    assert_eq!(place.double.state().shared, images, "and not the specification");
    alice.provision(&place, request).await.unwrap();
    assert!(place.double.state().shared.is_empty());
}

#[tokio::test]
async fn images_come_from_the_nodes_that_have_them_and_else_from_the_publisher() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.open(&place);
    let sources: Vec<PeerAddress> = ["A", "B", "C"].map(|id| source(&id.repeat(46))).into();
    let [away, poor, rich] = [0, 1, 2].map(|i: usize| sources[i].peer());
    let request =
        ProvisionRequest { sources: sources.clone(), ..alice.request(&place, &alice.spec("serve")) };
    let [manifest, layer] = [0, 1].map(|i: usize| request.blobs[i].digest);
    place.double.state().nodes =
        BTreeMap::from([(poor.clone(), BTreeSet::new()), (rich.clone(), BTreeSet::from([layer]))]);
    let told = provisioned(&place, &alice, &request).await;

    let publisher = crate::world::peer();
    let asked = [
        (publisher.clone(), request.spec.digest),
        (poor.clone(), manifest),
        (rich.clone(), manifest),
        (publisher, manifest),
        (poor, layer),
        (rich, layer),
    ];
    assert_eq!(place.double.state().asked, asked, "{away} has no way to it");
    let complaint = |step: &Progress| match step {
        Progress::Source { source, problem } => Some((source.clone(), problem.clone())),
        _ => None,
    };
    let complaints: Vec<_> = told.iter().filter_map(complaint).collect();
    assert_eq!(complaints.iter().map(|(source, _)| source.clone()).collect::<Vec<_>>(), sources, "once each");
    assert!(complaints[0].1.contains("away") && complaints[1].1.contains("not there"), "{complaints:?}");
}

fn source(id: &str) -> PeerAddress {
    format!("/ip4/192.0.2.1/tcp/4001/p2p/{id}").parse().unwrap()
}

/// Provisions, and gives what was told on the way.
async fn provisioned(place: &Place, publisher: &Publisher, request: &ProvisionRequest) -> Vec<Progress> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let told = told.clone();
        Box::new(move |step| told.lock().unwrap().push(step))
    };
    let call = publisher.call(place, Method::Provision);
    Deployments::provision(&place.provider, call, request.clone(), progress).await.unwrap();
    told.lock().unwrap().clone()
}

#[tokio::test]
async fn each_step_that_fails_leaves_nothing_behind() {
    let alice = Publisher::new(1, "web");
    for (failing, code) in [
        (Failing::Chain, "chain-unavailable"),
        (Failing::Stall, "transfer-stalled"),
        (Failing::Full, "store-full"),
        (Failing::Prepare, "image"),
        (Failing::Route, "host-taken"),
    ] {
        let place = Place::new();
        alice.open(&place);
        place.double.state().failing.insert(failing);
        let request = alice.request(&place, &alice.spec("serve"));
        assert_eq!(alice.provision(&place, request.clone()).await.unwrap_err().code, code);
        place.double.state().failing.clear();
        if failing == Failing::Stall {
            // What has come is kept for a repetition, but not for ever.
            place.provider.reconcile().await.unwrap();
            assert_eq!(place.double.state().owned.len(), 1);
            place.pass(300);
            place.provider.reconcile().await.unwrap();
        }
        place.assert_nothing_left();
        assert_eq!(place.provider.wake(alice.channel(), 1).await, Err(WakeRefusal::Removed));
        alice.provision(&place, request).await.unwrap();
    }
}

#[tokio::test]
async fn each_step_that_fails_in_an_update_leaves_the_old_serving() {
    let alice = Publisher::new(1, "web");
    for failing in [Failing::Chain, Failing::Stall, Failing::Full, Failing::Prepare, Failing::Route] {
        let place = Place::new();
        alice.deploy(&place).await;
        place.provider.wake(alice.channel(), 1).await.unwrap();
        let owned = place.double.state().owned.clone();
        let before = alice.status(&place).await;
        let update = alice.request(&place, &alice.spec("update"));
        place.double.state().failing.insert(failing);
        alice.provision(&place, update.clone()).await.unwrap_err();
        place.double.state().failing.clear();

        assert_eq!(alice.status(&place).await, before, "{failing:?}");
        {
            let state = place.double.state();
            let command = state.prepared[&alice.channel()].containers[0].command.clone();
            assert_eq!(command.unwrap(), ["serve"], "{failing:?}");
            if failing != Failing::Stall {
                assert_eq!(state.owned, owned, "{failing:?}");
            }
        }
        alice.provision(&place, update).await.unwrap();
    }
}

#[tokio::test]
async fn an_update_keeps_the_channel_and_replaces_what_runs() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.provider.wake(alice.channel(), 1).await.unwrap();
    let endpoints = alice.status(&place).await.endpoints;
    let update = alice.request(&place, &alice.spec("update"));
    assert_eq!(alice.provision(&place, update.clone()).await.unwrap(), endpoints);
    assert_eq!(place.double.state().fenced, [alice.channel()]);
    assert!(place.double.state().replicas.is_empty());
    let owned: Vec<Digest> = place.double.state().owned[&alice.channel()].iter().copied().collect();
    assert_eq!(owned.len(), 3);
    assert!(owned.contains(&update.spec.digest));
    assert_eq!(alice.status(&place).await.spec, Some(update.spec.digest));
    // The same again changes nothing that runs.
    place.provider.wake(alice.channel(), 1).await.unwrap();
    alice.provision(&place, update).await.unwrap();
    assert_eq!(place.double.state().fenced.len(), 1);
    assert_eq!(alice.status(&place).await.replicas, 1);
}

#[tokio::test]
async fn a_channel_that_does_not_pay_is_refused_with_its_reason() {
    let alice = Publisher::new(1, "web");
    let refused = async |change: fn(&mut Channel)| {
        let place = Place::new();
        let mut channel = alice.open(&place);
        change(&mut channel);
        alice.put(&place, channel);
        let request = alice.request(&place, &alice.spec("serve"));
        let code = alice.provision(&place, request).await.unwrap_err().code;
        place.assert_nothing_left();
        code
    };
    assert_eq!(refused(|c| c.unlock_at = Some(u64::MAX)).await, "channel-unlocking");
    assert_eq!(refused(|c| c.token = Address([1; 20])).await, "wrong-token");
    assert_eq!(refused(|c| c.terms.0[0] ^= 1).await, "wrong-terms");
    assert_eq!(refused(|c| c.unlock_delay = 59).await, "unlock-delay-too-short");
    assert_eq!(refused(|c| c.deposited = Amount(599_999_999)).await, "channel-too-small");
    assert_eq!(refused(|c| c.claimed = Amount(1_500_000_000)).await, "channel-too-small");
    assert_eq!(refused(|c| c.max_rate = Rate(1_000_000_000)).await, "rate-too-low");
    let place = Place::new();
    let request = alice.request(&place, &alice.spec("serve"));
    assert_eq!(alice.provision(&place, request).await.unwrap_err().code, "channel-not-open");
}

#[tokio::test]
async fn new_pods_pay_the_prices_of_now() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    let mut cheap = terms();
    cheap.tariff.0[0] = Price(0);
    cheap.tariff.0[1] = Price(1);
    for offered in [cheap, Terms { payout: Address([1; 20]), ..terms() }] {
        let channel = alice.open(&place);
        alice.put(&place, Channel { terms: offered.hash(ACCOUNT, TOKEN), ..channel });
        let request = ProvisionRequest { terms: offered, ..alice.request(&place, &alice.spec("serve")) };
        assert_eq!(alice.provision(&place, request).await.unwrap_err().code, "terms-changed");
    }
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_with_its_reason() {
    let alice = Publisher::new(1, "web");
    let refused = async |change: &dyn Fn(&mut ProvisionRequest)| {
        let place = Place::new();
        alice.open(&place);
        let mut request = alice.request(&place, &alice.spec("serve"));
        change(&mut request);
        let code = alice.provision(&place, request).await.unwrap_err().code;
        place.assert_nothing_left();
        code
    };
    assert_eq!(refused(&|r| r.spec_key = [1; 32]).await, "spec-sealed");
    assert_eq!(refused(&|r| r.blobs.retain(|blob| blob.digest != image())).await, "image-missing");
    assert_eq!(refused(&|r| r.blobs[1].digest = Digest([1; 32])).await, "blob-unavailable");
    assert_eq!(refused(&|r| r.blobs[1].size = 1 << 20).await, "pod-too-large");
    assert_eq!(refused(&|r| r.blobs[1].size = u64::MAX).await, "pod-too-large");
    assert_eq!(refused(&|r| r.spec.size = 5 << 20).await, "spec-too-large");
    let many = |r: &mut ProvisionRequest| {
        let blob = |i: usize| Blob { digest: Digest([1; 32]), size: 0, cid: i.to_string() };
        r.blobs = (0..=ProvisionRequest::MAX_BLOBS).map(blob).collect();
    };
    assert_eq!(refused(&many).await, "too-many-blobs");
}

#[tokio::test]
async fn a_specification_of_another_pod_is_refused() {
    let place = Place::new();
    let (alice, other) = (Publisher::new(1, "web"), Publisher::new(1, "other"));
    alice.open(&place);
    let request = alice.request(&place, &other.spec("serve"));
    assert_eq!(alice.provision(&place, request).await.unwrap_err().code, "wrong-pod");
    place.assert_nothing_left();
}

#[tokio::test]
async fn pods_are_bounded_by_publisher_and_in_all() {
    let place = Place::new();
    for (key, name) in [(1, "a"), (1, "b"), (2, "a")] {
        Publisher::new(key, name).deploy(&place).await;
    }
    for (key, name, code) in [(1, "c", "too-many-pods"), (3, "a", "provider-full")] {
        let publisher = Publisher::new(key, name);
        publisher.open(&place);
        let request = publisher.request(&place, &publisher.spec("serve"));
        assert_eq!(publisher.provision(&place, request).await.unwrap_err().code, code);
    }
    assert_eq!(Deployments::offer(&place.provider).await.unwrap_err().code, "provider-full");
    // One that is there is updated nevertheless.
    let alice = Publisher::new(1, "a");
    let update = alice.request(&place, &alice.spec("update"));
    alice.provision(&place, update).await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_is_told_to_the_gateway_and_in_the_status() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    place.double.state().failing.insert(Failing::Scale);
    assert!(matches!(place.provider.wake(alice.channel(), 1).await, Err(WakeRefusal::Engine(_))));
    assert_eq!(alice.status(&place).await.last_error.unwrap().code, "no-room");
    place.double.state().failing.clear();
    place.provider.wake(alice.channel(), 1).await.unwrap();
    assert_eq!(alice.status(&place).await.last_error, None);
}

#[tokio::test]
async fn how_a_replica_ends_is_told_to_the_gateway_and_in_the_status() {
    let place = Place::new();
    let alice = Publisher::new(1, "web");
    alice.deploy(&place).await;
    let ends = [
        (ReplicaEnd::Leaving, "replica-leaving"),
        (ReplicaEnd::Failed(Fault::of(Cause::ContainerEnded, "it ended")), "container-ended"),
    ];
    for (end, code) in ends {
        let replica = place.provider.wake(alice.channel(), 1).await.unwrap().remove(0);
        place.double.state().replicas.get_mut(&alice.channel()).unwrap()[0].end = Some(end.clone());
        let status = alice.status(&place).await;
        assert_eq!((status.replicas, status.last_error.unwrap().code.as_str()), (0, code));
        assert_eq!(place.provider.ended(alice.channel(), &replica.id).await.unwrap(), Some(end));
        place.provider.idle(alice.channel()).await.unwrap();
        let told = alice.status(&place).await.last_error;
        assert_eq!(told.unwrap().code, code, "also after it is gone");
    }
}
