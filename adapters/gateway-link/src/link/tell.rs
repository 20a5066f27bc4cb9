//! What the daemon is told: how much is under way here, and that somebody is here.

use super::{Link, connection::Connection};
use crate::{
    message::{ACTIVITIES, PodActivity, ToDaemon},
    secure::{LinkError, Writer},
};
use apocryph_gateway::Gateway;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

/// How often activity is told, where it changed.
const TELL: Duration = Duration::from_millis(100);

impl Link {
    /// Asks for the lease, and has activity told.
    pub(super) async fn keep_telling(&self, connection: &Connection, gateway: &Gateway) {
        for message in activity(gateway, true) {
            connection.say(message).await;
        }
        let mut tell = interval(TELL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_ping = Instant::now();
        loop {
            tokio::select! {
                _ = tell.tick() => {
                    for message in activity(gateway, false) {
                        connection.say(message).await;
                    }
                }
                () = sleep_until(next_ping) => {
                    let (mut count, mut period) = (0, TELL);
                    self.0.lease.send_if_modified(|lease| {
                        (count, period) = (lease.ping(Instant::now()), lease.period());
                        false
                    });
                    next_ping = Instant::now() + period;
                    connection.say(ToDaemon::Ping { count }).await;
                }
            }
        }
    }
}

/// What is under way, in messages of bounded size; the first of a whole one comes in any case.
fn activity(gateway: &Gateway, whole: bool) -> Vec<ToDaemon> {
    let news = gateway.activity(whole);
    let news: Vec<_> = news.into_iter().map(|(pod, activity)| PodActivity::new(pod, activity)).collect();
    if whole && news.is_empty() {
        return vec![ToDaemon::Activity { whole, pods: Vec::new() }];
    }
    let parts = news.chunks(ACTIVITIES).enumerate();
    parts.map(|(at, pods)| ToDaemon::Activity { whole: whole && at == 0, pods: pods.into() }).collect()
}

/// Sends what is to be said, until the last word. Before a start is asked for it is told for how
/// much.
pub(super) async fn speak(
    mut writer: Writer,
    mut queue: mpsc::Receiver<ToDaemon>,
    gateway: &Gateway,
) -> Result<(), LinkError> {
    while let Some(message) = queue.recv().await {
        if matches!(message, ToDaemon::Start { .. }) {
            for activity in activity(gateway, false) {
                writer.send(&activity).await?;
            }
        }
        writer.send(&message).await?;
        if message == ToDaemon::Bye {
            break;
        }
    }
    Ok(())
}
