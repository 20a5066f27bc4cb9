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
use crate::replica_files::{ContainerPlan, Plan};

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

/// What they say when something else stands where a volume is to be mounted.
const MOUNT_PROBLEMS: [&str; 3] =
    ["No such file or directory", "Not a directory", "Too many levels of symbolic links"];

/// A container that the runtime is starting.
pub(super) struct Starting {
    runtime: Child,
    container: String,
    /// Where volumes are mounted.
    mounts: Vec<String>,
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
    container: &ContainerPlan,
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
        .arg(runtime_id(&plan.replica, container.name.as_str()))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    let runtime = runtime.doing(format!("run {}", plan.runtime.display()))?;
    let mounts = container.mounts.iter().map(|mount| mount.destination.clone()).collect();
    Ok(Starting { runtime, container: container.name.to_string(), mounts, log, pid_file })
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
        if let Some(path) = mount_in_the_way(&self.mounts, &problem) {
            return Err(StartError::Mount { container: self.container, path: path.into(), problem });
        }
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

/// The mount of whose place the runtime complains: crun names it as `path/of/it`, runc as "/path/of/it".
fn mount_in_the_way<'a>(mounts: &'a [String], problem: &str) -> Option<&'a str> {
    let complains = |path: &&String| {
        problem.contains(&format!("`{}`", path.trim_start_matches('/')))
            || problem.contains(&format!("\"{path}\""))
    };
    let known = MOUNT_PROBLEMS.iter().any(|known| problem.to_lowercase().contains(&known.to_lowercase()));
    mounts.iter().filter(|_| known).find(complains).map(String::as_str)
}

fn read_pid(file: &Path) -> io::Result<Pid> {
    let text = io::read_to_string(File::open(file)?)?;
    text.trim().parse().map(Pid::from_raw).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_mounts_way_is_found() {
        let mounts = ["/keep".to_owned(), "/keep/inner".to_owned()];
        let found = |problem| mount_in_the_way(&mounts, problem);
        assert_eq!(found("openat2 `keep/inner`: No such file or directory"), Some("/keep/inner"));
        let runc = "error mounting \"/data\" to rootfs at \"/keep\": mkdir /r/keep: not a directory";
        assert_eq!(found(runc), Some("/keep"));
        assert_eq!(found("mount `/data` to `keep`: Input/output error"), None);
        assert_eq!(found("openat2 `other`: No such file or directory"), None);
    }
}
