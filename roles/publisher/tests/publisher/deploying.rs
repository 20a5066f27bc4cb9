//! `deploy`: what is shipped to whom, and what a second run does.

use crate::world::{World, manifest, name, order};
use apocryph_model::{
    Amount, ChainError, EnvValue, Fault, Hash32, PodSpec, ProvisionRequest, SecretSource, Who,
};
use apocryph_publisher::{
    CollectError, Deployments, Error, Evidence, LinkError, MoneyError, Order, Payment, Step,
};
use apocryph_seal::{DeploymentKey, EnvelopeKey};

const ALL: [Step; 7] = [
    Step::Collect,
    Step::ListProviders,
    Step::SelectProvider,
    Step::OpenChannel,
    Step::Ship,
    Step::Provision,
    Step::Confirm,
];

fn last_request(world: &World) -> ProvisionRequest {
    world.provider(1).room.lock().unwrap().provisioned.last().unwrap().clone()
}

/// Opens the envelope as the provider does.
fn shipped(world: &World) -> PodSpec {
    let request = last_request(world);
    let id = *world.chain.0.lock().unwrap().channels.keys().next().unwrap();
    let envelope = world.deployments.specs.lock().unwrap()[&name()].clone();
    let json = EnvelopeKey::from_bytes(request.spec_key).open(&envelope, &id.0).unwrap();
    PodSpec::from_json(&json).unwrap()
}

#[tokio::test]
async fn every_step_is_done_in_its_order() {
    let world = World::one();
    let deployed = world.publisher.deploy(&order()).await.unwrap();
    let shown = world.evidence(Step::OpenChannel);
    assert!(matches!(shown[..], [Evidence::Channel(_), Evidence::Transaction(_)]), "{shown:?}");
    assert_eq!(world.steps(), ALL);
    assert!(deployed.unattested);
    assert_eq!(deployed.endpoints.len(), 1);
    let day = Amount(24 * 360_000);
    assert_eq!(deployed.channel.deposited, day, "a day of one core at 0.36 an hour");
}

#[tokio::test]
async fn secrets_and_images_are_inside_the_envelope_alone() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    let spec = shipped(&world);
    let container = &spec.containers[0];
    assert_eq!(container.env["PLAIN"], "as it stands");
    assert_eq!(container.env["FILE"], "from a file");
    assert_eq!(container.env["VARIABLE"], "from a variable");
    assert_eq!(spec.volumes[0].files["key"], b"literal");
    let request = last_request(&world);
    assert!(request.blobs.iter().any(|blob| blob.digest == container.image), "the encrypted image");
    assert!(DeploymentKey::from_pkcs8(&request.image_key).is_ok());
    let published = world.network.published.lock().unwrap();
    assert!(published.iter().all(|(peer, _)| *peer == world.provider(1).peer));
}

#[tokio::test]
async fn what_is_public_is_the_images_and_only_if_asked_for() {
    let world = World::one();
    let mut order = order();
    order.public = true;
    let deployed = world.publisher.deploy(&order).await.unwrap();
    let request = last_request(&world);
    assert!(request.public && deployed.published == request.blobs);
    assert!(!deployed.published.contains(&request.spec), "the spec is for the provider alone");
    order.public = false;
    assert_eq!(world.publisher.deploy(&order).await.unwrap().published, []);
    assert!(!last_request(&world).public);
}

#[tokio::test]
async fn a_second_run_keeps_channel_key_and_envelope() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    let first = last_request(&world);
    world.steps();
    world.publisher.deploy(&order()).await.unwrap();
    assert_eq!(last_request(&world), first);
    assert_eq!(world.chain.0.lock().unwrap().transactions, 1);
    assert!(!world.steps().contains(&Step::SelectProvider));
}

#[tokio::test]
async fn a_changed_pod_is_sealed_anew_under_another_key() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    let first = last_request(&world);
    let mut changed = order();
    changed.manifest.containers[0].env.insert("NEW".into(), EnvValue::Literal("1".into()));
    world.publisher.deploy(&changed).await.unwrap();
    let second = last_request(&world);
    assert_ne!(second.spec_key, first.spec_key);
    assert_eq!((second.image_key, second.blobs), (first.image_key, first.blobs));
    assert_eq!(shipped(&world).containers[0].env["NEW"], "1");
}

