//! What is kept, and for how long.

use apocryph_model::{Bytes, VolumeKind};

use super::driving::{finish, lines_of, scale_to_one};
use super::{PodUnderTest, Subject, attacker, shell};

/// Persistent volumes live as long as the pod, ephemeral ones as long as the replica; secrets are
/// read-only; and a container's own files go with it.
pub async fn volumes_live_as_long_as_they_should(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let script = "cat /keep/file /drop/file /tmp/file 2>/dev/null || echo none; \
                  echo kept >/keep/file; echo dropped >/drop/file; echo own >/tmp/file; \
                  cat /secret/password; echo x 2>/dev/null >/secret/password || echo read-only; sleep 600";
    let size = Bytes(8 << 20);
    let pod = PodUnderTest::new(1, image)
        .container("main", script)
        .with(|container| container.user = Some("guest".into()))
        .volume("keep", "/keep", VolumeKind::Persistent { size }, &[])
        .volume("drop", "/drop", VolumeKind::Ephemeral { size }, &[])
        .volume("secret", "/secret", VolumeKind::Secret, &[("password", "hunter2\n")])
        .build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 3).await, ["none", "hunter2", "read-only"]);
    engine.scale(pod.id, 0).await.unwrap();
    scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 7).await[3..], ["kept", "none", "hunter2", "read-only"]);
    finish(engine, pod.id).await;
    engine.prepare(&pod).await.unwrap();
    scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 1).await, ["none"], "removed with the pod");
    finish(engine, pod.id).await;
}

/// A link that a tenant left in a volume leads nowhere but within its own files when another volume is
/// mounted there.
pub async fn links_in_a_volume_lead_nowhere(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let kind = VolumeKind::Persistent { size: Bytes(8 << 20) };
    let pod = |script: &str| {
        PodUnderTest::new(1, image).container("main", script).volume("keep", "/keep", kind, &[])
    };
    let script = "/bin/busybox ln -s ../../../../../../../etc /keep/inner; echo linked; sleep 600";
    let first = pod(script).build(subject);
    let second = pod("echo here >/keep/inner/apocryph-inner; cat /etc/apocryph-inner; sleep 600")
        .volume("inner", "/keep/inner", VolumeKind::Ephemeral { size: Bytes(8 << 20) }, &[])
        .build(subject);
    let engine = subject.engine();
    engine.prepare(&first).await.unwrap();
    scale_to_one(engine, &first).await;
    assert_eq!(lines_of(engine, first.id, 1).await, ["linked"]);
    engine.prepare(&second).await.unwrap();
    scale_to_one(engine, &second).await;
    assert_eq!(lines_of(engine, second.id, 2).await, ["linked", "here"]);
    assert!(!std::path::Path::new("/etc/apocryph-inner").exists());
    finish(engine, first.id).await;
}

/// What a tenant leaves behind can be taken away, also where its path is longer than the kernel takes.
pub async fn a_deep_tree_goes_with_its_pod(subject: &mut dyn Subject) {
    let image = subject.ship(&attacker());
    let pod = PodUnderTest::new(1, image)
        .container("own", "attack nest /tmp 100 0; sleep 600")
        .container("keep", "attack nest /keep 100 0; sleep 600")
        .volume("keep", "/keep", VolumeKind::Persistent { size: Bytes(16 << 20) }, &[])
        .build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 2).await, ["nested", "nested"]);
    finish(engine, pod.id).await;
}
