//! Replicas come and go.

use apocryph_provider::EngineError;

use super::driving::{all_sampled_until, is_later, last_readings};
use super::{PodUnderTest, Subject, shell};

/// Replicas come, are the same when asked for again, are stopped one by one, and go; their last
/// readings stay until they are forgotten.
pub async fn scales_up_and_down(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let pod =
        PodUnderTest::new(1, image).container("main", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done");
    let pod = pod.build(subject);
    let engine = subject.engine();
    assert_eq!(engine.scale(pod.id, 1).await, Err(EngineError::Unknown));
    engine.prepare(&pod).await.unwrap();
    engine.prepare(&pod).await.unwrap();
    assert_eq!(engine.pods().await.unwrap(), [pod.id]);
    assert_eq!(engine.replicas(pod.id).await.unwrap(), []);

    let two = engine.scale(pod.id, 2).await.unwrap();
    assert_eq!(two.len(), 2);
    assert!(two.iter().all(|replica| replica.end.is_none()));
    assert_ne!(two[0].address, two[1].address);
    assert_eq!(engine.scale(pod.id, 2).await.unwrap(), two);
    let readings =
        all_sampled_until(engine, |all| all.len() == 2 && all.iter().all(|one| one.cpu_us > 0)).await;
    assert!(readings.iter().all(|reading| !reading.last));
    assert!(readings.iter().all(|reading| reading.reserved == pod.spec.reserved()));

    engine.stop(pod.id, &two[0].id).await.unwrap();
    engine.stop(pod.id, &two[0].id).await.unwrap();
    assert_eq!(engine.ended(pod.id, &two[0].id).await.unwrap(), None);
    assert_eq!(engine.replicas(pod.id).await.unwrap(), [two[1].clone()]);
    assert_eq!(engine.scale(pod.id, 0).await.unwrap(), []);
    let last = last_readings(engine, 2).await;
    assert!(last.iter().all(|last| readings.iter().any(|earlier| is_later(last, earlier))));
    assert_eq!(engine.sample().await.unwrap(), last);
    for replica in &two {
        engine.forget(&replica.id).await.unwrap();
        engine.forget(&replica.id).await.unwrap();
    }
    assert_eq!(engine.sample().await.unwrap(), []);
    engine.remove(pod.id).await.unwrap();
    engine.remove(pod.id).await.unwrap();
    assert_eq!(engine.pods().await.unwrap(), []);
}
