//! What the tests do to an engine, and how they wait for it.

use std::time::Duration;

use apocryph_model::{ChannelId, Fault, LogQuery};
use apocryph_provider::{Engine, EnginePod, Reading, Replica, ReplicaEnd};
use futures::StreamExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PodUnderTest, Subject};

/// How long anything may take here until it counts as not happening.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn is_later(last: &Reading, earlier: &Reading) -> bool {
    last.replica == earlier.replica
        && last.cpu_us >= earlier.cpu_us
        && last.running_ms >= earlier.running_ms
        && last.ingress >= earlier.ingress
        && last.egress >= earlier.egress
}

/// Prepares, starts one replica, takes its first lines, and removes all.
pub(super) async fn first_lines(subject: &mut dyn Subject, pod: PodUnderTest, count: usize) -> Vec<String> {
    let pod = pod.build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    scale_to_one(engine, &pod).await;
    let lines = lines_of(engine, pod.id, count).await;
    finish(engine, pod.id).await;
    lines
}

pub(super) async fn scale_to_one(engine: &dyn Engine, pod: &EnginePod) -> Replica {
    let mut replicas = engine.scale(pod.id, 1).await.unwrap();
    assert_eq!(replicas.len(), 1);
    replicas.remove(0)
}

pub(super) async fn lines_of(engine: &dyn Engine, pod: ChannelId, count: usize) -> Vec<String> {
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let lines = engine.logs(pod, query).await.unwrap().take(count).map(|line| line.text).collect();
    timeout(PATIENCE, lines).await.expect("the lines come")
}

/// Why the replica failed, once it has.
pub async fn failure(engine: &dyn Engine, pod: ChannelId, replica: &str) -> Fault {
    match timeout(PATIENCE, engine.ended(pod, replica)).await.expect("it ends").unwrap() {
        Some(ReplicaEnd::Failed(fault)) => fault,
        other => panic!("it did not end by itself: {other:?}"),
    }
}

/// The first reading, once it is as it should be: engines may read some counters only now and then.
pub(super) async fn sampled_until(engine: &dyn Engine, right: impl Fn(&Reading) -> bool) -> Reading {
    all_sampled_until(engine, |readings| readings.first().is_some_and(&right)).await.remove(0)
}

/// The same of all readings.
pub(super) async fn all_sampled_until(
    engine: &dyn Engine,
    right: impl Fn(&[Reading]) -> bool,
) -> Vec<Reading> {
    let sampled = async {
        loop {
            let readings = engine.sample().await.unwrap();
            if right(&readings) {
                return readings;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, sampled).await.expect("it is counted")
}

/// The readings, once all are the last ones: an engine may take a while over what a replica used in
/// the end.
pub(super) async fn last_readings(engine: &dyn Engine, count: usize) -> Vec<Reading> {
    let readings = all_sampled_until(engine, |readings| readings.iter().all(|reading| reading.last)).await;
    assert_eq!(readings.len(), count);
    readings
}

pub(super) async fn reach(replica: &Replica, port: u16) -> String {
    let talk = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect((replica.address, port)).await {
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, talk).await.expect("the replica answers")
}

pub(super) async fn finish(engine: &dyn Engine, pod: ChannelId) {
    engine.remove(pod).await.unwrap();
    assert!(!engine.pods().await.unwrap().contains(&pod));
    for reading in engine.sample().await.unwrap() {
        if reading.pod == pod {
            assert!(reading.last, "nothing runs after a removal");
            engine.forget(&reading.replica).await.unwrap();
        }
    }
    assert_eq!(engine.replicas(pod).await.unwrap(), []);
}
