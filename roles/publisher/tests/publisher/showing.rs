//! `status`, `logs`, `providers`: what is told when a side is silent.

use crate::{
    peers::offering,
    world::{World, name, order},
};
use apocryph_model::{Amount, ChainError, LogLine, LogQuery, PodPhase};
use apocryph_publisher::LinkError;
use futures::StreamExt;

#[tokio::test]
async fn money_left_is_what_remains_after_what_was_measured() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    let status = world.publisher.status(&name()).await.unwrap();
    assert_eq!(status.pod.as_ref().unwrap().phase, PodPhase::Running);
    // One core-hour at 0.36 was used of the day's 8.64.
    assert_eq!(status.left(), Some(Amount(8_280_000)));
    assert_eq!(status.lasts().unwrap() / 3600, 23);
}

#[tokio::test]
async fn each_side_is_told_without_the_other() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    world.chain.0.lock().unwrap().down = Some(ChainError::Unavailable("timed out".into()));
    let status = world.publisher.status(&name()).await.unwrap();
    assert!(status.channel.is_err() && status.pod.is_ok() && status.left().is_none());
    world.chain.0.lock().unwrap().down = None;
    world.kill(1);
    let all = world.publisher.list().await.unwrap();
    assert!(all[0].pod.is_err() && all[0].left().is_some());
}

#[tokio::test]
async fn a_provider_that_moved_is_found_through_the_registry() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    let provider = world.provider(1);
    world.kill(1);
    world.chain.0.lock().unwrap().offerings[0].addresses = vec![crate::peers::address(7)];
    world.network.alive.lock().unwrap().insert(crate::peers::address(7).peer(), provider);
    assert!(world.publisher.status(&name()).await.unwrap().pod.is_ok());
}

#[tokio::test]
async fn logs_are_passed_on() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    world.provider(1).room.lock().unwrap().log = vec![line(4), line(5)];
    let query = LogQuery { since_ms: Some(5), ..LogQuery::default() };
    let lines: Vec<_> = world.publisher.logs(&name(), query).await.unwrap().collect().await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].as_ref().unwrap().time_ms, 5);
}

fn line(time_ms: u64) -> LogLine {
    LogLine {
        time_ms,
        replica: "r1".into(),
        container: "web".parse().unwrap(),
        stderr: false,
        text: format!("written at {time_ms}"),
    }
}

/// The whole log, followed over readings that break off after these many lines.
async fn followed(world: &World, cuts: &[usize]) -> Vec<Result<LogLine, LinkError>> {
    world.provider(1).room.lock().unwrap().cuts = cuts.iter().copied().collect();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    world.publisher.logs(&name(), query).await.unwrap().collect().await
}

#[tokio::test]
async fn a_log_that_is_followed_goes_on_where_it_broke_off() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    let log = vec![line(4), line(5), line(5), line(5), line(6)];
    world.provider(1).room.lock().unwrap().log = log.clone();
    let told = followed(&world, &[0, 3, 2, 4]).await;
    assert_eq!(told.into_iter().collect::<Result<Vec<_>, _>>(), Ok(log));
}

#[tokio::test]
async fn a_log_that_only_breaks_off_ends_with_the_cause() {
    let world = World::one();
    world.publisher.deploy(&order()).await.unwrap();
    world.provider(1).room.lock().unwrap().log = vec![line(4)];
    let told = followed(&world, &[0; 100]).await;
    assert!(matches!(told[..], [Err(LinkError::Broken(_))]), "{told:?}");
    assert!(world.provider(1).room.lock().unwrap().cuts.len() > 80, "the tries are few");
}

#[tokio::test]
async fn the_silent_are_listed_too() {
    let world = World::with(&[offering(1, 10), offering(2, 20)]);
    world.kill(2);
    let listed = world.publisher.providers().await.unwrap();
    assert!(listed[0].answer.is_ok() && listed[1].answer.is_err());
}
