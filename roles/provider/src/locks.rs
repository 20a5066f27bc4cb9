//! One lock per pod, for as long as someone holds it.

use apocryph_model::ChannelId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::OwnedMutexGuard;

type Lock = tokio::sync::Mutex<()>;

/// Makes a task the only one to do something with a pod.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<ChannelId, Weak<Lock>>>);

impl Locks {
    /// Waits for the pod's lock.
    pub(crate) async fn lock(&self, pod: ChannelId) -> OwnedMutexGuard<()> {
        self.of(pod).lock_owned().await
    }

    /// Takes the pod's lock unless someone has it.
    pub(crate) fn try_lock(&self, pod: ChannelId) -> Option<OwnedMutexGuard<()>> {
        self.of(pod).try_lock_owned().ok()
    }

    fn of(&self, pod: ChannelId) -> Arc<Lock> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&pod).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Lock::default());
        locks.insert(pod, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holder_per_pod_and_nothing_kept_afterwards() {
        let locks = Locks::default();
        let [a, b] = [ChannelId([1; 32]), ChannelId([2; 32])];
        let held = locks.lock(a).await;
        assert!(locks.try_lock(a).is_none());
        assert!(locks.try_lock(b).is_some());
        drop(held);
        assert!(locks.try_lock(a).is_some());
        drop(locks.try_lock(b));
        assert!(locks.0.lock().unwrap().len() <= 1);
    }
}
