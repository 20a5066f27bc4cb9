//! The OCI runtime alone, as the peer of a cold start: the bundle that the engine made of a pod,
//! with a folder in place of the overlay, in the host's network, supervised by nobody.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use apocryph_testbed::daemon::Daemon;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::clock::wait_for_answer;

const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// A bundle, and where the runtime keeps its state.
pub(crate) struct Alone {
    folder: PathBuf,
    server: SocketAddr,
}

impl Alone {
    /// Of the container `main` of the only replica that runs; `process` is one of the container's.
    pub(crate) fn copy(daemon: &Daemon, process: u32, port: u16) -> Self {
        let folder = daemon.folder.join("alone");
        fs::create_dir_all(folder.join("root")).unwrap();
        // Of one file system: without what is mounted into it.
        let (from, to) = (format!("/proc/{process}/root/."), folder.join("root"));
        assert!(Command::new("cp").arg("-ax").arg(from).arg(to).status().unwrap().success());
        let mut config: Value = serde_json::from_slice(&fs::read(config_of(daemon)).unwrap()).unwrap();
        config["root"]["path"] = json!("root");
        config["linux"]["cgroupsPath"] = json!(format!("/apocryph/{}/alone", daemon.engine));
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "bind");
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        Self { folder, server: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// How long a container takes from the start of the runtime to its first byte.
    pub(crate) fn first_byte(&self) -> Duration {
        std::thread::scope(|scope| scope.spawn(|| self.run()).join().unwrap())
    }

    fn run(&self) -> Duration {
        hide_version_2();
        let begun = Instant::now();
        self.crun(&["run", "--detach", "--bundle", self.folder.to_str().unwrap(), "alone"]);
        wait_for_answer(self.server);
        let taken = begun.elapsed();
        self.crun(&["delete", "--force", "alone"]);
        taken
    }

    fn crun(&self, arguments: &[&str]) {
        let mut crun = Command::new("crun");
        crun.arg("--root").arg(self.folder.join("state")).args(arguments);
        assert!(crun.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().success());
    }
}

fn config_of(daemon: &Daemon) -> PathBuf {
    let mut replicas = fs::read_dir(daemon.folder.join("run/replicas")).unwrap();
    replicas.next().unwrap().unwrap().path().join("containers/main/config.json")
}

/// As the engine does: beside the trees of version 1, crun takes the empty one of version 2 for the
/// host's own. The mounts are this thread's.
fn hide_version_2() {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() || !Path::new(UNIFIED).exists() {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    mount(Some("tmpfs"), UNIFIED, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}
