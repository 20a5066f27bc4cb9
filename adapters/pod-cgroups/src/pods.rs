//! All Pods of a node: those that are there, and those that were.

use crate::counter::Counter;
use crate::hierarchy::{CgroupError, Hierarchy, pods};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often all counters are read: several times in what a kubelet needs from the end of a Pod's
/// last process until it takes the cgroup away. Less often where that takes long, so that no more
/// than a part of a core is used.
const PERIOD: Duration = Duration::from_millis(25);
const BUSY_PART: u32 = 20;
/// Every so many times it is looked which Pods there are, and which of them have processes.
const LOOK_EVERY: u32 = 4;
/// How long and how many of those that are gone are remembered.
const KEPT_TIME: Duration = Duration::from_secs(3600);
const MOST_KEPT: usize = 10_000;
/// The most that are read.
const MOST: usize = 4_096;
/// How soon Pods are looked for again where there are none.
const SEARCH_PERIOD: Duration = Duration::from_secs(1);

/// What the Pods of this node used.
#[derive(Debug)]
pub struct PodCgroups {
    hierarchy: Hierarchy,
    state: Mutex<State>,
}

/// What a Pod used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Processor time, in core-microseconds.
    pub cpu_us: u64,
    /// Whether its cgroup is there.
    pub there: bool,
    /// Whether it was read after the last process was gone.
    pub whole: bool,
}

#[derive(Debug, Default)]
struct State {
    roots: Vec<PathBuf>,
    searched: Option<Instant>,
    there: HashMap<String, Counter>,
    gone: HashMap<String, Gone>,
}

#[derive(Debug)]
struct Gone {
    since: Instant,
    cpu_us: u64,
    whole: bool,
}

impl PodCgroups {
    /// Those below the folder where cgroups are mounted, such as `/sys/fs/cgroup`; none is read yet.
    ///
    /// # Errors
    /// [`CgroupError::NotMounted`].
    pub fn open(mounted: &Path) -> Result<Self, CgroupError> {
        Ok(Self { hierarchy: Hierarchy::open(mounted)?, state: Mutex::default() })
    }

    /// Has a thread read them for as long as somebody holds this value.
    ///
    /// # Errors
    /// [`CgroupError::Thread`].
    pub fn keep_reading(self: &Arc<Self>) -> Result<(), CgroupError> {
        let me = Arc::downgrade(self);
        thread::Builder::new().name("pod-cgroups".into()).spawn(move || keep_reading(&me))?;
        Ok(())
    }

    /// What a Pod used, read now where it is there; `None` where it is not known.
    pub fn read(&self, uid: &str) -> Option<Used> {
        let mut state = self.state();
        if state.there.get_mut(uid).is_some_and(|counter| counter.read().is_err()) {
            state.part(uid, Instant::now());
        }
        if let Some(counter) = state.there.get(uid) {
            return Some(Used { cpu_us: counter.sum(), there: true, whole: counter.is_whole() });
        }
        let gone = state.gone.get(uid)?;
        Some(Used { cpu_us: gone.cpu_us, there: false, whole: gone.whole })
    }

    /// Reads those that were there at the last look.
    fn count(&self, now: Instant) {
        let mut state = self.state();
        let gone =
            state.there.iter_mut().filter_map(|(uid, counter)| counter.count().err().map(|_| uid.clone()));
        let gone: Vec<String> = gone.collect();
        gone.iter().for_each(|uid| state.part(uid, now));
    }

