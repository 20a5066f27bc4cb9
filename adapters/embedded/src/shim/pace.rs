//! How fast a container may write its log. What the shim does for it is on nobody's bill and under no
//! limit of the container's: one that writes without end would take the host's processors and disk.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_millis(100);
/// What is taken in a window, in bytes of the log file: 4 MiB in a second.
const MOST: usize = (4 << 20) / 10;

/// Of one container. What it writes beyond waits in its pipes, and then so does the container.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    taken: usize,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, taken: 0 }
    }

    /// Takes note of what was written to the log.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) {
        if now >= self.since + WINDOW {
            *self = Self::new(now);
        }
        self.taken = self.taken.saturating_add(bytes);
    }

    /// How long nothing more is taken; `None` where it is.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let left = (self.since + WINDOW).saturating_duration_since(now);
        (self.taken >= MOST && !left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_waits_and_a_trickle_does_not() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.take(MOST - 1, start);
        assert_eq!(pace.wait(start), None);
        pace.take(1, start);
        assert_eq!(pace.wait(start), Some(WINDOW));
        assert_eq!(pace.wait(start + WINDOW), None);
        pace.take(MOST, start + WINDOW);
        assert_eq!(pace.wait(start + WINDOW * 3 / 2), Some(WINDOW / 2));
    }
}
