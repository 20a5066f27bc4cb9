//! Starts a shim in namespaces of its own.
//!
//! A thread that unshares the namespaces and then spawns the shim gives it birth there, as their
//! first process, without a fork in a process of many threads; the thread ends with the launch.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use apocryph_provider::EngineError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use tokio::sync::oneshot;

use crate::host_error::{Doing as _, HostError};
use crate::network::{Netlink, Network};
use crate::replica_files::{ReplicaDir, StartReport};

/// How long a shim may take until its containers have been started.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the thread is to start.
pub(super) struct Launch {
    pub(super) shim: PathBuf,
    pub(super) dir: ReplicaDir,
    pub(super) network: Network,
    pub(super) link: String,
    pub(super) address: Ipv4Addr,
}

impl Launch {
    /// Returns when all containers have been started. On error nothing runs any more.
    pub(super) async fn run(self) -> Result<Child, EngineError> {
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name("launch".into());
        let thread = thread.spawn(move || {
            // Nobody waits any more where the daemon is ending; the next one adopts the replica.
            let _ = sender.send(self.run_here());
        });
        thread.doing("start a thread")?;
        let launched = receiver.await;
        launched.map_err(|_| HostError::new("launch a replica", std::io::Error::other("the thread ended")))?
    }

    fn run_here(self) -> Result<Child, EngineError> {
        let mut child = self.spawn_connected()?;
        match await_report(&mut child) {
            Ok(()) => Ok(child),
            Err(error) => {
                // Both fail only where it has ended already.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    fn spawn_connected(&self) -> Result<Child, HostError> {
        let host = Netlink::open().doing("open a netlink socket")?;
        let host_netns = File::open("/proc/thread-self/ns/net").doing("open the network namespace")?;
        unshare(
            CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWNS,
        )
        .doing("make namespaces")?;
        let mut child = self.spawn()?;
        let connected = self.network.connect(&host, host_netns.as_fd(), &self.link, self.address);
        if let Err(error) = connected {
            // Both fail only where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
            return Err(HostError::new("connect a replica's network", error));
        }
        if let Some(mut stdin) = child.stdin.take() {
            // Fails where the shim has given up already: its report says why.
            let _ = stdin.write_all(b"g");
        }
        Ok(child)
    }

    fn spawn(&self) -> Result<Child, HostError> {
        let child = Command::new(&self.shim)
            .arg("shim")
            .arg(&self.dir.0)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        child.doing(format!("start the shim {}", self.shim.display()))
    }
}

fn await_report(child: &mut Child) -> Result<(), EngineError> {
    let no_report = |why: &str| HostError::new("start a replica", std::io::Error::other(why.to_owned()));
    let Some(stdout) = child.stdout.take() else { return Err(no_report("the shim has no output").into()) };
    let limit = PollTimeout::try_from(START_LIMIT).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, limit).doing("wait for the shim")? == 0 {
        return Err(no_report("its runtime takes too long").into());
    }
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).doing("read the shim's report")?;
    match serde_json::from_str(&line) {
        Ok(StartReport::Running) => Ok(()),
        Ok(StartReport::Pod(fault)) => Err(EngineError::Pod(fault)),
        Ok(StartReport::Host(details)) => Err(no_report(&details).into()),
        Err(_) => Err(no_report("the shim ended without a report").into()),
    }
}
