//! `fund`: more money for an open channel.

use crate::{
    BegunPayment, Deployment, Error, Evidence, Money, MoneyError, Publisher, Step, open_channel::read,
};
use apocryph_model::{Amount, Channel, Decimal, Name, TransactionId};

/// What a channel holds after more was paid in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Funded {
    /// What was paid in.
    pub paid: Money,
    /// What is in the channel and not claimed.
    pub balance: Money,
    /// How long that lasts at the channel's full rate, in seconds; `None` where the pod costs
    /// nothing.
    pub lasts: Option<u64>,
    /// The transaction; `None` where an interrupted payment turned out to have arrived.
    pub transaction: Option<TransactionId>,
}

impl Publisher {
    /// Pays `amount` into the pod's channel. Repeating a payment of that amount that was cut off
    /// goes on with it: what has arrived is not paid again.
    #[tracing::instrument(skip_all, fields(pod = %name))]
    pub async fn fund(&self, name: &Name, amount: &Decimal) -> Result<Funded, Error> {
        let _lock = self.deployments.lock(name)?;
        self.reporter.begun(Step::Fund);
        let mut deployment = self.deployment(name)?;
        let token = self.chain.token(deployment.token).await?;
        let amount = read(&token, amount)?;
        let channel = self.fundable(&deployment).await?;
        let payment = BegunPayment { amount, up_to: channel.deposited.saturating_add(amount) };
        let payment = deployment.payment.filter(|begun| begun.amount == amount).unwrap_or(payment);
        let missing = payment.up_to.saturating_sub(channel.deposited);
        self.check_balance(&token, missing).await?;
        deployment.payment = Some(payment);
        self.deployments.keep(&deployment)?;
        let transaction = self.pay(&channel, missing).await?;
        deployment.payment = None;
        self.deployments.keep(&deployment)?;
        let channel = self.fundable(&deployment).await?;
        self.reporter.done(Step::Fund, transaction.map(Evidence::Transaction).into_iter().collect());
        Ok(Funded {
            paid: token.money(missing),
            balance: token.money(channel.balance()),
            lasts: channel.max_rate.lasts(channel.balance()),
            transaction,
        })
    }

    async fn pay(&self, channel: &Channel, missing: Amount) -> Result<Option<TransactionId>, Error> {
        match missing {
            Amount::ZERO => Ok(None),
            missing => Ok(Some(self.chain.fund(channel, missing).await?)),
        }
    }

    async fn fundable(&self, deployment: &Deployment) -> Result<Channel, Error> {
        let channel = self.chain.channel(deployment.channel()).await?;
        let channel = channel.ok_or(MoneyError::NotOpen)?;
        if channel.unlock_at.is_some() {
            return Err(MoneyError::Unlocking.into());
        }
        Ok(channel)
    }
}
