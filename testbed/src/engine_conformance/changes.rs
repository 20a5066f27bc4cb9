//! Restarts of the daemon, and updates of pods.

use apocryph_model::Digest;
use apocryph_provider::EngineError;

use super::driving::{failure, finish, is_later, lines_of, scale_to_one};
use super::{PodUnderTest, Subject, shell};

/// Replicas outlive the daemon; the next one finds, reads, keeps and ends them.
pub async fn replicas_outlive_a_restart(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let pod = PodUnderTest::new(1, image).container("main", "sleep 600").build(subject);
    let brief = PodUnderTest::new(2, image).container("main", "sleep 1; exit 7").build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    engine.prepare(&brief).await.unwrap();
    let replica = scale_to_one(engine, &pod).await;
    let short = scale_to_one(engine, &brief).await;
    let before = engine.sample().await.unwrap();
    subject.restart().await;
    let engine = subject.engine();
    assert_eq!(engine.replicas(pod.id).await.unwrap(), std::slice::from_ref(&replica));
    let fault = failure(engine, brief.id, &short.id).await;
    assert!(fault.text.contains("exit code 7"), "{fault}");
    let mut pods = engine.pods().await.unwrap();
    pods.sort_unstable();
    assert_eq!(pods, [pod.id, brief.id]);
    let after = engine.sample().await.unwrap();
    assert_eq!(after.len(), 2);
    assert!(
        after.iter().all(|later| before.iter().any(|earlier| is_later(later, earlier))),
        "{before:?} {after:?}"
    );
    engine.prepare(&pod).await.unwrap();
    assert_eq!(
        engine.scale(pod.id, 1).await.unwrap(),
        std::slice::from_ref(&replica),
        "the same spec goes on"
    );
    subject.restart().await;
    let engine = subject.engine();
    assert_eq!(engine.scale(pod.id, 0).await.unwrap(), [], "also when it was not prepared again");
    finish(engine, pod.id).await;
    finish(engine, brief.id).await;
}

/// An update reaches the next replicas; one that fails changes nothing.
pub async fn updates_replace_or_change_nothing(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let version = |text: &str| {
        let script = format!("echo {text}; sleep 600");
        PodUnderTest::new(1, image).container("main", &script)
    };
    let first = version("one").build(subject);
    let second = version("two").build(subject);
    let mut broken = version("three").build(subject);
    broken.spec.containers[0].image = Digest([9; 32]);
    let engine = subject.engine();
    engine.prepare(&first).await.unwrap();
    let old = scale_to_one(engine, &first).await;
    assert!(
        matches!(engine.prepare(&broken).await, Err(EngineError::Pod(fault)) if fault.code == "image-missing")
    );
    assert_eq!(engine.scale(first.id, 1).await.unwrap(), std::slice::from_ref(&old));
    engine.prepare(&second).await.unwrap();
    assert_eq!(engine.replicas(first.id).await.unwrap(), std::slice::from_ref(&old), "until it is scaled");
    let new = scale_to_one(engine, &first).await;
    assert_ne!(new.id, old.id);
    assert_eq!(lines_of(engine, first.id, 2).await, ["one", "two"]);
    finish(engine, first.id).await;
}
