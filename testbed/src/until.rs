//! Waiting for something to become so.

use std::io;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until `condition` holds. One that cannot be looked at yet does not hold yet.
///
/// # Errors
/// If it does not hold in time: says what was waited for, and why it could not be looked at last.
pub async fn until(
    what: &str,
    patience: Duration,
    mut condition: impl AsyncFnMut() -> io::Result<bool>,
) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = condition().await;
        if matches!(seen, Ok(true)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let why = seen.err().map(|error| format!(": {error}")).unwrap_or_default();
            let text = format!("waited {} s in vain until {what}{why}", patience.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_says_what_was_waited_for() {
        let never = until("pigs fly", Duration::ZERO, async || Err(io::ErrorKind::NotFound.into())).await;
        assert_eq!(never.unwrap_err().to_string(), "waited 0 s in vain until pigs fly: entity not found");
        let mut left = 3;
        let soon = async || {
            left -= 1;
            Ok(left == 0)
        };
        until("three looks", Duration::from_secs(10), soon).await.unwrap();
    }
}
