//! What a daemon asks of the API server, by its own count.

use std::ops::Sub;

use apocryph_testbed::daemon::Daemon;

/// The methods by which clients of the API server write.
const WRITES: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// How many there were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requests {
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    /// Watches that were begun.
    pub(crate) watches: f64,
}

impl Requests {
    /// Since the daemon's start.
    pub(crate) async fn of(daemon: &Daemon) -> Self {
        let metrics = daemon.metrics().await.unwrap();
        let count = |method: &str| {
            let name = format!("apocryph_cluster_requests_total{{method=\"{method}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).unwrap_or_default()
        };
        let writes = WRITES.into_iter().map(count).sum();
        Self { reads: count("GET"), writes, watches: count("WATCH") }
    }
}

impl Sub for Requests {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            watches: self.watches - before.watches,
        }
    }
}
