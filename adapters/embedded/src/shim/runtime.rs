//! The OCI runtime, by its command line (`crun` and `runc` have the same).

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;
use serde::Deserialize;

use super::start_error::StartError;
use crate::host_error::{Doing as _, HostError};
use crate::replica_files::Plan;

/// How much of the runtime's log is read, in bytes.
const MAX_LOG: usize = 64 << 10;

/// What the runtimes say when an image's command is what is wrong.
const COMMAND_PROBLEMS: [&str; 6] = [
    "executable file",
    "open executable",
    "exec: \"",
    "exec user process",
    "exec container process",
    "chdir",
];

/// A container that the runtime is starting.
pub(super) struct Starting {
    runtime: Child,
    container: String,
    log: PathBuf,
    pid_file: PathBuf,
}

/// A line of the runtime's log.
#[derive(Deserialize)]
struct LogLine {
    level: String,
    msg: String,
}

/// Has the runtime create and start the container of the bundle `dir`.
pub(super) fn begin(
    plan: &Plan,
    container: &str,
    dir: &Path,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> Result<Starting, HostError> {
    let (log, pid_file) = (dir.join("runtime.log"), dir.join("pid"));
    let runtime = Command::new(&plan.runtime)
        .arg("--root")
        .arg(&plan.runtime_root)
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "run", "--detach", "--pid-file"])
        .arg(&pid_file)
        .arg("--bundle")
        .arg(dir)
        .arg(runtime_id(&plan.replica, container))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    let runtime = runtime.doing(format!("run {}", plan.runtime.display()))?;
    Ok(Starting { runtime, container: container.into(), log, pid_file })
}

/// How the runtime knows a container.
pub(crate) fn runtime_id(replica: &str, container: &str) -> String {
    format!("{replica}.{container}")
}

impl Starting {
    /// Waits until the container has been started; gives its first process.
    pub(super) fn wait(mut self) -> Result<Pid, StartError> {
        let status = self.runtime.wait().doing("wait for the runtime")?;
        if status.success() {
            let pid = read_pid(&self.pid_file).doing("read the runtime's pid file")?;
            return Ok(pid);
        }
        let problem = self.problem();
        if COMMAND_PROBLEMS.iter().any(|known| problem.contains(known)) {
            return Err(StartError::Command { container: self.container, problem });
        }
        Err(HostError::new(format!("start container {}", self.container), io::Error::other(problem)).into())
    }

    fn problem(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..text.len().min(MAX_LOG)]);
        let lines = text.lines().filter_map(|line| serde_json::from_str::<LogLine>(line).ok());
        let mut errors = lines.filter(|line| line.level == "error").map(|line| line.msg);
        errors.next_back().unwrap_or_else(|| "the runtime failed without saying why".into())
    }
}

fn read_pid(file: &Path) -> io::Result<Pid> {
    let text = io::read_to_string(File::open(file)?)?;
    text.trim().parse().map(Pid::from_raw).map_err(|_| io::ErrorKind::InvalidData.into())
}
