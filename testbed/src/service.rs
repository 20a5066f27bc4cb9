//! Programs that run beside a test or the demo, and end with it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A program that runs. It is killed when this is dropped, also on a panic.
#[derive(Debug)]
pub struct Service {
    name: String,
    child: Child,
    log: PathBuf,
    released: bool,
}

impl Service {
    /// Starts the program, in a process group of its own so that a Ctrl-C at the terminal ends it
    /// by its owner alone. What it prints is added to the file `log`.
    ///
    /// # Errors
    /// If it cannot be started, or the log cannot be written.
    pub fn start(name: &str, mut command: Command, log: &Path) -> io::Result<Self> {
        let output = std::fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.process_group(0).spawn()?;
        Ok(Self { name: name.into(), child, log: log.into(), released: false })
    }

    /// What it was called when it was started.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, until it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to end, and kills it if it has not within `grace`.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        match timeout(grace, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait().await
    }

    /// The last `count` lines that it printed.
    pub fn last_lines(&self, count: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Lets it go on when this is dropped.
    pub fn release(&mut self) {
        self.released = true;
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return Ok(()) };
        Ok(kill(Pid::from_raw(id), signal)?)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.released {
            // It may have ended already.
            let _ = self.child.start_kill();
        }
    }
}

/// How a program ended, for people.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::until::until;

    fn shell(script: &str, log: &Path) -> Service {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Service::start("shell", command, log).unwrap()
    }

    #[tokio::test]
    async fn it_ends_when_it_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let mut service =
            shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", &folder.path().join("log"));
        until("it is ready", Duration::from_secs(10), async || Ok(service.last_lines(1) == "ready"))
            .await
            .unwrap();
        assert_eq!(ending(service.stop(Duration::from_secs(10)).await.unwrap()), "exit code 7");
        assert!(service.ended().unwrap().is_some());
    }

    #[tokio::test]
    async fn it_is_killed_when_it_does_not_listen() {
        let folder = tempfile::tempdir().unwrap();
        let mut service =
            shell("trap '' TERM; echo ready; while :; do sleep 0.01; done", &folder.path().join("log"));
        until("it is ready", Duration::from_secs(10), async || Ok(service.last_lines(1) == "ready"))
            .await
            .unwrap();
        assert_eq!(ending(service.stop(Duration::from_millis(50)).await.unwrap()), "signal 9");
    }
}
