//! Reads a pod's logs in the order of time, also while they are written.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use apocryph_model::{LogLine, LogQuery, Name};

use crate::cri::parse_entry;

/// Log files of one pod: the oldest of replicas that have ended go first.
const MOST_FILES: usize = 128;

/// Removes the oldest files beyond the bound, except those of `running` replicas.
///
/// # Errors
/// As the file system says.
pub fn prune(dir: &Path, running: &[String]) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !running.iter().any(|id| name.starts_with(&format!("{id}."))) {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort();
    let surplus = files.len().saturating_sub(MOST_FILES);
    files[..surplus].iter().try_for_each(|(_, path)| fs::remove_file(path))
}

/// What was read of a pod's logs so far.
pub struct LogReader {
    dir: PathBuf,
    query: LogQuery,
    /// By path without `.1`.
    files: BTreeMap<PathBuf, LogFile>,
}

impl LogReader {
    /// Begins with the oldest line that `query` asks for.
    #[must_use]
    pub fn new(dir: PathBuf, query: LogQuery) -> Self {
        Self { dir, query, files: BTreeMap::new() }
    }

    /// Gives `to` all lines that are there and were not given yet, in the order of their times,
    /// until it has enough.
    ///
    /// # Errors
    /// As the file system says.
    pub fn pass(&mut self, mut to: impl FnMut(LogLine) -> ControlFlow<()>) -> io::Result<()> {
        self.find_files()?;
        let mut files: Vec<&mut LogFile> = self.files.values_mut().collect();
        let mut next = BinaryHeap::new();
        let mut lines: Vec<Option<LogLine>> = Vec::new();
        for (n, file) in files.iter_mut().enumerate() {
            lines.push(file.next_line(&self.query)?);
            next.extend(lines[n].as_ref().map(|line| Reverse((line.time_ms, n))));
        }
        while let Some(Reverse((_, n))) = next.pop() {
            let Some(line) = lines[n].take() else { continue };
            if to(line).is_break() {
                return Ok(());
            }
            lines[n] = files[n].next_line(&self.query)?;
            next.extend(lines[n].as_ref().map(|line| Reverse((line.time_ms, n))));
        }
        Ok(())
    }

    fn find_files(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if !self.files.contains_key(&path)
                && let Some(file) = LogFile::open(&path, &self.query)?
            {
                self.files.insert(path, file);
            }
        }
        Ok(())
    }
}

/// One container's log, read up to some point.
struct LogFile {
    path: PathBuf,
    replica: String,
    container: Name,
    reader: BufReader<File>,
    /// What is read of an entry that is not whole yet.
    held: Vec<u8>,
}

impl LogFile {
    /// `None` for what is no current log file, or not asked for.
    fn open(path: &Path, query: &LogQuery) -> io::Result<Option<Self>> {
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log"));
        let Some((replica, container)) = name.and_then(|name| name.split_once('.')) else { return Ok(None) };
        let Ok(container) = container.parse::<Name>() else { return Ok(None) };
        if query.container.as_ref().is_some_and(|wanted| *wanted != container) {
            return Ok(None);
        }
        let earlier = path.with_extension("log.1");
        let Some(file) =
            open_if_there(&earlier)?.map_or_else(|| open_if_there(path), |file| Ok(Some(file)))?
        else {
            return Ok(None);
        };
        let (reader, held) = (BufReader::new(file), Vec::new());
        Ok(Some(Self { path: path.to_owned(), replica: replica.into(), container, reader, held }))
    }

    fn next_line(&mut self, query: &LogQuery) -> io::Result<Option<LogLine>> {
        loop {
            self.reader.read_until(b'\n', &mut self.held)?;
            if !self.held.ends_with(b"\n") {
                if !self.go_on_to_newer()? {
                    return Ok(None);
                }
                continue;
            }
            self.held.pop();
            let entry = parse_entry(&self.held);
            self.held.clear();
            let wanted = entry.filter(|entry| query.since_ms.is_none_or(|since| entry.time_ms >= since));
            if let Some(entry) = wanted {
                return Ok(Some(LogLine {
                    time_ms: entry.time_ms,
                    replica: self.replica.clone(),
                    container: self.container.clone(),
                    stderr: entry.stderr,
                    text: entry.text,
                }));
            }
        }
    }

    /// At the end of a file that was set aside: opens the one that took its place.
    fn go_on_to_newer(&mut self) -> io::Result<bool> {
        let Some(newer) = open_if_there(&self.path)? else { return Ok(false) };
        let inode = |file: &File| file.metadata().map(|metadata| metadata.ino());
        if inode(&newer)? == inode(self.reader.get_ref())? {
            return Ok(false);
        }
        // What was written between the last read and the rename is still to come.
        if self.reader.read_until(b'\n', &mut self.held)? == 0 {
            self.held.clear();
            self.reader = BufReader::new(newer);
        }
        Ok(true)
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::time::Duration;

    fn write(dir: &Path, name: &str, entries: &[(u64, &str)]) {
        let mut bytes = Vec::new();
        for (time, text) in entries {
            crate::write_entry(&mut bytes, Duration::from_millis(*time), false, false, text.as_bytes());
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(dir.join(name)).unwrap();
        file.write_all(&bytes).unwrap();
    }

    fn texts(reader: &mut LogReader) -> Vec<String> {
        let mut texts = Vec::new();
        let take = |line: LogLine| {
            texts.push(line.text);
            ControlFlow::Continue(())
        };
        reader.pass(take).unwrap();
        texts
    }

    #[test]
    fn lines_of_all_files_come_in_the_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a-1.web.log.1", &[(10, "first"), (30, "third")]);
        write(dir.path(), "a-1.web.log", &[(50, "fifth")]);
        write(dir.path(), "b-2.web.log", &[(20, "second"), (40, "fourth")]);
        write(dir.path(), "b-2.db.log", &[(25, "other")]);
        let web = LogQuery { container: Some("web".parse().unwrap()), ..LogQuery::default() };
        let mut lines = LogReader::new(dir.path().to_owned(), web.clone());
        assert_eq!(texts(&mut lines), ["first", "second", "third", "fourth", "fifth"]);
        assert!(texts(&mut lines).is_empty());
        let mut lines = LogReader::new(dir.path().to_owned(), LogQuery { since_ms: Some(40), ..web });
        assert_eq!(texts(&mut lines), ["fourth", "fifth"]);
    }

    #[test]
    fn a_later_pass_sees_new_lines_new_files_and_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a-1.web.log");
        write(dir.path(), "a-1.web.log", &[(1, "one")]);
        let mut lines = LogReader::new(dir.path().to_owned(), LogQuery::default());
        assert_eq!(texts(&mut lines), ["one"]);
        write(dir.path(), "a-1.web.log", &[(2, "two")]);
        assert_eq!(texts(&mut lines), ["two"]);
        fs::rename(&log, log.with_extension("log.1")).unwrap();
        write(dir.path(), "a-1.web.log", &[(3, "three")]);
        assert_eq!(texts(&mut lines), ["three"]);
        write(dir.path(), "b-2.web.log", &[(4, "four")]);
        assert_eq!(texts(&mut lines), ["four"]);
    }

    #[test]
    fn the_oldest_files_go_first_but_not_those_in_use() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MOST_FILES + 3 {
            let path = dir.path().join(format!("r-{n}.web.log"));
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(n as u64)).unwrap();
        }
        prune(dir.path(), &["r-0".into()]).unwrap();
        let there = |n: usize| dir.path().join(format!("r-{n}.web.log")).exists();
        assert_eq!([there(0), there(1), there(2), there(3)], [true, false, false, true]);
    }
}
