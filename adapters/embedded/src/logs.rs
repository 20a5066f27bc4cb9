//! Reads the pods' logs, which the shims write: `<replica>.<container>.log`, the earlier half in
//! `<replica>.<container>.log.1`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use apocryph_model::{LogLine, LogQuery, Name};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::cri_log::parse_entry;

/// Lines between the files and a slow reader.
const LINES: usize = 256;
/// Log files of one pod: the oldest of replicas that have ended go first.
const MOST_FILES: usize = 128;

/// The lines that are asked for, oldest first; goes on for as long as someone listens where
/// `query.follow` is set.
pub(crate) fn read(dir: PathBuf, query: LogQuery) -> io::Result<mpsc::Receiver<LogLine>> {
    // Watched before it is read, so that nothing falls in between.
    let changes = query.follow.then(|| watch(&dir)).transpose()?;
    let (sender, receiver) = mpsc::channel(LINES);
    let mut reader = LogReader { dir, query, files: BTreeMap::new() };
    tokio::spawn(async move {
        loop {
            let to = sender.clone();
            let pass = tokio::task::spawn_blocking(move || reader.pass(&to).map(|()| reader)).await;
            let (Ok(Ok(next)), Some(changes)) = (pass, &changes) else { return };
            reader = next;
            tokio::select! {
                changed = next_change(changes) => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    Ok(receiver)
}

/// Removes the oldest files beyond the bound, except those of `running` replicas.
pub(crate) fn prune(dir: &Path, running: &[String]) -> io::Result<()> {
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

fn watch(dir: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    inotify::add_watch(&inotify, dir, flags)?;
    #[expect(deprecated, reason = "unsound for borrowed descriptors; this one is owned and stays open")]
    AsyncFd::new(inotify)
}

/// Waits for a change and takes all that are told.
async fn next_change(changes: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut ready = changes.readable().await?;
    loop {
        match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?)) {
            Ok(read) => read.map(|_| ())?,
            Err(_would_block) => return Ok(()),
        }
    }
}

struct LogReader {
    dir: PathBuf,
    query: LogQuery,
    /// By path without `.1`.
    files: BTreeMap<PathBuf, LogFile>,
}

impl LogReader {
    /// Sends all lines that are there and were not sent, in the order of their times.
    fn pass(&mut self, to: &mpsc::Sender<LogLine>) -> io::Result<()> {
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
            if to.blocking_send(line).is_err() {
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

    fn entry(time_ms: u64, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        crate::cri_log::write_entry(&mut out, Duration::from_millis(time_ms), false, false, text.as_bytes());
        out
    }

    fn write(dir: &Path, name: &str, entries: &[(u64, &str)]) {
        let bytes: Vec<u8> = entries.iter().flat_map(|(time, text)| entry(*time, text)).collect();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(dir.join(name)).unwrap();
        file.write_all(&bytes).unwrap();
    }

    async fn texts(receiver: &mut mpsc::Receiver<LogLine>, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let line = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await.unwrap();
            texts.push(line.unwrap().text);
        }
        texts
    }

    #[tokio::test]
    async fn lines_of_all_files_come_in_the_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a-1.web.log.1", &[(10, "first"), (30, "third")]);
        write(dir.path(), "a-1.web.log", &[(50, "fifth")]);
        write(dir.path(), "b-2.web.log", &[(20, "second"), (40, "fourth")]);
        write(dir.path(), "b-2.db.log", &[(25, "other")]);
        let web = LogQuery { container: Some("web".parse().unwrap()), ..LogQuery::default() };
        let mut lines = read(dir.path().to_owned(), web.clone()).unwrap();
        assert_eq!(texts(&mut lines, 5).await, ["first", "second", "third", "fourth", "fifth"]);
        assert!(lines.recv().await.is_none());
        let mut lines = read(dir.path().to_owned(), LogQuery { since_ms: Some(40), ..web }).unwrap();
        assert_eq!(texts(&mut lines, 2).await, ["fourth", "fifth"]);
    }

    #[tokio::test]
    async fn following_sees_new_lines_new_files_and_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a-1.web.log");
        write(dir.path(), "a-1.web.log", &[(1, "one")]);
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut lines = read(dir.path().to_owned(), query).unwrap();
        assert_eq!(texts(&mut lines, 1).await, ["one"]);
        write(dir.path(), "a-1.web.log", &[(2, "two")]);
        assert_eq!(texts(&mut lines, 1).await, ["two"]);
        fs::rename(&log, log.with_extension("log.1")).unwrap();
        write(dir.path(), "a-1.web.log", &[(3, "three")]);
        assert_eq!(texts(&mut lines, 1).await, ["three"]);
        write(dir.path(), "b-2.web.log", &[(4, "four")]);
        assert_eq!(texts(&mut lines, 1).await, ["four"]);
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
