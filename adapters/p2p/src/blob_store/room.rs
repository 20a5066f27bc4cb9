//! How much the store may still take.

use super::StoreError;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts the bytes in use against a bound.
pub(super) struct Room {
    capacity: u64,
    used: Mutex<u64>,
}

impl Room {
    pub(super) fn new(capacity: u64) -> Self {
        // Sizes are kept as SQLite's signed integers.
        Self { capacity: capacity.min(i64::MAX as u64), used: Mutex::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn used(&self) -> u64 {
        *self.lock()
    }

    /// Takes `needed` bytes, or nothing.
    pub(super) fn take(&self, needed: u64) -> Result<(), StoreError> {
        let mut used = self.lock();
        match used.checked_add(needed).filter(|sum| *sum <= self.capacity) {
            Some(sum) => *used = sum,
            None => return Err(StoreError::Full { needed, used: *used, capacity: self.capacity }),
        }
        Ok(())
    }

    /// Counts bytes that are there already, be it beyond a bound that was lowered since.
    pub(super) fn refill(&self, bytes: u64) {
        let mut used = self.lock();
        *used = used.saturating_add(bytes);
    }

    /// Gives bytes back.
    pub(super) fn release(&self, bytes: u64) {
        let mut used = self.lock();
        *used = used.saturating_sub(bytes);
    }
}
