use async_trait::async_trait;
use std::time::Duration;

/// The passing of time, where waiting for something has to have an end.
#[async_trait]
pub trait Timer: Send + Sync {
    /// Comes back once `pause` has passed since the first poll.
    async fn sleep(&self, pause: Duration);
}
