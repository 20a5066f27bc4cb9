//! `withdraw`: unspent money comes back, and the deployment is forgotten.

use crate::{Error, Evidence, Money, MoneyError, Publisher, Step};
use apocryph_model::{Channel, Name, TransactionId};

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// How much.
    pub refund: Money,
    /// The transaction.
    pub transaction: TransactionId,
}

impl Publisher {
    /// Takes back what is left once the delay has passed; `None` where the channel was closed
    /// before. The deployment is forgotten then. Safe to repeat.
    #[tracing::instrument(skip_all, fields(pod = %name))]
    pub async fn withdraw(&self, name: &Name) -> Result<Option<Withdrawn>, Error> {
        let _lock = self.deployments.lock(name)?;
        if self.ended(name)? {
            return Ok(None);
        }
        self.reporter.begun(Step::Withdraw);
        let deployment = self.deployment(name)?;
        let withdrawn = match self.chain.channel(deployment.channel()).await? {
            None => None,
            Some(channel) => Some(self.take_out(&channel).await?),
        };
        self.deployments.end(&deployment)?;
        let evidence = withdrawn.iter().map(|w| Evidence::Transaction(w.transaction)).collect();
        self.reporter.done(Step::Withdraw, evidence);
        Ok(withdrawn)
    }

    async fn take_out(&self, channel: &Channel) -> Result<Withdrawn, Error> {
        let unlock_at = channel.unlock_at.ok_or(MoneyError::NotUnlocking)?;
        let now = self.chain.now().await?;
        if !channel.unlocked(now) {
            return Err(MoneyError::Locked { seconds: unlock_at.saturating_sub(now) }.into());
        }
        let token = self.chain.token(channel.token).await?;
        let (transaction, refund) = self.chain.withdraw(channel).await?;
        Ok(Withdrawn { refund: token.money(refund), transaction })
    }
}
