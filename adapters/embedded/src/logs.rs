//! Reads the pods' logs, which the shims write.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use apocryph_model::{LogLine, LogQuery};
use apocryph_podlog::LogReader;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// Lines between the files and a slow reader.
const LINES: usize = 256;

/// The lines that are asked for, oldest first; goes on for as long as someone listens where
/// `query.follow` is set.
pub(crate) fn read(dir: PathBuf, query: LogQuery) -> io::Result<mpsc::Receiver<LogLine>> {
    // Watched before it is read, so that nothing falls in between.
    let changes = query.follow.then(|| watch(&dir)).transpose()?;
    let (sender, receiver) = mpsc::channel(LINES);
    let mut reader = LogReader::new(dir, query);
    tokio::spawn(async move {
        loop {
            let to = sender.clone();
            let pass = tokio::task::spawn_blocking(move || send_all(&mut reader, &to).map(|()| reader)).await;
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

fn send_all(reader: &mut LogReader, to: &mpsc::Sender<LogLine>) -> io::Result<()> {
    reader.pass(|line| match to.blocking_send(line) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn what_is_written_later_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut lines = read(dir.path().to_owned(), query).unwrap();
        for text in ["one", "two"] {
            let mut entry = Vec::new();
            let time = Duration::from_millis(1);
            apocryph_podlog::write_entry(&mut entry, time, false, false, text.as_bytes());
            std::fs::write(dir.path().join(format!("{text}.web.log")), entry).unwrap();
            let line = tokio::time::timeout(Duration::from_secs(10), lines.recv()).await.unwrap();
            assert_eq!(line.unwrap().text, text);
        }
    }
}
