//! The node's half of the link: what the daemon asks is answered.

use super::message::{NodeName, PODS, PodReading, PodUid, ToDaemon, ToReader, VERSION};
use crate::{
    Token,
    dial::{Missed, connect},
    secure::{self, LinkError},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// How soon the daemon is looked for again.
const AGAIN: Duration = Duration::from_millis(500);
/// For how long the daemon may say nothing: several times as long as it does.
const SILENCE: Duration = Duration::from_secs(20);

/// What is known of a node's Pods.
pub trait PodCounters: Send + Sync + 'static {
    /// What a Pod used, read now if it is there; `None` where it is not known. May block for as long
    /// as a file of the kernel's takes.
    fn read(&self, pod: &PodUid) -> Option<PodReading>;
}

/// Where the daemon is, and whose reader this is.
#[derive(Clone)]
pub struct ReaderConfig {
    /// The daemon's address: a host name or IP address, and a port.
    pub daemon: String,
    /// What is shared with it.
    pub token: Token,
    /// The node that is read.
    pub node: NodeName,
}

/// Keeps the link up, and answers the daemon for as long as it is polled.
pub async fn answer(config: &ReaderConfig, counters: Arc<dyn PodCounters>) {
    let mut told = false;
    loop {
        let mut connected = false;
        let ended = converse(config, &counters, &mut connected).await;
        if let Err(error) = ended
            && (connected || !told)
        {
            warn!(daemon = config.daemon, %error, "there is no link to the daemon");
            told = true;
        }
        sleep(AGAIN).await;
    }
}

async fn converse(
    config: &ReaderConfig,
    counters: &Arc<dyn PodCounters>,
    connected: &mut bool,
) -> Result<(), LinkError> {
    let stream = connect(&config.daemon).await.map_err(|missed| match missed {
        Missed::Nobody => io::ErrorKind::ConnectionRefused.into(),
        Missed::Unknown(error) => error,
    })?;
    let (mut reader, mut writer) = secure::initiate(stream, &config.token).await?;
    writer.send(&ToDaemon::Hello { version: VERSION, node: config.node.clone() }).await?;
    loop {
        let asked = timeout(SILENCE, reader.receive()).await.map_err(|_| LinkError::Silent)??;
        if !std::mem::replace(connected, true) {
            info!(daemon = config.daemon, "the link to the daemon is up");
        }
        let ToReader::Read { pods } = asked else { return Err(LinkError::Senseless) };
        if pods.len() > PODS {
            return Err(LinkError::TooLarge(pods.len()));
        }
        let counters = counters.clone();
        let read = spawn_blocking(move || pods.iter().filter_map(|pod| counters.read(pod)).collect());
        let pods = read.await.map_err(io::Error::other)?;
        writer.send(&ToDaemon::Readings { pods }).await?;
    }
}
