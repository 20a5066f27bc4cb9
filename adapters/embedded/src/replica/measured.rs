//! What the replicas that run hold of the disk, and the end of those that hold too much.

use std::path::Path;
use std::sync::Arc;

use apocryph_model::Fault;

use super::{Replicas, lock};
use crate::replica_files::StopCommand;
use crate::storage_watch::Measured;

impl Replicas {
    /// Where the replicas write to.
    pub(crate) fn disk(&self) -> &Path {
        self.store.root()
    }

    /// What must be kept from growing.
    pub(crate) fn measured(&self) -> Vec<Measured> {
        let live: Vec<_> = lock(&self.live).values().cloned().collect();
        let measured = live.iter().map(|live| Measured {
            replica: live.record.id.clone(),
            bounded: live.record.bounded.clone(),
            processes: self.cgroups.processes(&self.cgroup(&live.record.id)),
        });
        measured.collect()
    }

    /// Ends a replica that took more than it may, without grace. Does not wait for the end.
    pub(crate) fn end(self: &Arc<Self>, id: String, fault: Fault) {
        let replicas = self.clone();
        tokio::spawn(async move {
            let stop = StopCommand { fault: Some(fault), at_once: true };
            if let Err(error) = replicas.stop_by(&id, stop).await {
                tracing::error!(%error, replica = id, "a replica beyond its bounds is not stopped");
            }
        });
    }
}