    /// Reads all that are there, at `now`.
    pub fn look(&self, now: Instant) {
        let mut state = self.state();
        let found = state.find(&self.hierarchy, now);
        let gone: Vec<String> = state.there.keys().filter(|uid| !found.contains_key(*uid)).cloned().collect();
        gone.iter().for_each(|uid| state.part(uid, now));
        for (uid, folder) in found {
            state.see(&self.hierarchy, uid, folder, now);
        }
        state.forget(now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The Pods whose cgroups are there.
    fn find(&mut self, hierarchy: &Hierarchy, now: Instant) -> HashMap<String, PathBuf> {
        if self.roots.is_empty() && self.searched.is_none_or(|before| now >= before + SEARCH_PERIOD) {
            let first = self.searched.replace(now).is_none();
            self.roots = hierarchy.roots();
            if first && self.roots.is_empty() {
                warn!(
                    "no Pods' cgroups are found yet: is this a node of a cluster, and are all cgroups in sight?"
                );
            }
            self.roots.iter().for_each(|root| info!(folder = %root.display(), "Pods' cgroups are found"));
        }
        let (mut found, mut roots) = (HashMap::new(), std::mem::take(&mut self.roots));
        roots.retain(|root| pods(root).map(|pods| found.extend(pods)).is_ok());
        self.roots = roots;
        found
    }

    fn see(&mut self, hierarchy: &Hierarchy, uid: String, folder: PathBuf, now: Instant) {
        if let Some(counter) = self.there.get_mut(&uid) {
            if counter.read().is_err() {
                self.part(&uid, now);
            }
            return;
        }
        if self.there.len() >= MOST {
            return;
        }
        let before = self.gone.get(&uid).map_or(0, |gone| gone.cpu_us);
        match Counter::open(hierarchy.version, folder, before) {
            Ok(counter) => {
                self.gone.remove(&uid);
                self.there.insert(uid, counter);
            }
            // It may have gone meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => warn!(uid, %error, "a Pod's cgroup cannot be read"),
        }
    }

    /// A Pod's cgroup is gone: what was read last is all.
    fn part(&mut self, uid: &str, now: Instant) {
        let Some(counter) = self.there.remove(uid) else { return };
        let gone = Gone { since: now, cpu_us: counter.sum(), whole: counter.is_whole() };
        self.gone.insert(uid.to_owned(), gone);
    }

    fn forget(&mut self, now: Instant) {
        self.gone.retain(|_, gone| now < gone.since + KEPT_TIME);
        if let Some(beyond) = self.gone.len().checked_sub(MOST_KEPT).filter(|beyond| *beyond > 0) {
            let mut oldest: Vec<_> = self.gone.iter().map(|(uid, gone)| (gone.since, uid.clone())).collect();
            oldest.sort_unstable();
            let oldest: HashSet<_> = oldest.into_iter().take(beyond).map(|(_, uid)| uid).collect();
            self.gone.retain(|uid, _| !oldest.contains(uid));
        }
    }
}

fn keep_reading(cgroups: &Weak<PodCgroups>) {
    for turn in (0..LOOK_EVERY).cycle() {
        let Some(cgroups) = cgroups.upgrade() else { return };
        let began = Instant::now();
        if turn == 0 {
            cgroups.look(began)
        } else {
            cgroups.count(began)
        }
        drop(cgroups);
        thread::sleep(PERIOD.saturating_sub(began.elapsed()).max(began.elapsed() * BUSY_PART));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::tests::{folders, path};
    use proptest::prelude::*;
    use std::fs;
    use tempfile::TempDir;

    /// A folder that looks like the cgroup file system, of version 2.
    struct Node(TempDir);

    impl Node {
        fn new() -> Self {
            let node = Self(tempfile::tempdir().unwrap());
            fs::write(node.0.path().join("cgroup.controllers"), "cpu\n").unwrap();
            node
        }

        fn cgroups(&self) -> PodCgroups {
            PodCgroups::open(self.0.path()).unwrap()
        }

        fn put(&self, pod: &Path, usage: u64, populated: u8) {
            let folder = self.0.path().join(pod);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cpu.stat"), format!("usage_usec {usage}\nuser_usec 1\n")).unwrap();
            fs::write(folder.join("cgroup.events"), format!("populated {populated}\nfrozen 0\n")).unwrap();
        }

        fn remove(&self, pod: &Path) {
            fs::remove_dir_all(self.0.path().join(pod)).unwrap();
        }
    }

    const UID: &str = "0b7c2a4e-52a8-4d0c-9f0e-6d0a1c3b5e7f";

    #[test]
    fn what_is_gone_is_known_for_an_hour() {
        let (node, pod) = (Node::new(), path(false, &["kubepods", "burstable"], UID));
        let (cgroups, began) = (node.cgroups(), Instant::now());
        cgroups.look(began);
        assert_eq!(cgroups.read(UID), None);
        node.put(&pod, 10, 1);
        cgroups.look(began + SEARCH_PERIOD);
        node.put(&pod, 20, 1);
        assert_eq!(cgroups.read(UID), Some(Used { cpu_us: 20, there: true, whole: false }), "read now");
        node.put(&pod, 30, 0);
        cgroups.look(began + SEARCH_PERIOD);
        cgroups.look(began + SEARCH_PERIOD);
        assert!(cgroups.read(UID).unwrap().whole, "nothing more can come");
        node.remove(&pod);
        let ended = began + 2 * SEARCH_PERIOD;
        cgroups.look(ended);
        let used = Used { cpu_us: 30, there: false, whole: true };
        assert_eq!(cgroups.read(UID), Some(used));
        cgroups.look(ended + KEPT_TIME / 2);
        assert_eq!(cgroups.read(UID), Some(used));
        cgroups.look(ended + KEPT_TIME);
        assert_eq!(cgroups.read(UID), None);
    }

    #[test]
    fn a_cgroup_that_is_made_anew_goes_on_from_the_last() {
        let (node, pod) = (Node::new(), path(true, &["kubepods"], UID));
        let (cgroups, now) = (node.cgroups(), Instant::now());
        node.put(&pod, 10, 1);
        cgroups.look(now);
        node.remove(&pod);
        cgroups.look(now);
        node.put(&pod, 4, 1);
        cgroups.look(now);
        assert_eq!(cgroups.read(UID).map(|used| used.cpu_us), Some(14));
        assert_eq!(cgroups.read("../etc"), None);
    }

    #[test]
    fn not_more_are_remembered_than_there_is_room_for() {
        let (mut state, now) = (State::default(), Instant::now());
        let gone = |n: u64| Gone { since: now + Duration::from_millis(n), cpu_us: n, whole: true };
        state.gone.extend((0..MOST_KEPT as u64 + 5).map(|n| (format!("{n}"), gone(n))));
        state.forget(now);
        assert_eq!(state.gone.len(), MOST_KEPT);
        assert!(!state.gone.contains_key("4") && state.gone.contains_key("5"), "the oldest went");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pods_are_found_by_every_name_that_kubelets_give(
            systemd: bool,
            folders in folders(),
            uids in proptest::collection::hash_set("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}", 1..4),
        ) {
            let node = Node::new();
            for (uid, usage) in uids.iter().zip(1..) {
                node.put(&path(systemd, &folders, uid), usage, 1);
            }
            node.put(Path::new("system.slice/podman.service"), 7, 1);
            let cgroups = node.cgroups();
            cgroups.look(Instant::now());
            for (uid, usage) in uids.iter().zip(1..) {
                let used = Used { cpu_us: usage, there: true, whole: false };
                prop_assert_eq!(cgroups.read(uid), Some(used));
            }
        }
    }
}
