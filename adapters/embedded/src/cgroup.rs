//! Control groups, version 1 or 2, whichever the host has. The runtime makes them, one per
//! container below one per replica; here they are read and, after the end, removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";
/// How long the kernel may take to let go of a group whose last process has just ended.
const RELEASE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(5);

/// The host's hierarchies.
#[derive(Debug, Clone)]
pub(crate) enum Cgroups {
    /// One tree per controller.
    V1 {
        /// Where each is mounted.
        trees: Vec<PathBuf>,
        /// The one that counts processor time.
        cpuacct: PathBuf,
        /// The one that limits memory.
        memory: PathBuf,
    },
    /// One tree.
    V2,
}

impl Cgroups {
    /// Finds the hierarchies at their usual place.
    pub(crate) fn detect() -> io::Result<Self> {
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            return Ok(Self::V2);
        }
        let tree = |controller: &str, file: &str| {
            let tree = Path::new(ROOT).join(controller);
            tree.join(file).exists().then_some(tree)
        };
        let cpuacct = tree("cpuacct", "cpuacct.usage").or_else(|| tree("cpu,cpuacct", "cpuacct.usage"));
        let memory = tree("memory", "memory.usage_in_bytes");
        let (cpuacct, memory) = cpuacct.zip(memory).ok_or(io::ErrorKind::NotFound)?;
        let mut trees = Vec::new();
        for entry in fs::read_dir(ROOT)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != "unified" {
                trees.push(entry.path());
            }
        }
        Ok(Self::V1 { trees, cpuacct, memory })
    }

    /// Processor time used in the group and all below it, those that are gone included, in
    /// microseconds; 0 where the group is not there.
    pub(crate) fn cpu_us(&self, group: &str) -> io::Result<u64> {
        let usage = match self {
            Self::V1 { cpuacct, .. } => read(&within(cpuacct, group).join("cpuacct.usage"))?
                .map(|text| text.trim().parse::<u64>().map(|ns| ns / 1000).ok()),
            Self::V2 => {
                read(&within(Path::new(ROOT), group).join("cpu.stat"))?.map(|text| field(&text, "usage_usec"))
            }
        };
        usage.unwrap_or(Some(0)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Whether the kernel killed anything in the group for want of memory.
    pub(crate) fn ran_out_of_memory(&self, group: &str) -> bool {
        let file = match self {
            Self::V1 { memory, .. } => within(memory, group).join("memory.oom_control"),
            Self::V2 => within(Path::new(ROOT), group).join("memory.events"),
        };
        let text = read(&file).ok().flatten().unwrap_or_default();
        field(&text, "oom_kill").is_some_and(|kills| kills > 0)
    }

    /// Those of `controllers` that the host does not have.
    pub(crate) fn missing_controllers<'a>(&self, controllers: &[&'a str]) -> Vec<&'a str> {
        let present: Vec<String> = match self {
            // A tree of several controllers is called `cpu,cpuacct`.
            Self::V1 { trees, .. } => trees.iter().flat_map(|tree| names_of(tree)).collect(),
            Self::V2 => {
                let text = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers"));
                text.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
            }
        };
        controllers.iter().copied().filter(|name| !present.iter().any(|found| found == name)).collect()
    }

    /// Whether the kernel accounts for swap, so that it can be limited too.
    pub(crate) fn limits_swap(&self) -> bool {
        match self {
            Self::V1 { memory, .. } => memory.join("memory.memsw.limit_in_bytes").exists(),
            Self::V2 => true,
        }
    }

    /// The processes in all groups below this one.
    pub(crate) fn processes(&self, group: &str) -> Vec<i32> {
        let tree = match self {
            Self::V1 { cpuacct, .. } => cpuacct,
            Self::V2 => Path::new(ROOT),
        };
        // A group that is gone has none.
        let groups = fs::read_dir(within(tree, group)).into_iter().flatten().flatten();
        let lists = groups.filter_map(|group| fs::read_to_string(group.path().join("cgroup.procs")).ok());
        lists
            .flat_map(|list| list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
            .collect()
    }

    /// Removes all groups below this one, once their last processes are gone: from then on what
    /// the group counts is final. Blocks.
    pub(crate) fn remove_below(&self, group: &str) -> io::Result<()> {
        self.in_each_tree(group, remove_below)
    }

    /// Removes the group and all below it, once their last processes are gone. Blocks.
    pub(crate) fn remove(&self, group: &str) -> io::Result<()> {
        self.in_each_tree(group, remove_tree)
    }

    /// Removes the group where nothing is below it; another engine's may be.
    pub(crate) fn remove_if_empty(&self, group: &str) -> io::Result<()> {
        self.in_each_tree(group, |dir| match fs::remove_dir(dir) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy) => {
                Err(error)
            }
            _ => Ok(()),
        })
    }

    fn in_each_tree(&self, group: &str, action: fn(&Path) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::V1 { trees, .. } => trees.iter().try_for_each(|tree| action(&within(tree, group))),
            Self::V2 => action(&within(Path::new(ROOT), group)),
        }
    }
}

fn names_of(tree: &Path) -> Vec<String> {
    let name = tree.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split(',').map(str::to_owned).collect()
}

fn within(tree: &Path, group: &str) -> PathBuf {
    tree.join(group.trim_start_matches('/'))
}

fn read(file: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// The value in a file of `key value` lines.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn remove_below(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    remove_below(dir)?;
    let deadline = Instant::now() + RELEASE;
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The kernel tells nobody when the last process of a group is gone for good.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(RETRY);
            }
            removed => return removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "oom"), None);
    }
}
