//! Cleaning up after a run that failed: what is left of it is ended and taken away.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::traces::{Left, Traces};

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends and takes away everything that carries the run's marks, its folder too; tells what
/// withstands.
///
/// # Errors
/// If the machine cannot be looked at.
pub fn sweep(traces: &Traces) -> io::Result<Left> {
    let deadline = Instant::now() + PATIENCE;
    let left = loop {
        let left = traces.left()?;
        if left.is_empty() || Instant::now() > deadline {
            break left;
        }
        take_away(traces, &left);
        // Processes that were killed need a moment until they are gone.
        std::thread::sleep(Duration::from_millis(50));
    };
    match std::fs::remove_dir_all(&traces.folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(left),
    }
}

/// What cannot be taken away yet is tried again, and told in the end.
fn take_away(traces: &Traces, left: &Left) {
    for (id, _) in &left.processes {
        let id = i32::try_from(*id).map(Pid::from_raw);
        let _ = id.map(|id| kill(id, Signal::SIGKILL));
    }
    for point in &left.mounts {
        let _ = umount2(point.as_path(), MntFlags::MNT_DETACH);
    }
    for name in &left.interfaces {
        let _ = Command::new("ip").args(["link", "delete", name]).output();
    }
    for table in &left.tables {
        let _ = Command::new("nft").args(["delete", "table"]).args(table.split(' ')).output();
    }
    for path in &left.cgroups {
        let _ = std::fs::remove_dir(Path::new(path));
    }
    if let Some(cluster) = &traces.cluster {
        let _ = cluster.delete_namespaces(&left.namespaces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_and_the_folder_are_taken_away() {
        let folder = tempfile::tempdir().unwrap().keep();
        let none = || "none-such".to_owned();
        let traces = Traces {
            folder: folder.clone(),
            bridges: none(),
            tables: none(),
            cgroups: none(),
            cluster: None,
        };
        let mut reader = traces.reader();
        assert!(sweep(&traces).unwrap().is_empty());
        assert!(!reader.wait().unwrap().success());
        assert!(!folder.exists());
    }
}
