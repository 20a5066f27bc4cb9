//! Follows what containers write, and keeps it in the daemon's own files.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apocryph_model::{ChannelId, LogLine, LogQuery};
use apocryph_podlog::{ContainerLog, LogReader, write_entry};
use futures::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use http::Request;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::cluster_error::{ClusterError, Doing as _, answer};
use crate::pod_state::has_ended;
use crate::record::Records;

/// Lines between the files and a slow reader.
const LINES: usize = 256;
/// The longest line that is taken at a time, in bytes.
const MOST_LINE: u64 = 64 << 10;
/// How long until a stream that ended is asked for again, and one that broke.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const OUT_OF_SIGHT: Duration = Duration::from_secs(1);

/// The containers whose output is followed.
pub(crate) struct PodLogs {
    records: Records,
    state: Mutex<State>,
    follower: Follower,
}

#[derive(Default)]
struct State {
    /// By replica and container; kept when they have ended, until the replica has.
    followed: HashMap<(String, String), JoinHandle<()>>,
}

/// One container of a replica.
#[derive(Clone)]
struct Source {
    namespace: String,
    replica: String,
    container: String,
}

/// One of a container's streams, or both where the cluster does not tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Both,
    Stdout,
    Stderr,
}

/// What was done with the beginning of a line that is longer than one is taken.
enum Cut {
    Taken,
    Dropped,
}

type SharedLog = Arc<Mutex<ContainerLog>>;
type Output = Pin<Box<dyn AsyncBufRead + Send>>;

impl PodLogs {
    pub(crate) fn new(cluster: Cluster, records: Records) -> Self {
        let (changed, _) = watch::channel(());
        Self { records, state: Mutex::default(), follower: Follower { cluster, changed } }
    }

