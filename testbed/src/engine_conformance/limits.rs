//! Nobody takes more than is reserved.

use std::path::Path;
use std::time::Duration;

use apocryph_model::{Bytes, ContainerSpec, Millicores, VolumeKind};
use apocryph_provider::{Engine, EnginePod};
use tokio::time::timeout;

use super::driving::{PATIENCE, failure, finish, lines_of, scale_to_one};
use super::{PodUnderTest, Subject, attacker, shell};

/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// Memory is limited, and who ran out of it is told so.
pub async fn memory_is_limited(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    // dd holds one block in memory.
    let pod = PodUnderTest::new(1, image)
        .container("main", "sleep 1; exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    let pod = pod.build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let replica = scale_to_one(engine, &pod).await;
    let fault = failure(engine, pod.id, &replica.id).await;
    assert_eq!(fault.code, "out-of-memory", "{fault}");
    assert!(fault.text.contains("32Mi"), "{fault}");
    finish(engine, pod.id).await;
}

/// What lies in memory that looks like files is memory of the container's too, and who takes too much
/// ends alone.
pub async fn a_memory_bomb_ends_alone(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let calm = PodUnderTest::new(1, image).container("main", "sleep 600").build(subject);
    // 32 MiB are reserved.
    let bomb = PodUnderTest::new(2, image)
        .container("main", "sleep 1; dd if=/dev/zero of=/dev/shm/1 bs=1M count=20; exec dd if=/dev/zero of=/dev/shm/2 bs=1M count=20");
    let bomb = bomb.build(subject);
    let engine = subject.engine();
    let neighbour = prepare_and_start(engine, &calm).await;
    let replica = prepare_and_start(engine, &bomb).await;
    let fault = failure(engine, bomb.id, &replica).await;
    assert_eq!(fault.code, "out-of-memory", "{fault}");
    assert_eq!(engine.replicas(calm.id).await.unwrap()[0].id, neighbour);
    finish(engine, bomb.id).await;
    finish(engine, calm.id).await;
}

/// Processes are limited, and who has taken all of its own keeps none from others.
pub async fn processes_are_limited(subject: &mut dyn Subject) {
    let image = subject.ship(&attacker());
    let roomy = |container: &mut ContainerSpec| container.resources.memory = Bytes(512 << 20);
    let bomb =
        PodUnderTest::new(1, image).container("main", "exec attack forks 2000").with(roomy).build(subject);
    let calm =
        PodUnderTest::new(2, image).container("main", "sleep 0; echo forked; sleep 600").build(subject);
    let engine = subject.engine();
    prepare_and_start(engine, &bomb).await;
    assert_eq!(lines_of(engine, bomb.id, 1).await, ["bounded"]);
    prepare_and_start(engine, &calm).await;
    assert_eq!(lines_of(engine, calm.id, 1).await, ["forked"]);
    finish(engine, calm.id).await;
    finish(engine, bomb.id).await;
}

/// Who writes more than is reserved ends, in its own files as in a volume, also where it does not care
/// to be asked.
pub async fn storage_is_limited(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let write = |number: u8, path: &str| {
        let script = format!(
            "trap '' TERM; while [ $((n)) -lt 64 ]; do dd if=/dev/zero of={path}/$((n=n+1)) bs=1M count=4 2>/dev/null; sleep 0.1; done; \
             while :; do sleep 600; done"
        );
        PodUnderTest::new(number, image).container("main", &script)
    };
    let ephemeral = VolumeKind::Ephemeral { size: Bytes(8 << 20) };
    let pods = [
        write(1, "/tmp").build(subject),
        write(2, "/data").volume("data", "/data", ephemeral, &[]).build(subject),
    ];
    let engine = subject.engine();
    let mut replicas = Vec::new();
    for pod in &pods {
        replicas.push(prepare_and_start(engine, pod).await);
    }
    for (pod, replica) in pods.iter().zip(&replicas) {
        let fault = failure(engine, pod.id, replica).await;
        assert_eq!(fault.code, "storage-exceeded", "{fault}");
        finish(engine, pod.id).await;
    }
}

/// However much a container writes to its log, what is kept of it is bounded, and is the latest.
pub async fn a_flood_of_output_is_bounded(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let script = "/bin/busybox yes 'a line of some length, so that there is something to it' | head -c 24m; \
                  sleep 1; echo dry; sleep 600";
    let pod = PodUnderTest::new(1, image).container("main", script).with(|container| {
        // It has much to write.
        container.resources.cpu = Millicores(500);
        container.resources.storage = Bytes(64 << 20);
    });
    let pod = pod.build(subject);
    prepare_and_start(subject.engine(), &pod).await;
    let folder = subject.log_folder(pod.id);
    let dry = async {
        while !log_text(&folder).contains("dry") {
            tokio::time::sleep(PAUSE).await;
        }
    };
    timeout(PATIENCE, dry).await.expect("the flood ends");
    let kept: u64 =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(kept < 9 << 20, "{kept} bytes are kept");
    finish(subject.engine(), pod.id).await;
}

fn log_text(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|kind| kind == "log"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect()
}

/// The kernel gives watches for changes of files to users, who are the same in all containers: one
/// that has them all keeps nobody's log from being read.
pub async fn taken_watches_harm_no_neighbour(subject: &mut dyn Subject) {
    let image = subject.ship(&attacker());
    let greedy = PodUnderTest::new(1, image).container("main", "exec attack watches").build(subject);
    let calm = PodUnderTest::new(2, image)
        .container("main", "echo one; sleep 2; echo two; sleep 600")
        .build(subject);
    let engine = subject.engine();
    prepare_and_start(engine, &greedy).await;
    assert_eq!(lines_of(engine, greedy.id, 1).await, ["taken"]);
    prepare_and_start(engine, &calm).await;
    assert_eq!(lines_of(engine, calm.id, 2).await, ["one", "two"]);
    finish(engine, calm.id).await;
    finish(engine, greedy.id).await;
}

async fn prepare_and_start(engine: &dyn Engine, pod: &EnginePod) -> String {
    engine.prepare(pod).await.unwrap();
    scale_to_one(engine, pod).await.id
}
