//! One lock per key, for as long as someone holds it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::OwnedMutexGuard;

type Lock = tokio::sync::Mutex<()>;

/// The right to do something with what the key names; it ends when this is dropped.
pub type Turn = OwnedMutexGuard<()>;

/// Makes a task the only one to do something with what a key names, such as a pod. Others wait, in
/// the order in which they came. Of keys that nobody holds nothing is kept.
#[derive(Debug)]
pub struct Turns<K>(Mutex<HashMap<K, Weak<Lock>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Turns<K> {
    /// Waits for the turn.
    pub async fn take(&self, key: K) -> Turn {
        self.of(key).lock_owned().await
    }

    /// Takes the turn unless someone has it.
    pub fn try_take(&self, key: K) -> Option<Turn> {
        self.of(key).try_lock_owned().ok()
    }

    fn of(&self, key: K) -> Arc<Lock> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Lock::default());
        locks.insert(key, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holder_per_key_and_nothing_kept_afterwards() {
        let turns = Turns::default();
        let held = turns.take("a").await;
        assert!(turns.try_take("a").is_none());
        assert!(turns.try_take("b").is_some());
        drop(held);
        assert!(turns.try_take("a").is_some());
        drop(turns.try_take("b"));
        assert!(turns.0.lock().unwrap().len() <= 1);
    }
}
