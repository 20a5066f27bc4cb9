//! A shim that is ready before anyone needs it: in namespaces of its own, connected to the network,
//! waiting to be told which replica it is.
//!
//! A thread that unshares the namespaces and then spawns the shim gives it birth there, as their
//! first process, without a fork in a process of many threads; the thread ends with that.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use apocryph_provider::EngineError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

use crate::config::Config;
use crate::host_error::{Doing as _, HostError};
use crate::network::{Netlink, Network};
use crate::replica_files::StartReport;

/// How long a shim may take until its containers have been started.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A shim without a replica. Where it never gets one, it ends with this value, and with the daemon.
pub(super) struct Spare {
    pub(super) address: Ipv4Addr,
    /// The name of the host's end of its link.
    pub(super) link: String,
    /// Until it is a replica's.
    child: Option<Child>,
}

impl Spare {
    /// Blocks, and leaves the calling thread in the spare's namespaces.
    pub(super) fn make(config: &Config, network: Network, address: Ipv4Addr) -> Result<Self, HostError> {
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
        let child = Some(spawn(&config.shim, &config.run_dir)?);
        // A link's name has 15 characters at most.
        let link = format!("ap{:012x}", rand::random::<u64>() >> 16);
        let spare = Self { address, link, child };
        let connected = network.connect(&host, host_netns.as_fd(), &spare.link, address);
        connected.doing("connect a replica's network")?;
        Ok(spare)
    }

    /// Makes it the replica of this id, whose files are written. Returns when all containers have
    /// been started; on error nothing runs any more. Blocks.
    pub(super) fn run(mut self, replica: &str) -> Result<Child, EngineError> {
        Network::switch_on(&self.link).doing("connect a replica's network")?;
        let report = self.tell(replica).map_err(|error| HostError::new("start a replica", error))?;
        match report {
            StartReport::Running => {}
            StartReport::Pod(fault) => return Err(EngineError::Pod(fault)),
            StartReport::Host(details) => return Err(no_report(&details).into()),
        }
        self.child.take().ok_or_else(|| no_report("it has no shim").into())
    }

    fn tell(&mut self, replica: &str) -> io::Result<StartReport> {
        let shim = self.child.as_mut().and_then(|child| Some((child.stdin.take()?, child.stdout.take()?)));
        let (mut order, answer) = shim.ok_or(io::ErrorKind::BrokenPipe)?;
        // Fails where the shim has given up already: its report says why.
        let _ = order.write_all(format!("{replica}\n").as_bytes());
        await_report(answer)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Both fail only where it has ended already. What goes with it, the kernel takes its time for.
        let _ = child.kill();
        let _ = child.wait();
        if let Err(error) = Network::disconnect(&self.link) {
            tracing::error!(%error, link = self.link, "a link is left");
        }
    }
}

fn spawn(shim: &Path, run_dir: &Path) -> Result<Child, HostError> {
    let child = Command::new(shim)
        .arg("shim")
        .arg(run_dir)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    child.doing(format!("start the shim {}", shim.display()))
}

fn await_report(answer: ChildStdout) -> io::Result<StartReport> {
    let limit = PollTimeout::try_from(START_LIMIT).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(answer.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, limit)? == 0 {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "its runtime takes too long"));
    }
    let mut line = String::new();
    BufReader::new(answer).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(|_| io::Error::other("the shim ended without a report"))
}

fn no_report(why: &str) -> HostError {
    HostError::new("start a replica", io::Error::other(why.to_owned()))
}
