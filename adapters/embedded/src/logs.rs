//! Reads the pods' logs, which the shims write.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apocryph_model::{LogLine, LogQuery};
use apocryph_podlog::LogReader;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// How often files are looked at that cannot be watched.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Lines between the files and a slow reader.
const LINES: usize = 256;

/// The lines that are asked for, oldest first; goes on for as long as someone listens where
/// `query.follow` is set.
pub(crate) fn read(dir: PathBuf, query: LogQuery) -> io::Result<mpsc::Receiver<LogLine>> {
    // Watched before it is read, so that nothing falls in between.
    let changes = query.follow.then(|| Changes::of(&dir));
    let (sender, receiver) = mpsc::channel(LINES);
    let mut reader = LogReader::new(dir, query);
    tokio::spawn(async move {
        loop {
            let to = sender.clone();
            let pass = tokio::task::spawn_blocking(move || send_all(&mut reader, &to).map(|()| reader)).await;
            let (Ok(Ok(next)), Some(changes)) = (pass, &changes) else { return };
            reader = next;
            tokio::select! {
                changed = changes.next() => if changed.is_err() { return },
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

/// What tells that there may be more to read.
enum Changes {
    Watched(AsyncFd<OwnedFd>),
    /// The kernel counts watches by user, and a tenant whose containers run as root may have them all.
    Unwatched,
}

impl Changes {
    fn of(dir: &Path) -> Self {
        watch(dir).map_or_else(
            |error| {
                tracing::warn!(%error, "logs are not watched, but looked at from time to time");
                Self::Unwatched
            },
            Self::Watched,
        )
    }

    async fn next(&self) -> io::Result<()> {
        match self {
            Self::Watched(changes) => next_change(changes).await,
            Self::Unwatched => {
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            }
        }
    }
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
