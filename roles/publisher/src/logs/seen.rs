use apocryph_model::{LogLine, Name};
use std::{collections::HashMap, time::Duration};

/// How far back is asked for again: lines of one source may come this much after later lines of
/// another.
const OVERLAP_MS: u64 = Duration::from_secs(10).as_millis() as u64;

/// Which lines came, so that those that come again are known. Within a source lines come in order.
#[derive(Debug, Default)]
pub(super) struct Seen {
    sources: HashMap<Source, Position>,
    newest_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Source {
    replica: String,
    container: Name,
    stderr: bool,
}

/// How far a source has come.
#[derive(Debug)]
struct Position {
    time_ms: u64,
    /// Lines with that time.
    lines: usize,
    /// How many of those have come since the log was opened last.
    again: usize,
}

impl Seen {
    /// From when on the log has to be read again, which is what follows; `None` if nothing came.
    pub(super) fn resume(&mut self) -> Option<u64> {
        let since = self.newest_ms?.saturating_sub(OVERLAP_MS);
        self.sources.retain(|_, position| position.time_ms >= since);
        self.sources.values_mut().for_each(|position| position.again = 0);
        Some(since)
    }

    /// Notes a line; tells whether it came for the first time.
    pub(super) fn note(&mut self, line: &LogLine) -> bool {
        self.newest_ms = self.newest_ms.max(Some(line.time_ms));
        let LogLine { replica, container, stderr, .. } = line;
        let source = Source { replica: replica.clone(), container: container.clone(), stderr: *stderr };
        let first = Position { time_ms: line.time_ms, lines: 0, again: 0 };
        self.sources.entry(source).or_insert(first).note(line.time_ms)
    }
}

impl Position {
    fn note(&mut self, time_ms: u64) -> bool {
        if self.again < self.lines && time_ms <= self.time_ms {
            self.again += usize::from(time_ms == self.time_ms);
            return false;
        }
        let lines = if time_ms == self.time_ms { self.lines + 1 } else { 1 };
        *self = Self { time_ms, lines, again: lines };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(replica: &str, number: usize, time_ms: u64) -> LogLine {
        LogLine {
            time_ms,
            replica: replica.into(),
            container: "web".parse().unwrap(),
            stderr: false,
            text: format!("{replica} {number}"),
        }
    }

    /// Lines of two replicas, in order of time as a provider tells them; many at the same time.
    fn log() -> impl Strategy<Value = Vec<LogLine>> {
        let steps =
            prop::collection::vec((prop::bool::ANY, prop_oneof![Just(0u64), Just(1), Just(20_000)]), 1..40);
        steps.prop_map(|steps| {
            let mut now = 100_000;
            let lines = steps.into_iter().enumerate().map(|(number, (first, pause))| {
                now += pause;
                line(if first { "r1" } else { "r2" }, number, now)
            });
            lines.collect()
        })
    }

    proptest! {
        #[test]
        fn every_line_is_new_once_wherever_it_is_cut(log in log(), cuts in prop::collection::vec(0usize..40, 0..4)) {
            let mut seen = Seen::default();
            let mut told = Vec::new();
            for cut in cuts.into_iter().chain([log.len()]) {
                let since = seen.resume().unwrap_or(0);
                let again = log.iter().filter(|line| line.time_ms >= since);
                told.extend(again.take(cut).filter(|line| seen.note(line)).cloned());
            }
            // The last reading may have been cut by the lines that came again.
            let since = seen.resume().unwrap_or(0);
            told.extend(log.iter().filter(|line| line.time_ms >= since).filter(|line| seen.note(line)).cloned());
            prop_assert_eq!(told, log);
        }
    }

    #[test]
    fn a_clock_that_goes_back_loses_no_line() {
        let mut seen = Seen::default();
        let times = [5_000, 4_000, 4_000, 6_000];
        assert!(times.iter().enumerate().all(|(number, time)| seen.note(&line("r1", number, *time))));
    }
}
