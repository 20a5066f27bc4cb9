//! How long a request waits for a replica from zero, in full isolation: from the call of `scale`
//! until the first bytes of the answer. Beside it, in the same run, the OCI runtime alone: the same
//! bundle by `crun run`, without overlay, network and supervision. A line of JSON each. Needs root.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nothing to report")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use apocryph_model::{Bytes, Millicores};
use apocryph_provider::{Engine as _, EnginePod};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use support::{Bench, with_engine};

const RUNS: usize = 50;
const UNIFIED: &str = "/sys/fs/cgroup/unified";
const PORT: u16 = 8080;
/// A gateway's pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(1);

fn main() {
    with_engine(|bench| Box::pin(measure(bench)));
}

async fn measure(bench: &mut Bench) {
    let image = bench.ship(&shell()).await;
    let script = "echo hello >/tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    let pod = PodUnderTest::new(1, image).container("main", script).with(|container| {
        container.resources.cpu = Millicores(2000);
        container.resources.memory = Bytes(64 << 20);
        container.user = Some("guest".into());
    });
    let pod = pod.build(bench);
    bench.engine().prepare(&pod).await.unwrap();
    hide_version_2();
    let bundle = bench.dir.path().join("bundle");
    copy_bundle(bench, &pod, &bundle).await;
    let (mut started, mut served, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..RUNS {
        let begun = Instant::now();
        let replica = bench.engine().scale(pod.id, 1).await.unwrap().remove(0);
        started.push(begun.elapsed());
        wait_for_answer(replica.address);
        served.push(begun.elapsed());
        bench.engine().scale(pod.id, 0).await.unwrap();
        alone.push(tokio::task::block_in_place(|| run_alone(&bundle, run)));
    }
    fs::remove_dir_all(bundle).unwrap();
    nix::mount::umount(UNIFIED).unwrap_or_default();
    report("cold start, containers started", started);
    report("cold start, first byte", served);
    report("crun run alone, first byte", alone);
}

/// As the shim does, for crun alone too; the mounts here are this thread's.
fn hide_version_2() {
    if Path::new(UNIFIED).exists() {
        mount(None::<&str>, UNIFIED, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    }
}

/// The bundle of a replica, with a root of its own in place of the overlay.
async fn copy_bundle(bench: &Bench, pod: &EnginePod, bundle: &Path) {
    let replica = bench.engine().scale(pod.id, 1).await.unwrap().remove(0);
    let dir = bench.config.run_dir.join("replicas").join(&replica.id).join("containers/main");
    let mut config: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    bench.engine().scale(pod.id, 0).await.unwrap();
    config["root"]["path"] = json!("root");
    config["linux"]["cgroupsPath"] = json!(format!("/apocryph/{}/alone", bench.name));
    config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "bind");
    fs::create_dir_all(bundle.join("root")).unwrap();
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    for layer in bench.layers() {
        let copied = Command::new("cp").arg("-a").arg(layer.join(".")).arg(bundle.join("root")).status();
        assert!(copied.unwrap().success());
    }
}

fn run_alone(bundle: &Path, run: usize) -> Duration {
    let (id, root) = (format!("alone-{run}"), bundle.join("state"));
    let crun = |arguments: &[&str]| {
        let mut crun = Command::new("crun");
        crun.arg("--root").arg(&root).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(crun.status().unwrap().success());
    };
    let begun = Instant::now();
    crun(&["run", "--detach", "--bundle", bundle.to_str().unwrap(), &id]);
    wait_for_answer(Ipv4Addr::LOCALHOST.into());
    let taken = begun.elapsed();
    crun(&["delete", "--force", &id]);
    taken
}

fn wait_for_answer(address: IpAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect((address, PORT)) {
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer[8..], b" 200");
            return;
        }
        std::thread::sleep(RETRY);
    }
}

#[expect(clippy::print_stdout, reason = "the report is what a benchmark is for")]
fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_micros() as u64;
    let (p50, p99) = (at(50), at(99));
    println!("{}", json!({ "name": name, "unit": "us", "p50": p50, "p99": p99, "runs": times.len() }));
}
