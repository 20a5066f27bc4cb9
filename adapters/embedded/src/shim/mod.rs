//! The shim: the process that holds a replica. It is its own small world, so that its end, however
//! it comes, is the end of everything of the replica; and it outlives the daemon.
//!
//! ```text
//! daemon --spawns into new pid, net, ipc, uts and mount namespaces--> shim (its process 1)
//!   shim: makes them its own, waits            daemon: connects the network
//!   daemon: says which replica it is; if it ends before, so does the shim
//!   shim: mounts the containers' roots, writes their bundles, has the runtime start every container,
//!         tells the daemon, supervises
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
mod pace;
mod runtime;
mod start_error;
mod supervisor;
mod users;

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cgroup::Cgroups;
use crate::host_error::{Doing as _, HostError};
use crate::replica_files::{Plan, ReplicaDir, StartReport, Started, boot_ms, read_json, write_json};
use crate::run_dir::RunDir;
use start_error::StartError;
use supervisor::Supervisor;

/// A replica's id has at most 64 characters; then comes the end of the line.
const MAX_ORDER: u64 = 65;

/// The shim's `main`: call it before anything else, and before any thread, where a program's
/// first argument is `shim`; `arguments` are those after it: the engine's run directory. Returns
/// when the replica has ended, or when there will be none.
pub fn shim_main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(run_dir) = arguments.next().map(PathBuf::from).filter(|dir| dir.is_absolute()) else {
        return ExitCode::FAILURE;
    };
    let ready = settle_in();
    let Some(replica) = await_order() else { return ExitCode::SUCCESS };
    let dir = RunDir::at(&run_dir).replica(&replica);
    let started = ready.map_err(StartError::from).and_then(|cgroups| start(&dir, cgroups));
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

/// What needs no replica.
fn settle_in() -> Result<Cgroups, HostError> {
    // Fails where it leads a session already, and then there is nothing to do.
    let _ = nix::unistd::setsid();
    let cgroups = Cgroups::detect().doing("find the cgroups")?;
    mounts::enter(&cgroups).doing("make the mount namespace private")?;
    open_ports().doing("set up the network namespace")?;
    Ok(cgroups)
}

/// No container has the capabilities that ports below 1024 and ping ask for otherwise.
fn open_ports() -> io::Result<()> {
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
}

/// The id of the replica that this is to be: a line that the daemon writes. `None` where it ends
/// before it does.
fn await_order() -> Option<String> {
    let mut line = String::new();
    io::stdin().lock().take(MAX_ORDER).read_line(&mut line).ok()?;
    line.strip_suffix('\n').filter(|id| !id.is_empty()).map(str::to_owned)
}

fn start(dir: &ReplicaDir, cgroups: Cgroups) -> Result<Supervisor, StartError> {
    let plan: Option<Plan> = read_json(&dir.plan()).doing("read the plan")?;
    let plan = plan.ok_or_else(|| HostError::new("read the plan", io::ErrorKind::NotFound))?;
    let listener = UnixListener::bind(dir.socket()).doing("listen for commands")?;
    nix::unistd::sethostname(&plan.hostname).doing("set the host name")?;
    for container in &plan.containers {
        let root = mounts::mount_root(&dir.container(&container.name), container)?;
        bundle::write(&dir.container(&container.name), &root, dir, container, &cgroups)?;
    }
    let supervisor = Supervisor::start(dir.clone(), plan, listener, cgroups)?;
    let started = boot_ms().and_then(|boot_ms| write_json(&dir.started(), &Started { boot_ms }));
    started.doing("note the start")?;
    Ok(supervisor)
}

fn tell(report: &StartReport) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    io::stdout().write_all(&line)?;
    io::stdout().flush()
}
