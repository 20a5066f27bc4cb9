//! `unlock`: the delay begins after which unspent money comes back, or is taken back.

use crate::{Deployment, Error, Evidence, Money, MoneyError, Publisher, Step};
use apocryph_model::{Channel, Name, TransactionId};

/// A channel that is being unlocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocking {
    /// What has not been claimed. The provider may still claim what is owed to it.
    pub left: Money,
    /// From when it can be withdrawn, in seconds since the Unix epoch.
    pub at: u64,
    /// In how many seconds that is.
    pub seconds: u64,
    /// The transaction; `None` where it was being unlocked already.
    pub transaction: Option<TransactionId>,
}

/// A channel that is not being unlocked any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What is in the channel and not claimed.
    pub left: Money,
    /// The transaction; `None` where it was not being unlocked.
    pub transaction: Option<TransactionId>,
}

impl Publisher {
    /// Begins to unlock the pod's channel. The provider ends the pod when it sees that. Once it
    /// is begun, a repeat changes nothing.
    #[tracing::instrument(skip_all, fields(pod = %name))]
    pub async fn unlock(&self, name: &Name) -> Result<Unlocking, Error> {
        let _lock = self.deployments.lock(name)?;
        let deployment = self.deployment(name)?;
        let channel = self.chain.channel(deployment.channel()).await?;
        self.start_unlock(&deployment, channel.ok_or(MoneyError::NotOpen)?).await
    }

    /// Takes an unlock back while its delay lasts. Where none is under way nothing changes. What
    /// the provider has ended meanwhile comes back by the next deploy.
    #[tracing::instrument(skip_all, fields(pod = %name))]
    pub async fn cancel_unlock(&self, name: &Name) -> Result<Kept, Error> {
        let _lock = self.deployments.lock(name)?;
        self.reporter.begun(Step::CancelUnlock);
        let deployment = self.deployment(name)?;
        let channel = self.chain.channel(deployment.channel()).await?.ok_or(MoneyError::NotOpen)?;
        let token = self.chain.token(deployment.token).await?;
        if channel.unlocked(self.chain.now().await?) {
            return Err(MoneyError::Expired.into());
        }
        let transaction = match channel.unlock_at {
            Some(_) => Some(self.chain.cancel_unlock(&channel).await?),
            None => None,
        };
        self.reporter.done(Step::CancelUnlock, transaction.map(Evidence::Transaction).into_iter().collect());
        Ok(Kept { left: token.money(channel.balance()), transaction })
    }

    pub(crate) async fn start_unlock(
        &self,
        deployment: &Deployment,
        channel: Channel,
    ) -> Result<Unlocking, Error> {
        self.reporter.begun(Step::Unlock);
        let token = self.chain.token(deployment.token).await?;
        let transaction = match channel.unlock_at {
            Some(_) => None,
            None => Some(self.chain.unlock(&channel).await?),
        };
        let channel = self.chain.channel(channel.id()).await?.ok_or(MoneyError::NotOpen)?;
        let at = channel.unlock_at.ok_or(MoneyError::NotUnlocking)?;
        self.reporter.done(Step::Unlock, transaction.map(Evidence::Transaction).into_iter().collect());
        let seconds = at.saturating_sub(self.chain.now().await?);
        Ok(Unlocking { left: token.money(channel.balance()), at, seconds, transaction })
    }
}
