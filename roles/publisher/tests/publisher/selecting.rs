//! `select_provider`: who is taken, who is passed over and what is said of them.

use crate::{
    peers::offering,
    world::{World, order},
};
use apocryph_model::{Address, Attestation, Resource};
use apocryph_publisher::{Candidate, Chooser, Error, SelectError};
use std::{sync::Arc, time::Duration};

async fn chosen(world: &World) -> Result<Address, Error> {
    world.publisher.plan(&order()).await.map(|plan| plan.provider)
}

#[tokio::test]
async fn the_cheapest_that_answers_is_taken_and_the_dead_are_named() {
    let world = World::with(&[offering(1, 30), offering(2, 10), offering(3, 20)]);
    world.kill(2);
    assert_eq!(chosen(&world).await.unwrap(), Address([3; 20]));
    let passed = world.passed_over();
    assert_eq!(passed.len(), 1);
    assert!(passed[0].starts_with("provider-2: ") && passed[0].contains("does not answer"), "{passed:?}");
}

#[tokio::test]
async fn a_silent_one_is_not_waited_for_once_a_dearer_one_has_answered() {
    let world = World::with(&[offering(1, 30), offering(2, 10), offering(3, 20)]);
    world.silence(2);
    assert_eq!(chosen(&world).await.unwrap(), Address([3; 20]));
    assert_eq!(world.passed_over(), ["provider-2: it did not answer in time"]);
    assert_eq!(world.timer.slept.lock().unwrap()[..], [Duration::from_secs(1)]);
}

#[tokio::test]
async fn the_cheapest_that_answers_at_once_waits_for_nobody() {
    let world = World::with(&[offering(1, 10), offering(2, 20)]);
    world.silence(2);
    assert_eq!(chosen(&world).await.unwrap(), Address([1; 20]));
    assert!(world.passed_over().is_empty() && world.timer.slept.lock().unwrap().is_empty());
}

#[tokio::test]
async fn constraints_are_kept() {
    let world = World::with(&[offering(1, 10), offering(2, 20)]);
    world.chain.0.lock().unwrap().offerings[0].regions = vec!["us-east".parse().unwrap()];
    let mut order = order();
    order.manifest.constraints.regions = vec!["eu-west".parse().unwrap()];
    let plan = world.publisher.plan(&order).await.unwrap();
    assert_eq!(plan.provider, Address([2; 20]));
    order.manifest.constraints.highest.insert(Resource::CpuUsed, "0.19".parse().unwrap());
    order.manifest.constraints.attestation = vec![Attestation::None];
    insta::assert_snapshot!(world.publisher.plan(&order).await.unwrap_err().to_string());
}

#[tokio::test]
async fn an_answer_that_contradicts_the_registry_is_not_taken() {
    let world = World::with(&[offering(1, 10)]);
    world.provider(1).offer.lock().unwrap().terms.tariff.0[3].0 += 1;
    let error = chosen(&world).await.unwrap_err();
    assert!(error.to_string().contains("another price than it is registered with"), "{error}");
    let world = World::with(&[offering(1, 10)]);
    world.provider(1).offer.lock().unwrap().chain = 1;
    assert!(chosen(&world).await.unwrap_err().to_string().contains("another chain"));
    let world = World::with(&[offering(1, 10)]);
    world.provider(1).offer.lock().unwrap().least_unlock_delay = u64::MAX;
    assert!(chosen(&world).await.unwrap_err().to_string().contains("unlock delay"));
}

#[tokio::test]
async fn tokens_are_not_compared() {
    let world = World::with(&[offering(1, 10), offering(2, 20)]);
    let other = Address([0x71; 20]);
    world.chain.0.lock().unwrap().offerings[1].token = other;
    world.provider(2).offer.lock().unwrap().token = other;
    assert_eq!(chosen(&world).await.unwrap(), Address([1; 20]), "the one that the account holds");
    world.chain.0.lock().unwrap().also_holds = Some(other);
    let error = chosen(&world).await.unwrap_err();
    assert!(matches!(error, Error::Select(SelectError::SeveralTokens(_))), "{error}");
    let mut order = order();
    order.preferences.token = Some(other);
    let plan = world.publisher.plan(&order).await.unwrap();
    assert_eq!(plan.provider, Address([2; 20]));
}

#[tokio::test]
async fn nobody_is_an_error_that_says_what_to_do() {
    let none = World::with(&[]);
    assert_eq!(chosen(&none).await.unwrap_err().fault().code, "none-registered");
    let dead = World::one();
    dead.kill(1);
    let fault = chosen(&dead).await.unwrap_err().fault();
    assert!(fault.retry && fault.code == "none-answers", "{fault:?}");
}

struct Last;

impl Chooser for Last {
    fn choose(&self, candidates: &[Candidate]) -> Option<usize> {
        candidates.len().checked_sub(1)
    }
}

struct Nobody;

impl Chooser for Nobody {
    fn choose(&self, _: &[Candidate]) -> Option<usize> {
        None
    }
}

#[tokio::test]
async fn the_user_picks_among_those_that_answer() {
    let world = World::with(&[offering(1, 30), offering(2, 10), offering(3, 20)]);
    world.kill(1);
    let mut order = order();
    order.preferences.chooser = Some(Arc::new(Last));
    let plan = world.publisher.plan(&order).await.unwrap();
    assert_eq!(plan.provider, Address([3; 20]));
    order.preferences.chooser = Some(Arc::new(Nobody));
    let error = world.publisher.plan(&order).await.unwrap_err();
    assert!(matches!(error, Error::Select(SelectError::Cancelled)), "{error}");
}