#[tokio::test]
async fn two_containers_of_one_image_ship_it_once() {
    let world = World::one();
    let mut order = order();
    let mut second = order.manifest.containers[0].clone();
    second.name = "second".parse().unwrap();
    second.ports.clear();
    order.manifest.containers.push(second);
    world.publisher.deploy(&order).await.unwrap();
    assert_eq!(last_request(&world).blobs.len(), 2, "a manifest and the shared layer");
    assert_eq!(world.images.keys.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_that_lost_its_receipt_goes_on_with_the_same_channel() {
    let world = World::one();
    world.chain.0.lock().unwrap().lose_receipt = true;
    let lost = world.publisher.deploy(&order()).await.unwrap_err();
    assert!(lost.fault().retry, "{lost}");
    assert_eq!(world.deployments.find(&name()).unwrap().unwrap().epoch, None);
    world.publisher.deploy(&order()).await.unwrap();
    assert_eq!(world.chain.0.lock().unwrap().transactions, 1);
}

#[tokio::test]
async fn an_intent_stays_with_its_provider() {
    let world = World::with(&[crate::peers::offering(1, 10), crate::peers::offering(2, 20)]);
    let down = ChainError::Pending(Hash32([9; 32]));
    world.chain.0.lock().unwrap().refuse = Some(down);
    world.publisher.deploy(&order()).await.unwrap_err();
    world.kill(1);
    let error = world.publisher.deploy(&order()).await.unwrap_err();
    assert!(error.to_string().contains("provider-1"), "{error}");
    assert!(error.fault().retry);
}

#[tokio::test]
async fn an_intent_that_the_chain_refused_is_taken_back() {
    let world = World::one();
    world.chain.0.lock().unwrap().refuse = Some(ChainError::NoFee);
    world.publisher.deploy(&order()).await.unwrap_err();
    assert_eq!(world.deployments.find(&name()).unwrap(), None);
}

#[tokio::test]
async fn a_refused_provision_leaves_a_deployment_that_can_be_repeated() {
    let world = World::one();
    let full = Fault::passing(Who::Provider, "full", "the provider has no room: try again later");
    world.provider(1).room.lock().unwrap().refuse = [LinkError::Fault(full.clone())].into();
    let error = world.publisher.deploy(&order()).await.unwrap_err();
    assert_eq!(error.fault(), full);
    let channel = world.deployments.find(&name()).unwrap().unwrap().channel();
    assert_eq!(world.still_open(), [channel], "the publisher is told of its money");
    world.publisher.deploy(&order()).await.unwrap();
    assert_eq!(world.chain.0.lock().unwrap().transactions, 1);
}

#[tokio::test]
async fn nothing_is_told_to_an_unattested_provider_unless_accepted() {
    let world = World::one();
    let strict = || {
        let mut order = order();
        order.preferences.accept_unattested = false;
        order
    };
    let error = world.publisher.deploy(&strict()).await.unwrap_err();
    assert!(error.to_string().contains("--accept-unattested"), "{error}");
    world.publisher.deploy(&order()).await.unwrap();
    let shipped = world.network.published.lock().unwrap().len();
    let error = world.publisher.deploy(&strict()).await.unwrap_err();
    assert_eq!(error.fault().code, "no-evidence");
    assert_eq!(world.network.published.lock().unwrap().len(), shipped);
    world.provider(1).room.lock().unwrap().evidence = vec![1];
    let error = world.publisher.deploy(&strict()).await.unwrap_err();
    assert_eq!(error.fault().code, "unverified-evidence");
}

#[tokio::test]
async fn two_runs_do_not_meet() {
    let world = World::one();
    let lock = world.deployments.lock(&name()).unwrap();
    let error = world.publisher.deploy(&order()).await.unwrap_err();
    assert_eq!(error.fault().code, "busy");
    drop(lock);
    world.publisher.deploy(&order()).await.unwrap();
}

#[tokio::test]
async fn a_pod_does_not_move_by_itself() {
    let world = World::with(&[crate::peers::offering(1, 10), crate::peers::offering(2, 20)]);
    world.publisher.deploy(&order()).await.unwrap();
    let mut elsewhere = order();
    elsewhere.preferences.provider = Some(apocryph_model::Address([2; 20]));
    let error = world.publisher.deploy(&elsewhere).await.unwrap_err();
    assert!(matches!(error, Error::Elsewhere { .. }), "{error}");
}

#[tokio::test]
async fn a_pod_that_outgrows_its_channel_is_refused_before_anything_is_sent() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    let mut larger = order();
    larger.manifest.scale.max = 2;
    let error = world.publisher.deploy(&larger).await.unwrap_err();
    assert!(matches!(error, Error::Money(MoneyError::RateTooLow { .. })), "{error}");
    insta::assert_snapshot!(error.to_string());
}

/// What is said of an order that cannot be collected.
async fn refused(change: impl FnOnce(&mut Order)) -> Error {
    let world = World::one();
    let mut order = order();
    change(&mut order);
    let error = world.publisher.deploy(&order).await.unwrap_err();
    assert_eq!(world.deployments.find(&name()).unwrap(), None, "nothing is left behind");
    assert_eq!(world.chain.0.lock().unwrap().transactions, 0);
    error
}

#[tokio::test]
async fn what_cannot_be_collected_says_why() {
    let env = |source: SecretSource| {
        move |order: &mut Order| {
            order.manifest.containers[0].env.insert("BAD".into(), EnvValue::Secret(source));
        }
    };
    let errors = [
        refused(env(SecretSource::File("gone.txt".into()))).await,
        refused(env(SecretSource::Env("UNSET".into()))).await,
        refused(env(SecretSource::Env("BINARY".into()))).await,
        refused(env(SecretSource::Env("HUGE".into()))).await,
        refused(|order| order.manifest.containers[0].image = "absent".into()).await,
        refused(|order| order.manifest.scale.max = 1000).await,
    ];
    let text: Vec<_> =
        errors.iter().map(|e| format!("{} ({}): {e}", e.fault().code, e.fault().who)).collect();
    insta::assert_snapshot!(text.join("\n"));
    assert!(matches!(errors[0], Error::Collect(CollectError::SecretFile { .. })));
}

#[tokio::test]
async fn a_dry_run_signs_and_keeps_nothing() {
    let world = World::one();
    let plan = world.publisher.plan(&order()).await.unwrap();
    assert_eq!(world.steps(), ALL[..3]);
    assert_eq!(plan.token.money(plan.payment.cost()).to_string(), "8.64 TEST");
    assert_eq!(world.chain.0.lock().unwrap().transactions, 0);
    assert_eq!(world.deployments.find(&manifest().name).unwrap(), None);
}

#[tokio::test]
async fn a_dry_run_of_a_deployed_pod_is_about_its_own_provider() {
    let world = World::with(&[crate::peers::offering(1, 20)]);
    world.publisher.deploy(&order()).await.unwrap();
    world.chain.0.lock().unwrap().offerings.push(crate::peers::offering(2, 10));
    let plan = world.publisher.plan(&order()).await.unwrap();
    assert_eq!(plan.provider, apocryph_model::Address([1; 20]));
    assert!(matches!(plan.payment, Payment::Keep(_, Amount::ZERO)), "{:?}", plan.payment);
}

fn not_seen() -> LinkError {
    LinkError::Fault(Fault::passing(Who::Publisher, Fault::CHANNEL_NOT_OPEN, "no channel as far as I see"))
}

#[tokio::test]
async fn a_provider_that_wants_more_confirmations_is_waited_for() {
    let world = World::one();
    world.provider(1).room.lock().unwrap().refuse = vec![not_seen(); 3].into();
    world.publisher.deploy(&order()).await.unwrap();
    assert_eq!(world.timer.slept.lock().unwrap().len(), 3);
    let waits = "waiting until the provider sees the channel confirmed";
    assert_eq!(world.stages(), ["channel", waits], "told once");
}

#[tokio::test]
async fn a_provider_that_never_sees_the_channel_is_not_waited_for_for_ever() {
    let world = World::one();
    world.provider(1).room.lock().unwrap().refuse = vec![not_seen(); 1000].into();
    let error = world.publisher.deploy(&order()).await.unwrap_err();
    assert_eq!(error.fault().code, "channel-not-open");
    assert!(world.provider(1).room.lock().unwrap().refuse.len() > 500);
}
