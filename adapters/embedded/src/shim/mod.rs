//! The shim: the process that holds a replica. It is its own small world, so that its end, however
//! it comes, is the end of everything of the replica; and it outlives the daemon.
//!
//! ```text
//! daemon --spawns into new pid, net, ipc, uts and mount namespaces--> shim (its process 1)
//!   shim: mounts the containers' roots, writes their bundles
//!   daemon: connects the network, says go
//!   shim: has the runtime start every container, tells the daemon, supervises
//!
//!   supervise: [running] --stop command, or a container ends by itself--> [stopping]
//!              [stopping] --grace over--> kill --> [stopping]
//!              [stopping] --all containers have ended--> end.json, exit
//! ```
//!
//! Process 1 of a namespace takes all its processes with it, and inherits those whose parent ends;
//! mounts and links go with their namespaces.

mod bundle;
mod mounts;
mod runtime;
mod start_error;
mod supervisor;
mod users;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cgroup::Cgroups;
use crate::host_error::{Doing as _, HostError};
use crate::replica_files::{Plan, ReplicaDir, StartReport, Started, boot_ms, read_json, write_json};
use start_error::StartError;
use supervisor::Supervisor;

/// The shim's `main`: call it before anything else, and before any thread, where a program's
/// first argument is `shim`; `arguments` are those after it. Returns when the replica has ended.
pub fn shim_main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(dir) = arguments.next().map(PathBuf::from).filter(|dir| dir.is_absolute()) else {
        return ExitCode::FAILURE;
    };
    let dir = ReplicaDir(dir);
    let started = start(&dir);
    let report = match &started {
        Ok(_) => StartReport::Running,
        Err(error) => error.to_report(),
    };
    // The daemon may be gone by now; the replica stays, and is found by the next one.
    let _ = tell(&report);
    match started.map(Supervisor::supervise) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn start(dir: &ReplicaDir) -> Result<Supervisor, StartError> {
    let plan: Option<Plan> = read_json(&dir.plan()).doing("read the plan")?;
    let plan = plan.ok_or_else(|| HostError::new("read the plan", io::ErrorKind::NotFound))?;
    // Fails where it leads a session already, and then there is nothing to do.
    let _ = nix::unistd::setsid();
    let listener = UnixListener::bind(dir.socket()).doing("listen for commands")?;
    let cgroups = Cgroups::detect().doing("find the cgroups")?;
    mounts::enter(&cgroups).doing("make the mount namespace private")?;
    set_up_namespaces(&plan).doing("set up the namespaces")?;
    for container in &plan.containers {
        let root = mounts::mount_root(&dir.container(&container.name), container)?;
        bundle::write(&dir.container(&container.name), &root, dir, container, &cgroups)?;
    }
    wait_for_go().doing("wait for the daemon")?;
    let supervisor = Supervisor::start(dir.clone(), plan, listener, cgroups)?;
    let started = boot_ms().and_then(|boot_ms| write_json(&dir.started(), &Started { boot_ms }));
    started.doing("note the start")?;
    Ok(supervisor)
}

/// What all containers of the replica share.
fn set_up_namespaces(plan: &Plan) -> io::Result<()> {
    nix::unistd::sethostname(&plan.hostname)?;
    // No container has the capabilities that ports below 1024 and ping ask for otherwise.
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
}

/// The daemon says so once the network is there. If it ends before, so does the shim.
fn wait_for_go() -> io::Result<()> {
    io::stdin().read_exact(&mut [0])
}

fn tell(report: &StartReport) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    io::stdout().write_all(&line)?;
    io::stdout().flush()
}
