//! Containers run what the spec says, and their end is told.

use apocryph_model::{ContainerSpec, Fault, Who};
use apocryph_provider::{EngineError, Replica, ReplicaEnd};

use super::driving::{failure, finish, first_lines, lines_of, sampled_until, scale_to_one};
use super::{PodUnderTest, Subject, shell};

/// A container sees its image, its environment, its user and its host name.
pub async fn runs_what_the_spec_says(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let script =
        "echo $GREETING $NAME; id -u; id -g; pwd; hostname; echo $HOME; cat /etc/hostname; sleep 600";
    let pod = PodUnderTest::new(1, image).container("main", script).with(|container| {
        container.env.insert("NAME".into(), "world".into());
        container.user = Some("guest:friends".into());
        container.working_dir = Some("/made/here".into());
    });
    let lines = first_lines(subject, pod, 7).await;
    let host = "under-test";
    assert_eq!(lines, ["hello world", "1000", "1001", "/made/here", host, "/tmp", host]);
}

/// A container that ends by itself is told with its exit code, until it is scaled away.
pub async fn a_container_that_ends_is_a_failure(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let pod = PodUnderTest::new(1, image)
        .container("short", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3")
        .container("long", "sleep 600")
        .build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let replica = scale_to_one(engine, &pod).await;
    let fault = failure(engine, pod.id, &replica.id).await;
    assert_eq!((fault.who, fault.code.as_str()), (Who::Publisher, "container-ended"));
    assert!(fault.text.contains("short") && fault.text.contains("exit code 3"), "{fault}");
    let failed = engine.replicas(pod.id).await.unwrap();
    assert_eq!(failed, [Replica { end: Some(ReplicaEnd::Failed(fault)), ..replica.clone() }]);
    let last = sampled_until(engine, |reading| reading.last).await;
    assert!(last.cpu_us > 10_000, "{last:?}");
    let fresh = scale_to_one(engine, &pod).await;
    assert_ne!(fresh.id, replica.id);
    finish(engine, pod.id).await;
}

/// What cannot run is the publisher's fault, in words that name it, and leaves no replica.
pub async fn what_cannot_run_is_refused(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let refused = [
        ("user-unknown", "nobody-here", with_user as fn(&mut ContainerSpec)),
        ("command", "no-such-program", with_program),
        ("command-missing", "main", without_command),
    ];
    for (code, named, change) in refused {
        let pod = PodUnderTest::new(1, image).container("main", "sleep 600").with(change).build(subject);
        let engine = subject.engine();
        let prepared = engine.prepare(&pod).await;
        let run = match prepared {
            Ok(()) => engine.scale(pod.id, 1).await.map(|_| ()),
            refused => refused,
        };
        let Err(EngineError::Pod(Fault { who, code: found, text, .. })) = run else {
            panic!("{code}: {run:?}")
        };
        assert_eq!((who, found.as_str()), (Who::Publisher, code), "{text}");
        assert!(text.contains(named), "{text}");
        assert_eq!(engine.replicas(pod.id).await.unwrap(), []);
        finish(engine, pod.id).await;
    }
}

fn with_user(container: &mut ContainerSpec) {
    container.user = Some("nobody-here".into());
}

fn with_program(container: &mut ContainerSpec) {
    container.entrypoint = Some(vec!["/bin/no-such-program".into()]);
}

fn without_command(container: &mut ContainerSpec) {
    container.entrypoint = None;
}

/// What takes no notice of its end, and what is stopped so that it cannot, ends all the same.
pub async fn what_ignores_its_end_is_killed(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let script = "trap '' TERM INT HUP; (trap '' TERM; /bin/busybox kill -STOP $$; sleep 600) & \
                  /bin/busybox setsid sleep 600 & echo ready; while :; do sleep 1; done";
    let pod = PodUnderTest::new(1, image).container("main", script).container("other", script).build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 2).await, ["ready", "ready"]);
    assert_eq!(engine.scale(pod.id, 0).await.unwrap(), []);
    finish(engine, pod.id).await;
}

/// A pod names its own images only: one that another publisher shipped is to it as if it were not
/// there, also where a node has it already.
pub async fn an_image_of_another_is_refused(subject: &mut dyn Subject) {
    let (theirs, own) = (subject.ship(&shell().environment(&["OF=another"])), subject.ship(&shell()));
    let other = PodUnderTest::new(1, theirs).container("main", "sleep 600").build(subject);
    let mut thief = PodUnderTest::new(2, own).container("main", "sleep 600").build(subject);
    let engine = subject.engine();
    engine.prepare(&other).await.unwrap();
    scale_to_one(engine, &other).await;
    thief.spec.containers[0].image = theirs;
    let refused = engine.prepare(&thief).await;
    assert!(matches!(&refused, Err(EngineError::Pod(fault)) if fault.code == "image-missing"), "{refused:?}");
    assert_eq!(engine.scale(thief.id, 1).await, Err(EngineError::Unknown));
    finish(engine, other.id).await;
}