    /// Follows a container that has started, unless that is done already.
    pub(crate) fn follow(&self, pod: ChannelId, namespace: &str, replica: &str, container: &str) {
        let key = (replica.to_owned(), container.to_owned());
        let mut state = self.lock();
        if state.followed.contains_key(&key) {
            return;
        }
        let source =
            Source { namespace: namespace.into(), replica: replica.into(), container: container.into() };
        let path = self.records.logs(pod).join(format!("{replica}.{container}.log"));
        let follower = self.follower.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = follower.follow(&source, path).await {
                tracing::warn!(%error, replica = source.replica, "a container's log is cut");
            }
        });
        state.followed.insert(key, task);
    }

    /// Returns once all that the replica's containers wrote until they ended is in the files.
    pub(crate) async fn drained(&self, replica: &str, containers: &[String]) {
        while !self.is_drained(replica, containers) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn is_drained(&self, replica: &str, containers: &[String]) -> bool {
        let state = self.lock();
        let mut followed = state.followed.iter();
        followed.all(|((id, name), task)| id != replica || !containers.contains(name) || task.is_finished())
    }

    /// Lets go of a replica that has ended.
    pub(crate) fn release(&self, replica: &str) {
        self.lock().followed.retain(|(id, _), _| id != replica);
    }

    /// Removes the oldest logs of a pod beyond the bound, but for those of `running`.
    pub(crate) fn prune(&self, pod: ChannelId, running: &[String]) -> Result<(), ClusterError> {
        apocryph_podlog::prune(&self.records.logs(pod), running).doing("remove old logs")
    }

    /// The lines that are asked for, oldest first; goes on for as long as someone listens where
    /// `query.follow` is set.
    pub(crate) fn read(&self, pod: ChannelId, query: LogQuery) -> mpsc::Receiver<LogLine> {
        // Watched before it is read, so that nothing falls in between.
        let mut changes = query.follow.then(|| self.follower.changed.subscribe());
        let (sender, receiver) = mpsc::channel(LINES);
        let mut reader = LogReader::new(self.records.logs(pod), query);
        tokio::spawn(async move {
            loop {
                let to = sender.clone();
                let pass = tokio::task::spawn_blocking(move || send_all(&mut reader, &to).map(|()| reader));
                let (Ok(Ok(next)), Some(changes)) = (pass.await, &mut changes) else { return };
                reader = next;
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PodLogs {
    fn drop(&mut self) {
        self.lock().followed.drain().for_each(|(_, task)| task.abort());
    }
}

/// Follows single containers.
#[derive(Clone)]
struct Follower {
    cluster: Cluster,
    /// Something was written.
    changed: watch::Sender<()>,
}

impl Follower {
    async fn follow(&self, source: &Source, path: PathBuf) -> Result<(), ClusterError> {
        let [stdout, stderr] = last_times(&path).doing("read a log again")?;
        let log = Arc::new(Mutex::new(ContainerLog::resume(path).doing("open a log file")?));
        let first = loop {
            match self.open(source, Stream::Stdout, stdout).await {
                Ok(first) => break first,
                Err(error) => out_of_sight(source, &error).await,
            }
        };
        if first.is_some() {
            let out = self.follow_stream(source, Stream::Stdout, &log, stdout, first);
            tokio::join!(out, self.follow_stream(source, Stream::Stderr, &log, stderr, None));
        } else {
            self.follow_stream(source, Stream::Both, &log, stdout.max(stderr), None).await;
        }
        Ok(())
    }

    /// Follows until the container has ended, over interruptions.
    async fn follow_stream(
        &self,
        source: &Source,
        stream: Stream,
        log: &SharedLog,
        mut last: u128,
        mut first: Option<Output>,
    ) {
        loop {
            let output = match first.take() {
                Some(output) => Ok(Some(output)),
                None => self.open(source, stream, last).await,
            };
            let copied = match output {
                Ok(Some(output)) => self.copy(output, stream, log, &mut last).await.doing("read a log"),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            let over = match copied {
                Ok(()) => self.is_over(source).await,
                Err(error) => Err(error),
            };
            match over {
                Ok(true) => return,
                Ok(false) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => out_of_sight(source, &error).await,
            }
        }
    }

    /// Whether the container has ended: a stream ends with the API server too.
    async fn is_over(&self, source: &Source) -> Result<bool, ClusterError> {
        let pods = self.cluster.pods(&source.namespace);
        let pod =
            answer(format!("look at replica {}", source.replica), pods.get_opt(&source.replica)).await?;
        Ok(pod.is_none_or(|pod| has_ended(&pod, &source.container)))
    }

    /// `None` where the container is gone, or the cluster does not know of single streams.
    async fn open(
        &self,
        source: &Source,
        stream: Stream,
        since: u128,
    ) -> Result<Option<Output>, ClusterError> {
        let Source { namespace, replica, container } = source;
        let mut path = format!(
            "/api/v1/namespaces/{namespace}/pods/{replica}/log?container={container}&follow=true&timestamps=true"
        );
        if stream != Stream::Both {
            path += &format!("&stream={stream:?}");
        }
        if since > 0 {
            let seconds = Duration::from_secs(u64::try_from(since / 1_000_000_000).unwrap_or_default());
            path += &format!("&sinceTime={}", apocryph_podlog::format_time(seconds));
        }
        let doing = || format!("follow the log of {replica}");
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError).doing(doing())?;
        match answer(doing(), self.cluster.client.request_stream(request)).await {
            Ok(lines) => Ok(Some(Box::pin(lines))),
            Err(error) if error.code().is_some_and(|code| matches!(code, 400 | 404 | 422)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn copy(
        &self,
        mut lines: Output,
        stream: Stream,
        log: &SharedLog,
        last: &mut u128,
    ) -> io::Result<()> {
        let mut line = Vec::new();
        // The API server takes whole seconds: what is known comes again.
        let known = *last;
        let mut cut = None;
        loop {
            line.clear();
            if (&mut lines).take(MOST_LINE).read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let whole = line.pop_if(|byte| *byte == b'\n').is_some();
            let rest_of = std::mem::replace(&mut cut, (!whole).then_some(Cut::Dropped));
            let (time, text) = match (rest_of, timed(&line)) {
                // What is longer than one is taken has its time at its beginning only.
                (Some(Cut::Taken), _) => (*last, line.as_slice()),
                (None, Some(timed)) if timed.0 > known => timed,
                // Known, or the kubelet's own words, such as that it cannot follow.
                _ => continue,
            };
            cut = (!whole).then_some(Cut::Taken);
            *last = time;
            let mut entry = Vec::with_capacity(line.len() + 64);
            let since = Duration::from_nanos(u64::try_from(time).unwrap_or_default());
            write_entry(&mut entry, since, stream == Stream::Stderr, !whole, text);
            log.lock().unwrap_or_else(PoisonError::into_inner).append(&entry);
            self.changed.send_replace(());
        }
    }
}

/// An API server or a node that does not answer has not ended anything.
async fn out_of_sight(source: &Source, error: &ClusterError) {
    tracing::debug!(%error, replica = source.replica, "a log is asked for again");
    tokio::time::sleep(OUT_OF_SIGHT).await;
}

fn send_all(reader: &mut LogReader, to: &mpsc::Sender<LogLine>) -> io::Result<()> {
    reader.pass(|line| match to.blocking_send(line) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    })
}

/// The time before a line, in nanoseconds since 1970, and the line.
fn timed(line: &[u8]) -> Option<(u128, &[u8])> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let time: Timestamp = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    Some((u128::try_from(time.as_nanosecond()).ok()?, &line[end + 1..]))
}

/// When the last entries of standard output and error were written that are in the files.
fn last_times(path: &Path) -> io::Result<[u128; 2]> {
    let mut last = [0; 2];
    for file in [path.with_extension("log.1"), path.to_owned()] {
        let bytes = match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            bytes => bytes?,
        };
        for (time, rest) in bytes.split(|byte| *byte == b'\n').filter_map(timed) {
            last[usize::from(rest.starts_with(b"stderr"))] = time;
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_its_time() {
        let (time, text) = timed(b"2026-11-23T10:00:00.000000007+01:00 a  b").unwrap();
        assert_eq!((time % 1_000_000_000, text), (7, b"a  b".as_slice()));
        assert_eq!(timed(b"no time"), None);
        assert_eq!(timed(b""), None);
    }

    #[test]
    fn a_log_is_resumed_after_its_last_entries() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r-1.web.log");
        assert_eq!(last_times(&path).unwrap(), [0, 0]);
        let mut entries = Vec::new();
        write_entry(&mut entries, Duration::from_nanos(5), false, false, b"one");
        write_entry(&mut entries, Duration::from_nanos(9), true, false, b"two");
        write_entry(&mut entries, Duration::from_nanos(11), false, false, b"three");
        fs::write(&path, entries).unwrap();
        assert_eq!(last_times(&path).unwrap(), [11, 9]);
    }
}
