//! What is kept of each replica in the daemon's own files, so that nothing measured is lost and
//! nothing is counted twice whatever ends: the daemon, the API server, the node.
//!
//! ```text
//! <data_dir>/replicas/<replica>.json
//!            pods/<channel>/             a pod is known; its logs, see `apocryph_podlog`
//! ```

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use apocryph_model::{ChannelId, Digest, Fault, Resources};
use apocryph_provider::{Reading, ReplicaEnd};
use serde::{Deserialize, Serialize};

use crate::cluster_error::{ClusterError, Doing as _};

/// A replica, from before it is created until it is forgotten and scaled away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) pod: ChannelId,
    pub(crate) namespace: String,
    /// Of the spec that it runs.
    pub(crate) spec: Digest,
    pub(crate) reserved: Resources,
    /// Once it has one.
    pub(crate) address: Option<IpAddr>,
    /// Where its Pod is, once that is known.
    #[serde(default)]
    pub(crate) place: Option<Place>,
    /// The most that was seen of each counter.
    pub(crate) used: Counters,
    /// Whether it was told to end: what it does then is no failure.
    pub(crate) stopping: bool,
    /// From when on it was of no use to the pod, though it ran: milliseconds since 1970.
    #[serde(default)]
    pub(crate) released_ms: Option<u64>,
    /// Why it ended, where it did so by itself and was not scaled away since.
    pub(crate) fault: Option<Fault>,
    /// Whether others are ending it, or did, and it was not scaled away since.
    #[serde(default)]
    pub(crate) leaving: bool,
    /// Whether nothing of it is in the cluster any more.
    pub(crate) ended: bool,
    /// Whether its last reading is still wanted.
    pub(crate) unread: bool,
}

/// By what a node knows a Pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) uid: String,
}

/// What was used since a replica began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) cpu_us: u64,
    pub(crate) running_ms: u64,
    pub(crate) ingress: u64,
    pub(crate) egress: u64,
}

impl Counters {
    /// The greater of each: what was seen once stays seen.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            cpu_us: self.cpu_us.max(other.cpu_us),
            running_ms: self.running_ms.max(other.running_ms),
            ingress: self.ingress.max(other.ingress),
            egress: self.egress.max(other.egress),
        }
    }
}

impl Record {
    /// Of a replica that nothing is known of.
    pub(crate) fn new(
        id: String,
        pod: ChannelId,
        namespace: String,
        spec: Digest,
        reserved: Resources,
    ) -> Self {
        Self {
            id,
            pod,
            namespace,
            spec,
            reserved,
            address: None,
            place: None,
            used: Counters::default(),
            stopping: false,
            released_ms: None,
            fault: None,
            leaving: false,
            ended: false,
            unread: true,
        }
    }

    pub(crate) fn reading(&self) -> Reading {
        let Counters { cpu_us, running_ms, ingress, egress } = self.used;
        Reading {
            pod: self.pod,
            replica: self.id.clone(),
            reserved: self.reserved,
            cpu_us,
            running_ms,
            ingress,
            egress,
            last: self.ended,
        }
    }

    /// How it ends, where that was not asked for here.
    pub(crate) fn end(&self) -> Option<ReplicaEnd> {
        match &self.fault {
            Some(fault) => Some(ReplicaEnd::Failed(fault.clone())),
            None => self.leaving.then_some(ReplicaEnd::Leaving),
        }
    }

    /// Nobody asks for its end any more.
    pub(crate) fn dismiss(&mut self) {
        (self.fault, self.leaving, self.stopping) = (None, false, true);
    }

    /// Whether anyone may still ask for it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.ended || self.unread || self.end().is_some()
    }
}

/// The files.
#[derive(Debug, Clone)]
pub(crate) struct Records(PathBuf);

impl Records {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, ClusterError> {
        let records = Self(data_dir.to_owned());
        make_private_dir(&records.replicas()).doing("make the directory of replicas")?;
        make_private_dir(&records.0.join("pods")).doing("make the directory of pods")?;
        Ok(records)
    }

    pub(crate) fn all(&self) -> Result<Vec<Record>, ClusterError> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.replicas()).doing("list replicas")? {
            let path = entry.doing("list replicas")?.path();
            if path.extension().is_some_and(|kind| kind == "json") {
                let bytes = fs::read(&path).doing("read a replica's record")?;
                let record = serde_json::from_slice(&bytes).map_err(io::Error::from);
                records.push(record.doing(format!("read {}", path.display()))?);
            }
        }
        Ok(records)
    }

    /// Writes a record, whole or not at all; takes one away that nobody wants.
    pub(crate) fn put(&self, record: &Record) -> Result<(), ClusterError> {
        let path = self.replicas().join(format!("{}.json", record.id));
        let put = if record.is_wanted() { write_json(&path, record) } else { remove_if_there(&path) };
        put.doing("write a replica's record")
    }

    /// Where a pod's logs are.
    pub(crate) fn logs(&self, pod: ChannelId) -> PathBuf {
        self.0.join("pods").join(pod.to_string())
    }

    pub(crate) fn knows(&self, pod: ChannelId) -> bool {
        self.logs(pod).is_dir()
    }

    pub(crate) fn know(&self, pod: ChannelId) -> Result<(), ClusterError> {
        make_private_dir(&self.logs(pod)).doing("make a directory for logs")
    }

    pub(crate) fn forget(&self, pod: ChannelId) -> Result<(), ClusterError> {
        match fs::remove_dir_all(self.logs(pod)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.doing("remove a pod's logs"),
        }
    }

    fn replicas(&self) -> PathBuf {
        self.0.join("replicas")
    }
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_data()?;
    fs::rename(partial, path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::{Bytes, Cause, Millicores};

    fn record(id: &str) -> Record {
        let reserved = Resources { cpu: Millicores(10), memory: Bytes(1), storage: Bytes(0) };
        Record::new(id.into(), ChannelId([1; 32]), "n".into(), Digest([2; 32]), reserved)
    }

    #[test]
    fn a_record_stays_until_it_is_read_and_scaled_away() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        let mut kept = record("a");
        kept.fault = Some(Fault::of(Cause::ContainerEnded, "it ended"));
        kept.ended = true;
        records.put(&kept).unwrap();
        assert_eq!(Records::open(dir.path()).unwrap().all().unwrap(), [kept.clone()]);
        kept.unread = false;
        records.put(&kept).unwrap();
        assert_eq!(records.all().unwrap().len(), 1);
        kept.fault = None;
        records.put(&kept).unwrap();
        records.put(&kept).unwrap();
        assert!(records.all().unwrap().is_empty());
    }
}
