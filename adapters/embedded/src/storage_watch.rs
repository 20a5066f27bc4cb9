//! Keeps writable layers and volumes within their sizes: looks at them from time to time, and ends
//! the replica that holds too much. In between a container can write more than it pays for, which
//! the disk's own limit bounds.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use apocryph_model::{Fault, Who};

use crate::replica::Replicas;
use crate::replica_files::Bounded;

const PERIOD: Duration = Duration::from_secs(10);
/// A file counts as this many bytes besides its contents, so that empty ones are not free.
const FILE_COST: u64 = 1024;
/// A block of stat(2), in bytes.
const BLOCK: u64 = 512;

/// Looks after `replicas` until they are gone.
pub(crate) async fn watch(replicas: Weak<Replicas>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(replicas) = replicas.upgrade() else { return };
        for (id, bounded) in replicas.bounded() {
            let fault = tokio::task::spawn_blocking(move || bounded.iter().find_map(exceeded)).await;
            if let Ok(Some(fault)) = fault
                && let Err(error) = replicas.stop(&id, Some(fault)).await
            {
                tracing::error!(%error, replica = id, "a replica beyond its storage is not stopped");
            }
        }
    }
}

fn exceeded(bounded: &Bounded) -> Option<Fault> {
    let Bounded { path, limit, what } = bounded;
    if !holds_more_than(path, limit.0) {
        return None;
    }
    let text = format!("{what} holds more than its {limit}: give it more, or write less");
    Some(Fault::passing(Who::Publisher, "storage-exceeded", text))
}

/// Stops counting as soon as it is sure, so the work is bounded by the limit.
fn holds_more_than(path: &Path, limit: u64) -> bool {
    let mut sum = 0u64;
    let mut dirs = vec![path.to_owned()];
    while let Some(dir) = dirs.pop() {
        // A file that vanishes meanwhile holds nothing.
        let _ = add_entries(&dir, &mut sum, &mut dirs);
        if sum > limit {
            return true;
        }
    }
    false
}

fn add_entries(dir: &Path, sum: &mut u64, dirs: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        *sum = sum.saturating_add(metadata.blocks().saturating_mul(BLOCK) + FILE_COST);
        if metadata.is_dir() {
            dirs.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_and_many_empty_files_both_count() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        fs::create_dir(&sub).unwrap();
        fs::write(sub.join("file"), vec![1; 100_000]).unwrap();
        assert!(holds_more_than(dir.path(), 90_000));
        assert!(!holds_more_than(dir.path(), 200_000));
        for n in 0..200 {
            fs::write(sub.join(n.to_string()), "").unwrap();
        }
        assert!(holds_more_than(dir.path(), 200_000));
        assert!(!holds_more_than(&dir.path().join("none"), 0));
    }
}
