use super::{Lines, seen::Seen};
use crate::{Deployment, LinkError, Publisher};
use apocryph_model::{LogLine, LogQuery};
use futures::{StreamExt as _, stream};
use std::time::Duration;

/// How often in a row a broken connection is made anew: for over a minute in all.
const TRIES: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A log that is followed.
///
/// ```text
///   reading --broke--> waiting --pause--> opening --opened--> reading
///      |  ended           ^                  |  cannot now, and some tries are left
///      v                  '------------------'
///   (ended)
/// ```
pub(super) struct Follower {
    publisher: Publisher,
    deployment: Deployment,
    query: LogQuery,
    lines: Lines,
    seen: Seen,
    /// Tries since the last line.
    tries: u32,
}

impl Follower {
    pub(super) fn new(publisher: Publisher, deployment: Deployment, query: LogQuery, lines: Lines) -> Self {
        Self { publisher, deployment, query, lines, seen: Seen::default(), tries: 0 }
    }

    /// Each line once; an error is the last.
    pub(super) fn lines(self) -> Lines {
        let next = |follower: Option<Self>| async move {
            let mut follower = follower?;
            match follower.next().await? {
                Ok(line) => Some((Ok(line), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        };
        stream::unfold(Some(self), next).boxed()
    }

    async fn next(&mut self) -> Option<Result<LogLine, LinkError>> {
        loop {
            match self.lines.next().await? {
                Ok(line) => {
                    self.tries = 0;
                    if self.seen.note(&line) {
                        return Some(Ok(line));
                    }
                }
                Err(error) => {
                    if let Err(error) = self.reopen(error).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// Opens the log where it stood, unless there is no hope after `error`.
    async fn reopen(&mut self, mut error: LinkError) -> Result<(), LinkError> {
        let since = self.seen.resume().max(self.query.since_ms);
        let query = LogQuery { since_ms: since, ..self.query.clone() };
        while error.fault().retry && self.tries < TRIES {
            tracing::warn!(%error, "the log broke off: it is opened again");
            self.publisher.timer.sleep(pause(self.tries)).await;
            self.tries += 1;
            match self.publisher.open_log(&self.deployment, query.clone()).await {
                Ok(lines) => {
                    self.lines = lines;
                    return Ok(());
                }
                Err(next) => error = next,
            }
        }
        Err(error)
    }
}

fn pause(tries: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2u32.saturating_pow(tries)).min(LONGEST_PAUSE)
}
