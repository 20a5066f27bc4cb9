//! What the engine does to its host: nothing in the clear on the disk, nothing left, and nothing
//! beyond its limits. Needs root.

#![expect(clippy::unwrap_used, reason = "these are tests: what fails is to panic")]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use apocryph_embedded::check;
use apocryph_model::{Bytes, VolumeKind, Who};
use apocryph_provider::{Engine as _, EngineError, ReplicaEnd};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, attacker, failure, shell};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use support::with_engine;

const MARKER: &str = "correct-horse-battery-staple";

fn eventually(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come to hold");
    }
}

/// proc(5), `PPid`; `None` where the process has ended.
fn parent_of(process: i32) -> Option<nix::unistd::Pid> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some(nix::unistd::Pid::from_raw(parent.trim().parse().ok()?))
}

fn parent(process: i32) -> nix::unistd::Pid {
    parent_of(process).expect("it runs")
}

/// Of this process: the shims, as nothing else runs on.
fn children() -> Vec<nix::unistd::Pid> {
    let own = nix::unistd::getpid();
    let processes = std::fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |process: &i32| parent_of(*process) == Some(own);
    ids.filter(is_child).map(nix::unistd::Pid::from_raw).collect()
}

#[test]
fn secrets_stand_in_memory_only() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image)
                .container("main", "cat /secret/file; echo $PASSWORD; sleep 600")
                .with(|container| drop(container.env.insert("PASSWORD".into(), MARKER.into())))
                .volume("secret", "/secret", VolumeKind::Secret, &[("file", MARKER)])
                .build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            bench.engine().scale(pod.id, 1).await.unwrap();
            let found = |dir: &std::path::Path| {
                let output =
                    Command::new("grep").args(["-rl", MARKER, "--exclude-dir=logs"]).arg(dir).output();
                String::from_utf8(output.unwrap().stdout).unwrap()
            };
            assert_eq!(found(&bench.config.data_dir), "");
            assert!(!found(&bench.config.run_dir).is_empty(), "the search finds what there is");
            let file_system = |dir| statfs(dir).unwrap().filesystem_type();
            assert_eq!(file_system(bench.config.run_dir.as_path()), TMPFS_MAGIC);
        })
    });
}

#[test]
fn a_start_takes_a_shim_that_waits_in_store() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", "sleep 76543").build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            eventually(|| children().len() == 2);
            let in_store = children();
            bench.engine().scale(pod.id, 1).await.unwrap();
            eventually(|| bench.processes("76543").len() == 1);
            let shim = parent(bench.processes("76543")[0]);
            assert!(in_store.contains(&shim), "{shim} of {in_store:?}");
        })
    });
}

#[test]
fn the_shims_end_is_the_replicas_end() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", "sleep 98765").build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            let replica = bench.engine().scale(pod.id, 1).await.unwrap().remove(0);
            let before = bench.engine().sample().await.unwrap();
            // What the runtime forks is known by the runtime's command line until it executes.
            eventually(|| bench.processes("98765").len() == 1);
            let shim = parent(bench.processes("98765")[0]);
            nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
            let fault = failure(bench.engine(), pod.id, &replica.id).await;
            assert_eq!((fault.who, fault.code.as_str()), (Who::Provider, "shim-killed"));
            assert!(bench.processes("98765").is_empty());
            let last = bench.engine().sample().await.unwrap().remove(0);
            assert!(last.last && last.cpu_us >= before[0].cpu_us && last.running_ms == before[0].running_ms);
            assert!(matches!(
                bench.engine().replicas(pod.id).await.unwrap()[0].end,
                Some(ReplicaEnd::Failed(_))
            ));
        })
    });
}

#[test]
fn a_caller_that_leaves_loses_no_replica() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", "sleep 87654").build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            for patience in [1, 5, 20, 40] {
                let scaled = bench.engine().scale(pod.id, 2);
                let _ = tokio::time::timeout(Duration::from_millis(patience), scaled).await;
                bench.engine().scale(pod.id, 0).await.unwrap();
                assert!(bench.engine().replicas(pod.id).await.unwrap().is_empty());
                assert!(bench.processes("87654").is_empty());
            }
        })
    });
}

#[test]
fn a_stubborn_container_is_killed_after_its_grace() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let script = "trap 'echo not yet' TERM; echo ready; while :; do sleep 1 & wait; done";
            let lines = bench.first_lines(PodUnderTest::new(1, image).container("main", script), 1).await;
            assert_eq!(lines, ["ready"]);
        })
    });
}

