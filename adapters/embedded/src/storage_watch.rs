//! Keeps writable layers and volumes within their sizes: measures them, and ends the replica that holds
//! too much, at once. In between a container can write more than it pays for, so it is looked often
//! whether the disk fills, and if so measured at once.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use apocryph_model::{Fault, Who};
use nix::sys::statvfs::statvfs;

use crate::replica::Replicas;
use crate::replica_files::Bounded;
use crate::tree::{self, BLOCK, FILE_COST, MOST_DEPTH, Size};

/// How often it is looked how full the disk is.
const LOOK: Duration = Duration::from_millis(100);
/// How often everything is measured in any case,
const PERIOD: Duration = Duration::from_secs(10);
/// and by how much the disk fills until it is measured at once, in bytes.
const STEP: u64 = 16 << 20;

/// A replica, its writable trees, and the processes that may hold files without a name.
pub(crate) struct Measured {
    pub(crate) replica: String,
    pub(crate) bounded: Vec<Bounded>,
    pub(crate) processes: Vec<i32>,
}

/// Looks after `replicas` until they are gone.
pub(crate) async fn watch(replicas: Weak<Replicas>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut due = Due { at: Instant::now() + PERIOD, used: u64::MAX };
    loop {
        ticks.tick().await;
        let Some(replicas) = replicas.upgrade() else { return };
        // What panics there is told by the panic itself.
        due = tokio::task::spawn_blocking(move || look(&replicas, due)).await.unwrap_or(due);
    }
}

/// When everything is measured next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    at: Instant,
    /// The least of what was used of the disk since it was measured last.
    used: u64,
}

fn look(replicas: &Arc<Replicas>, due: Due) -> Due {
    let used = match used(replicas.disk()) {
        Ok(used) => used,
        Err(error) => {
            tracing::error!(%error, "how full the disk is cannot be told");
            due.used
        }
    };
    let now = Instant::now();
    if now < due.at && used < due.used.saturating_add(STEP) {
        return Due { used: used.min(due.used), ..due };
    }
    for measured in replicas.measured() {
        if let Some(fault) = exceeded(&measured) {
            replicas.end(measured.replica, fault);
        }
    }
    Due { at: now + PERIOD, used }
}

/// What is used of the file system that holds `path`, files counted as in a tree.
fn used(path: &Path) -> io::Result<u64> {
    let disk = statvfs(path)?;
    let blocks = disk.blocks().saturating_sub(disk.blocks_free()).saturating_mul(disk.fragment_size());
    Ok(blocks.saturating_add(disk.files().saturating_sub(disk.files_free()).saturating_mul(FILE_COST)))
}

fn exceeded(measured: &Measured) -> Option<Fault> {
    let mut held = 0;
    let mut most = 0u64;
    for Bounded { path, limit, what } in &measured.bounded {
        match tree::measure(path, limit.0) {
            Ok(Size::Whole(size)) => held += size,
            Ok(Size::Beyond) => return Some(fault(&format!("{what} holds more than its {limit}"))),
            Ok(Size::TooDeep) => {
                return Some(fault(&format!("{what} has more than {MOST_DEPTH} folders in each other")));
            }
            Err(error) => tracing::error!(%error, path = %path.display(), "a tree cannot be measured"),
        }
        most = most.saturating_add(limit.0);
    }
    let nameless = nameless(measured, most.saturating_sub(held));
    nameless.then(|| fault("it holds more than all of its storage, most of it in files that were removed"))
}

fn fault(what: &str) -> Fault {
    let text = format!("{what}: give it more, or write less");
    Fault::passing(Who::Publisher, "storage-exceeded", text)
}

/// Whether the files that were removed and are open still hold more than `limit` on the disk.
fn nameless(measured: &Measured, limit: u64) -> bool {
    // The disk itself, and the containers' roots above it.
    let roots = measured.processes.iter().map(|process| format!("/proc/{process}/root").into());
    let paths = measured.bounded.iter().map(|bounded| bounded.path.clone()).chain(roots);
    let disks: HashSet<u64> = paths.filter_map(|path| Some(fs::metadata(path).ok()?.dev())).collect();
    let mut seen = HashSet::new();
    let mut sum = 0u64;
    for process in &measured.processes {
        for kind in ["fd", "map_files"] {
            // What ends meanwhile holds nothing.
            let Ok(files) = fs::read_dir(format!("/proc/{process}/{kind}")) else { continue };
            for file in files.flatten() {
                let Ok(file) = fs::metadata(file.path()) else { continue };
                if file.nlink() == 0 && disks.contains(&file.dev()) && seen.insert(file.ino()) {
                    sum = sum.saturating_add(file.blocks().saturating_mul(BLOCK) + FILE_COST);
                }
            }
        }
        if sum > limit {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::Bytes;
    use std::io::Write as _;

    fn measured(path: &Path, limit: u64) -> Measured {
        let bounded = Bounded { path: path.into(), limit: Bytes(limit), what: "volume data".into() };
        let process = std::process::id().try_into().unwrap();
        Measured { replica: "r".into(), bounded: vec![bounded], processes: vec![process] }
    }

    #[test]
    fn what_holds_too_much_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("big"), vec![1; 2 << 20]).unwrap();
        assert_eq!(exceeded(&measured(dir.path(), 3 << 20)), None);
        let fault = exceeded(&measured(dir.path(), 1 << 20)).unwrap();
        assert_eq!(fault.text, "volume data holds more than its 1Mi: give it more, or write less");
    }

    #[test]
    fn a_removed_file_counts_while_it_is_open() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let path = dir.path().join("big");
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(&vec![1; 64 << 20]).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(exceeded(&measured(dir.path(), 32 << 20)).unwrap().text.contains("removed"));
        drop(file);
        assert_eq!(exceeded(&measured(dir.path(), 32 << 20)), None);
    }

    #[test]
    fn a_disk_that_fills_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let before = used(dir.path()).unwrap();
        fs::write(dir.path().join("big"), vec![1; 64 << 20]).unwrap();
        // Others write and remove meanwhile.
        assert!(used(dir.path()).unwrap() > before + (32 << 20));
    }
}
