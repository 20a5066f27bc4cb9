//! What the chain says, taken with care: an endpoint may lag behind another one.

use crate::{Provider, faults};
use apocryph_model::{Channel, ChannelId, Fault, Who};

/// How often in a row a channel must seem to have ended before it is believed.
const SURE: u32 = 2;

/// The channels at one moment.
pub(crate) struct Evidence {
    /// The newest block's time, in seconds since the Unix epoch.
    pub(crate) now: u64,
    /// In the order in which they were asked for; `None` for one that is not open.
    pub(crate) channels: Vec<Option<Channel>>,
}

impl Provider {
    /// Asks the chain for channels.
    ///
    /// # Errors
    /// No endpoint answers, or one answers what is older than what was known.
    pub(crate) async fn evidence(&self, ids: &[ChannelId]) -> Result<Evidence, Fault> {
        let chain = &self.world.chain;
        let now = chain.now().await.map_err(|cause| faults::of_chain(&cause))?;
        let channels = chain.channels(ids).await.map_err(|cause| faults::of_chain(&cause))?;
        if channels.len() != ids.len() {
            return Err(faults::internal("the chain told another number of channels"));
        }
        let mut memory = self.memory();
        if now < memory.newest_block {
            let text = "the chain's endpoint lags behind: try again later";
            return Err(Fault::passing(Who::Chain, "chain-stale", text));
        }
        memory.newest_block = now;
        Ok(Evidence { now, channels })
    }

    /// Notes that a channel seems to have ended; tells whether that is sure by now.
    pub(crate) fn seems_ended(&self, channel: ChannelId) -> bool {
        let mut memory = self.memory();
        let times = memory.doubted.entry(channel).or_default();
        *times = times.saturating_add(1);
        *times >= SURE
    }
}
