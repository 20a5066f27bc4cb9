//! Pods' cgroups as the kernel has them, of both versions where both are mounted. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are tests: they tell by panics and lines"
)]

use apocryph_pod_cgroups::{PodCgroups, Used};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const UID: &str = "0b7c2a4e-52a8-4d0c-9f0e-6d0a1c3b5e7f";

/// A cgroup that is taken away, with those in it.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        fn remove(folder: &Path) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    remove(&entry.path());
                }
            }
            // It may have gone before.
            let _ = fs::remove_dir(folder);
        }
        remove(&self.0);
    }
}

/// Made below `root`; `None`, and a line that says why, where that cannot be.
fn make(root: &str, pod: &str) -> Option<(Cgroup, PathBuf)> {
    let own = Path::new(root).join(format!("apocryph-test-{}", std::process::id()));
    let folder = own.join(pod);
    if !Path::new(root).join("cgroup.procs").exists() {
        eprintln!("skipped: no cgroups at {root}");
        return None;
    }
    match fs::create_dir_all(folder.join("container")) {
        Ok(()) => Some((Cgroup(own), folder)),
        Err(error) => {
            eprintln!("skipped: no cgroup can be made at {root}: {error}");
            None
        }
    }
}

/// One that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Has a process in the cgroup use some processor time, and end; looks at it before.
fn burst(cgroup: &Path, look: impl FnOnce()) {
    let script = "read go; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let mut child = Process(Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap());
    fs::write(cgroup.join("cgroup.procs"), child.0.id().to_string()).unwrap();
    look();
    child.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child.0.wait().unwrap();
}

fn is_read_to_its_end(mounted: &str, pod: &Path, counted: impl Fn() -> u64) {
    let cgroups = Arc::new(PodCgroups::open(Path::new(mounted)).unwrap());
    cgroups.keep_reading().unwrap();
    until("the Pod is found", || cgroups.read(UID));
    let container = pod.join("container");
    burst(&container, || assert!(!cgroups.read(UID).unwrap().whole, "it has a process"));
    until("its container is gone", || fs::remove_dir(&container).ok());
    let counted = counted();
    assert!(counted > 10_000, "{counted} microseconds are too few to tell");
    until("it is known to have no process", || cgroups.read(UID).filter(|used| used.whole));
    fs::remove_dir(pod).unwrap();
    let gone = until("it is gone", || cgroups.read(UID).filter(|used| !used.there));
    assert_eq!(gone, Used { cpu_us: counted, there: false, whole: true });
}

#[test]
fn version_1() {
    let pod = format!("kubepods/burstable/pod{UID}");
    let Some((_own, pod)) = make("/sys/fs/cgroup/cpuacct", &pod) else { return };
    let counted = || {
        let text = fs::read_to_string(pod.join("cpuacct.usage")).unwrap();
        text.trim().parse::<u64>().unwrap() / 1000
    };
    is_read_to_its_end("/sys/fs/cgroup", &pod, counted);
}

#[test]
fn version_2() {
    let pod = format!("kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
    let beside = "/sys/fs/cgroup/unified";
    let mounted = if Path::new(beside).exists() { beside } else { "/sys/fs/cgroup" };
    if !Path::new(mounted).join("cgroup.controllers").exists() {
        return eprintln!("skipped: no cgroups of version 2");
    }
    let Some((_own, pod)) = make(mounted, &pod) else { return };
    let counted = || {
        let text = fs::read_to_string(pod.join("cpu.stat")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok()).unwrap()
    };
    is_read_to_its_end(mounted, &pod, counted);
}