#[test]
fn storage_cannot_be_hidden() {
    with_engine(|bench| {
        Box::pin(async move {
            // None is given to who takes too much.
            bench.config.stop_grace = Duration::from_secs(90);
            bench.restart().await;
            let image = bench.ship(&attacker());
            let size = Bytes(8 << 20);
            let hidden = [
                // In a folder whose path is longer than the kernel takes,
                ("attack nest /data 40 32; sleep 600", "volume data holds more than its 8Mi"),
                // in folders without end,
                ("attack nest /data 1000 0; sleep 600", "volume data has more than 128 folders"),
                // and in files that have no name any more, in the volume and beside it.
                ("exec attack nameless /data/big", "files that were removed"),
                ("exec attack nameless /tmp/big", "files that were removed"),
            ];
            let pods = hidden.iter().zip(1..).map(|((script, _), number)| {
                let pod = PodUnderTest::new(number, image).container("main", script);
                pod.volume("data", "/data", VolumeKind::Ephemeral { size }, &[]).build(bench)
            });
            for (pod, (script, told)) in pods.collect::<Vec<_>>().iter().zip(hidden) {
                bench.engine().prepare(pod).await.unwrap();
                let replica = bench.engine().scale(pod.id, 1).await.unwrap().remove(0);
                let fault = failure(bench.engine(), pod.id, &replica.id).await;
                assert_eq!(
                    (fault.who, fault.code.as_str()),
                    (Who::Publisher, "storage-exceeded"),
                    "{script}"
                );
                assert!(fault.text.contains(told), "{script}: {fault}");
                bench.engine().remove(pod.id).await.unwrap();
            }
        })
    });
}

#[test]
fn files_of_the_engine_are_the_containers_memory() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
                // 32 MiB are reserved.
                let script = format!("sleep 0.2; exec dd if=/dev/zero of={file} bs=1M count=64");
                let pod = PodUnderTest::new(1, image).container("main", &script).build(bench);
                bench.engine().prepare(&pod).await.unwrap();
                let replica = bench.engine().scale(pod.id, 1).await.unwrap().remove(0);
                let fault = failure(bench.engine(), pod.id, &replica.id).await;
                assert_eq!(fault.code, "out-of-memory", "{file}: {fault}");
                bench.engine().remove(pod.id).await.unwrap();
            }
        })
    });
}

#[test]
fn a_link_in_a_mounts_way_is_the_publishers_fault() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let kind = VolumeKind::Persistent { size: Bytes(8 << 20) };
            let pod = |script| {
                PodUnderTest::new(1, image).container("main", script).volume("keep", "/keep", kind, &[])
            };
            let script = "/bin/busybox ln -s /none /keep/inner; echo linked; sleep 600";
            bench.first_lines(pod(script), 1).await;
            let second = pod("sleep 600")
                .volume("inner", "/keep/inner", VolumeKind::Ephemeral { size: Bytes(8 << 20) }, &[])
                .build(bench);
            bench.engine().prepare(&second).await.unwrap();
            let Err(EngineError::Pod(fault)) = bench.engine().scale(second.id, 1).await else {
                panic!("it starts")
            };
            assert_eq!((fault.who, fault.code.as_str()), (Who::Publisher, "mount"), "{fault}");
            assert!(fault.text.contains("/keep/inner"), "{fault}");
        })
    });
}

#[test]
fn a_host_that_does_is_told_so() {
    with_engine(|bench| {
        Box::pin(async move {
            let lacks = async |config: apocryph_embedded::Config| {
                let looked = tokio::task::spawn_blocking(move || check(&config)).await.unwrap();
                looked.into_iter().filter_map(Result::err).collect::<Vec<_>>()
            };
            let found = lacks(bench.config.clone()).await;
            assert!(found.iter().all(|lack| !lack.fatal), "{found:?}");
            let mut config = bench.config.clone();
            config.runtime = "no-such-runtime".into();
            config.data_dir = "/proc/none".into();
            let found = lacks(config).await;
            let fatal: Vec<&str> =
                found.iter().filter(|lack| lack.fatal).map(|lack| lack.what.as_str()).collect();
            assert_eq!(fatal.len(), 2, "{found:?}");
            assert!(fatal[0].contains("no-such-runtime") && fatal[1].contains("/proc/none"));
        })
    });
}
