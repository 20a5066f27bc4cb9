//! The counter of one Pod.

use crate::hierarchy::Version;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The most of a file that is looked at, in bytes.
const MOST: usize = 4096;

/// A Pod's cgroup that is there. Its file stays open.
#[derive(Debug)]
pub(crate) struct Counter {
    version: Version,
    folder: PathBuf,
    usage: File,
    total: Total,
    /// Whether the total was read after the last process was gone.
    whole: bool,
}

/// A sum over a counter that may begin anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// Of the counts that ended.
    before: u64,
    /// As it was read last.
    now: u64,
}

impl Total {
    /// Of a counter that goes on where another had this sum.
    pub(crate) fn after(before: u64) -> Self {
        Self { before, now: 0 }
    }

    fn see(&mut self, now: u64) {
        if now < self.now {
            self.before = self.sum();
        }
        self.now = now;
    }

    pub(crate) fn sum(self) -> u64 {
        self.before.saturating_add(self.now)
    }
}

impl Counter {
    /// Opens the counter of the Pod with this cgroup, which used so much in an earlier one.
    pub(crate) fn open(version: Version, folder: PathBuf, before: u64) -> io::Result<Self> {
        let usage = File::open(folder.join(version.usage()))?;
        let mut counter = Self { version, folder, usage, total: Total::after(before), whole: false };
        counter.read()?;
        Ok(counter)
    }

    /// Reads it once more, and looks whether the Pod has processes where nothing was used since the last
    /// time.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let earlier = self.total;
        self.count()?;
        if self.total == earlier {
            let empty = is_empty(self.version, &self.folder)?;
            self.count()?;
            self.whole = empty;
        }
        Ok(())
    }

    /// Reads it once more, and nothing else.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn count(&mut self) -> io::Result<()> {
        let earlier = self.total;
        self.total.see(self.version.microseconds(&text(&self.usage)?)?);
        self.whole &= self.total == earlier;
        Ok(())
    }

    /// In microseconds.
    pub(crate) fn sum(&self) -> u64 {
        self.total.sum()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }
}

/// Whether it has no process; where version 1 is told by folders, none of its own.
fn is_empty(version: Version, folder: &Path) -> io::Result<bool> {
    match version {
        Version::One => {
            let children = fs::metadata(folder)?.nlink() > 2;
            Ok(!children && text(&File::open(folder.join("cgroup.procs"))?)?.trim().is_empty())
        }
        Version::Two => {
            let events = text(&File::open(folder.join("cgroup.events"))?)?;
            Ok(events.lines().any(|line| line == "populated 0"))
        }
    }
}

/// The beginning of a file of the kernel's.
fn text(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; MOST];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_begins_anew_adds_to_what_was_counted() {
        let mut total = Total::after(5);
        let sums = [0, 10, 10, 3, 4, 0, 7].map(|now| {
            total.see(now);
            total.sum()
        });
        assert_eq!(sums, [5, 15, 15, 18, 19, 19, 26]);
        total.see(u64::MAX);
        assert_eq!(total.sum(), u64::MAX);
    }
}
