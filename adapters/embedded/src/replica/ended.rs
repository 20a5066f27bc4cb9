//! Replicas that have ended, until their last reading is forgotten and their fault is scaled away.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use apocryph_model::{ChannelId, Fault, Resources};
use apocryph_provider::{Reading, Replica, ReplicaEnd};
use serde::{Deserialize, Serialize};

use crate::host_error::{Doing as _, HostError};
use crate::replica_files::{read_json, write_json};

/// What is kept of a replica that has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) id: String,
    pub(super) pod: ChannelId,
    pub(super) address: Ipv4Addr,
    pub(super) reserved: Resources,
    pub(super) cpu_us: u64,
    pub(super) running_ms: u64,
    pub(super) ingress: u64,
    pub(super) egress: u64,
    /// Whether the reading is still wanted.
    pub(super) unread: bool,
    /// Why it ended, where it did so by itself and was not scaled away since.
    pub(super) fault: Option<Fault>,
}

/// One file each, beside what is held in memory.
#[derive(Debug)]
pub(super) struct EndedReplicas {
    dir: PathBuf,
    known: Mutex<BTreeMap<String, Ended>>,
}

impl EndedReplicas {
    pub(super) fn open(dir: PathBuf) -> Result<Self, HostError> {
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&dir).doing("list last readings")? {
            let path = entry.doing("list last readings")?.path();
            if path.extension().is_some_and(|kind| kind == "json") {
                let ended: Option<Ended> = read_json(&path).doing("read a last reading")?;
                known.extend(ended.map(|ended| (ended.id.clone(), ended)));
            }
        }
        Ok(Self { dir, known: Mutex::new(known) })
    }

    /// Writes down the end of a replica.
    pub(super) fn write(&self, ended: &Ended) -> Result<(), HostError> {
        write_json(&self.file(&ended.id), ended).doing("write a last reading")
    }

    /// Shows an end that is written down, once nothing else is left of the replica: what was
    /// forgotten must not come back.
    pub(super) fn show(&self, ended: Ended) {
        self.lock().insert(ended.id.clone(), ended);
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn fault(&self, pod: ChannelId, id: &str) -> Option<Fault> {
        self.lock().get(id).filter(|ended| ended.pod == pod)?.fault.clone()
    }

    pub(super) fn readings(&self) -> Vec<Reading> {
        self.lock().values().filter(|ended| ended.unread).map(reading).collect()
    }

    /// Those of a pod that ended by themselves.
    pub(super) fn failed(&self, pod: ChannelId) -> Vec<Replica> {
        let known = self.lock();
        let of_pod = known.values().filter(|ended| ended.pod == pod);
        let failed = of_pod.filter_map(|ended| {
            let end = Some(ReplicaEnd::Failed(ended.fault.clone()?));
            Some(Replica { id: ended.id.clone(), address: ended.address.into(), end })
        });
        failed.collect()
    }

    pub(super) fn forget(&self, id: &str) -> Result<(), HostError> {
        self.change(|ended| ended.id == id, |ended| ended.unread = false)
    }

    /// Scales a pod's failed replicas away.
    pub(super) fn dismiss(&self, pod: ChannelId) -> Result<(), HostError> {
        self.change(|ended| ended.pod == pod && ended.fault.is_some(), |ended| ended.fault = None)
    }

    /// Changes those that are meant; what nobody wants any more goes.
    fn change(&self, meant: impl Fn(&Ended) -> bool, change: impl Fn(&mut Ended)) -> Result<(), HostError> {
        let mut known = self.lock();
        let ids: Vec<String> = known.values().filter(|ended| meant(ended)).map(|e| e.id.clone()).collect();
        for id in ids {
            let Some(mut ended) = known.get(&id).cloned() else { continue };
            change(&mut ended);
            if ended.unread || ended.fault.is_some() {
                self.write(&ended)?;
                known.insert(id, ended);
            } else {
                self.delete(&id)?;
                known.remove(&id);
            }
        }
        Ok(())
    }

    fn delete(&self, id: &str) -> Result<(), HostError> {
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.doing("forget a last reading"),
        }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Ended>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reading(ended: &Ended) -> Reading {
    Reading {
        pod: ended.pod,
        replica: ended.id.clone(),
        reserved: ended.reserved,
        cpu_us: ended.cpu_us,
        running_ms: ended.running_ms,
        ingress: ended.ingress,
        egress: ended.egress,
        last: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::{Bytes, Cause, Millicores};

    fn ended(id: &str, fault: bool) -> Ended {
        let fault = fault.then(|| Fault::of(Cause::ContainerEnded, "it ended"));
        let reserved = Resources { cpu: Millicores(10), memory: Bytes(1), storage: Bytes(0) };
        let (pod, address) = (ChannelId([7; 32]), Ipv4Addr::LOCALHOST);
        let (cpu_us, running_ms, ingress, egress) = (1, 2, 3, 4);
        Ended {
            id: id.into(),
            pod,
            address,
            reserved,
            cpu_us,
            running_ms,
            ingress,
            egress,
            unread: true,
            fault,
        }
    }

    #[test]
    fn an_end_stays_until_it_is_read_and_scaled_away() {
        let dir = tempfile::tempdir().unwrap();
        let open = || EndedReplicas::open(dir.path().to_owned()).unwrap();
        let all = open();
        for ended in [ended("a", true), ended("b", false)] {
            all.write(&ended).unwrap();
            all.show(ended);
        }
        assert_eq!(open().readings().iter().map(|r| r.cpu_us).collect::<Vec<_>>(), [1, 1]);
        all.forget("a").unwrap();
        all.forget("b").unwrap();
        assert!(all.contains("a") && !all.contains("b"));
        assert_eq!(open().failed(ChannelId([7; 32])).len(), 1);
        assert!(open().readings().is_empty());
        all.dismiss(ChannelId([7; 32])).unwrap();
        assert!(all.is_empty() && open().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
