//! Until when a gateway may route by what it was told. No clock: time is passed in.

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// The lease of this gateway.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// How long it lasts, as the daemon said last.
    length: Duration,
    until: Option<Instant>,
    /// Pings that were not answered yet.
    pings: VecDeque<(u64, Instant)>,
    count: u64,
}

/// Pings that may go unanswered at once.
const PINGS: usize = 64;

impl Lease {
    /// The daemon says how long leases last. A tenth is left out, for clocks of unequal pace.
    pub(crate) fn set_length(&mut self, length: Duration) {
        self.length = length - length / 10;
        self.pings.clear();
    }

    /// How often a ping is due.
    pub(crate) fn period(&self) -> Duration {
        (self.length / 5).max(Duration::from_millis(10))
    }

    /// A ping is sent at `now`; gives its number.
    pub(crate) fn ping(&mut self, now: Instant) -> u64 {
        self.count += 1;
        self.pings.push_back((self.count, now));
        if self.pings.len() > PINGS {
            self.pings.pop_front();
        }
        self.count
    }

    /// The ping of this number was answered.
    pub(crate) fn pong(&mut self, count: u64) {
        while let Some((number, sent)) = self.pings.pop_front() {
            if number == count {
                self.renew(sent);
                break;
            }
        }
    }

    /// There was nobody at `now` who could stop a replica: the lease lasts from then on. Before the
    /// first there is nothing to renew.
    pub(crate) fn renew(&mut self, now: Instant) {
        if !self.length.is_zero() {
            self.until = self.until.max(Some(now + self.length));
        }
    }

    /// Until when; `None` before the first.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_ping_that_was_answered() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut lease = Lease::default();
        lease.renew(at(0));
        assert_eq!(lease.until(), None, "nothing was given yet");
        lease.set_length(Duration::from_secs(10));
        let [first, second, third] = [0, 2, 4].map(|seconds| lease.ping(at(seconds)));
        assert_eq!(lease.until(), None);
        lease.pong(second);
        assert_eq!(lease.until(), Some(at(11)));
        lease.pong(first);
        assert_eq!(lease.until(), Some(at(11)), "an old answer renews nothing");
        lease.pong(third + 1);
        assert_eq!(lease.until(), Some(at(11)), "nor does one to no ping");
        lease.renew(at(1));
        assert_eq!(lease.until(), Some(at(11)), "a lease never gets shorter");
        lease.renew(at(6));
        assert_eq!(lease.until(), Some(at(15)));
    }
}
