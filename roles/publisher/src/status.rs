//! `status`: what the chain knows of a pod, and what its provider says of it.

use crate::{Deployment, Error, LinkError, Publisher, Token};
use apocryph_model::{Amount, ChainError, Channel, Name, PodStatus};
use futures::{StreamExt, join, stream};

/// A pod as both sides see it. Where one side does not answer, the other is still told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What is remembered of it.
    pub deployment: Deployment,
    /// Its channel on the chain; `None` where it is not open.
    pub channel: Result<Option<Channel>, ChainError>,
    /// What it is paid in.
    pub token: Result<Token, ChainError>,
    /// The time of the newest block, in seconds since the Unix epoch.
    pub now: Result<u64, ChainError>,
    /// What the provider says.
    pub pod: Result<PodStatus, LinkError>,
}

impl Status {
    /// What is left in the channel once everything that was measured is claimed.
    pub fn left(&self) -> Option<Amount> {
        let channel = self.channel.as_ref().ok()?.as_ref()?;
        let owed =
            self.pod.as_ref().map_or(Amount::ZERO, |pod| self.deployment.terms.tariff.owed(&pod.usage));
        Some(channel.deposited.saturating_sub(owed.max(channel.claimed)))
    }

    /// How long that lasts at the channel's full rate, in seconds.
    pub fn lasts(&self) -> Option<u64> {
        let channel = self.channel.as_ref().ok()?.as_ref()?;
        channel.max_rate.lasts(self.left()?)
    }
}

impl Publisher {
    /// Asks chain and provider about one pod.
    #[tracing::instrument(skip_all, fields(pod = %name))]
    pub async fn status(&self, name: &Name) -> Result<Status, Error> {
        Ok(self.status_of(self.deployment(name)?).await)
    }

    /// Asks chain and providers about every pod of this account.
    #[tracing::instrument(skip_all)]
    pub async fn list(&self) -> Result<Vec<Status>, Error> {
        let own = self.chain.account();
        let deployments = self.deployments.list()?.into_iter().filter(|d| d.publisher == own);
        let ask = |deployment| self.status_of(deployment);
        Ok(stream::iter(deployments).map(ask).buffered(Self::AT_ONCE).collect().await)
    }

    async fn status_of(&self, deployment: Deployment) -> Status {
        let id = deployment.channel();
        let (channel, token, now, pod) =
            join!(self.chain.channel(id), self.chain.token(deployment.token), self.chain.now(), async {
                self.reach(&deployment).await?.status(id).await
            },);
        Status { deployment, channel, token, now, pod }
    }
}
