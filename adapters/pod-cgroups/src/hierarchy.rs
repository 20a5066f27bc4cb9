//! Where the kernel counts processor time, and which Pods' cgroups are there.

use crate::name::{has_pods, is_class, pod_uid};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where version 1 counts, below where cgroups are mounted.
const ACCOUNTING: [&str; 3] = ["cpuacct", "cpu,cpuacct", "cpuacct,cpu"];
/// How deep below the root the Pods' cgroups may be, and how many folders are looked at for them.
const DEEPEST: usize = 4;
const MOST_FOLDERS: usize = 20_000;

/// Why cgroups cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup file system is mounted there.
    #[error("{0} is no mounted cgroup file system")]
    NotMounted(PathBuf),
    /// A thread of its own is refused.
    #[error("the thread that reads cgroups does not start: {0}")]
    Thread(#[from] io::Error),
}

/// The version of the cgroup file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    /// The file that counts.
    pub(crate) fn usage(self) -> &'static str {
        match self {
            Self::One => "cpuacct.usage",
            Self::Two => "cpu.stat",
        }
    }

    /// What such a file says.
    pub(crate) fn microseconds(self, text: &str) -> io::Result<u64> {
        let number = match self {
            Self::One => text.trim().parse::<u64>().ok().map(|nanoseconds| nanoseconds / 1000),
            Self::Two => {
                let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
                usage.and_then(|usage| usage.trim().parse().ok())
            }
        };
        number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a counter is no number"))
    }
}

/// A mounted hierarchy.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    folder: PathBuf,
}

impl Hierarchy {
    /// Finds the one that counts, below `mounted`. Where both versions are mounted the first does.
    pub(crate) fn open(mounted: &Path) -> Result<Self, CgroupError> {
        let first = ACCOUNTING.iter().map(|name| mounted.join(name)).chain([mounted.to_owned()]);
        let first = first.map(|folder| Self { version: Version::One, folder });
        let second = Self { version: Version::Two, folder: mounted.to_owned() };
        let counts = |found: &Self| found.folder.join(found.version.usage()).is_file();
        let is_root = mounted.join("cgroup.controllers").is_file();
        let found = first.into_iter().find(counts).or_else(|| is_root.then_some(second));
        found.ok_or_else(|| CgroupError::NotMounted(mounted.to_owned()))
    }

    /// The folders that have all Pods of a node.
    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        let (mut roots, mut level, mut left) = (Vec::new(), vec![self.folder.clone()], MOST_FOLDERS);
        for _ in 0..DEEPEST {
            let children = level.iter().flat_map(|folder| children(folder).unwrap_or_default());
            let children: Vec<_> = children.take(left).collect();
            left -= children.len();
            let (found, others): (Vec<_>, Vec<_>) =
                children.into_iter().partition(|(name, _)| has_pods(name));
            roots.extend(found.into_iter().map(|(_, path)| path));
            level = others.into_iter().map(|(_, path)| path).collect();
        }
        roots
    }
}

/// The Pods in a folder that has all of a node, by uid.
///
/// # Errors
/// The folder is gone.
pub(crate) fn pods(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for (name, path) in children(root)? {
        if is_class(&name) {
            // It may be taken away while it is looked at.
            let of_class = children(&path).unwrap_or_default();
            found.extend(of_class.into_iter().filter_map(|(name, path)| Some((pod_uid(&name)?, path))));
        } else if let Some(uid) = pod_uid(&name) {
            found.push((uid, path));
        }
    }
    Ok(found)
}

fn children(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(folder)?.flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_understood_and_nothing_else() {
        assert_eq!(Version::One.microseconds("1234567\n").unwrap(), 1234);
        let stat = "usage_usec 99\nuser_usec 90\nsystem_usec 9\n";
        assert_eq!(Version::Two.microseconds(stat).unwrap(), 99);
        for wrong in ["", "-1", "user_usec 90", "usage_usec x", "99999999999999999999999"] {
            assert!(Version::One.microseconds(wrong).is_err() && Version::Two.microseconds(wrong).is_err());
        }
    }

    #[test]
    fn the_first_version_counts_where_both_are_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let version = || Hierarchy::open(folder.path()).map(|found| found.version);
        assert!(matches!(version(), Err(CgroupError::NotMounted(_))));
        fs::write(folder.path().join("cgroup.controllers"), "cpu").unwrap();
        assert_eq!(version().unwrap(), Version::Two);
        fs::create_dir(folder.path().join("cpu,cpuacct")).unwrap();
        fs::write(folder.path().join("cpu,cpuacct/cpuacct.usage"), "0").unwrap();
        assert_eq!(version().unwrap(), Version::One);
    }
}
