//! Where requests wait for a pod that starts: bounded in count and bytes, in all and per pod.

use crate::{HoldLimits, Refusal};
use metrics::Gauge;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for a number of requests and for their bytes.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// One request's place; dropping it frees the room.
pub(crate) struct Place {
    _permits: [OwnedSemaphorePermit; 4],
    held: Gauge,
}

impl Room {
    pub(crate) fn in_all(limits: &HoldLimits) -> Self {
        Self::new(limits.requests, limits.bytes)
    }

    pub(crate) fn of_pod(limits: &HoldLimits) -> Self {
        Self::new(limits.requests_per_pod, limits.bytes_per_pod)
    }

    fn new(requests: usize, bytes: usize) -> Self {
        let semaphore = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        Self { requests: semaphore(requests), bytes: semaphore(bytes) }
    }

    fn take(&self, bytes: u32) -> Option<[OwnedSemaphorePermit; 2]> {
        let request = self.requests.clone().try_acquire_owned().ok()?;
        let bytes = self.bytes.clone().try_acquire_many_owned(bytes).ok()?;
        Some([request, bytes])
    }
}

impl Place {
    /// Takes a place for a request of `bytes`, counted in `held` while it lasts.
    ///
    /// # Errors
    /// [`Refusal::HoldFull`], naming whose room is full.
    pub(crate) fn take(pod: &Room, all: &Room, bytes: u32, held: &Gauge) -> Result<Self, Refusal> {
        let [a, b] = pod.take(bytes).ok_or(Refusal::HoldFull { who: "the pod" })?;
        let [c, d] = all.take(bytes).ok_or(Refusal::HoldFull { who: "pods of this provider" })?;
        held.increment(1);
        Ok(Self { _permits: [a, b, c, d], held: held.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_never_exceed_either_room(takes in proptest::collection::vec(0u32..50, 0..60)) {
            let (pod, all) = (Room::new(10, 100), Room::new(12, 90));
            let mut places = Vec::new();
            let mut bytes = 0;
            for take in takes {
                if let Ok(place) = Place::take(&pod, &all, take, &Gauge::noop()) {
                    places.push(place);
                    bytes += take;
                }
            }
            prop_assert!(places.len() <= 10 && bytes <= 90);
            drop(places);
            prop_assert_eq!(pod.requests.available_permits(), 10);
            prop_assert_eq!(all.bytes.available_permits(), 90);
        }
    }
}
