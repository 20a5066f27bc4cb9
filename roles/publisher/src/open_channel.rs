//! `open_channel`: the pod's payment channel, funded; the one that is open already where there is
//! one.

use crate::{
    Deployment, Error, Estimate, Evidence, Money, MoneyError, Opening, Publisher, Step, Token,
    journal::Journal,
};
use apocryph_model::{Amount, Channel, Decimal, Offer, PodId, Rate, Terms};
use serde::Serialize;

/// What a channel will be opened with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// What is paid in at first.
    pub deposit: Money,
    /// The most that can be owed over time.
    pub max_rate: Rate,
    /// How long the deposit lasts at that rate, in seconds; `None` where the pod costs nothing.
    pub lasts: Option<u64>,
    /// How long money stays locked after an unlock, in seconds.
    pub unlock_delay: u64,
}

/// How the channel is to be had. Made before anything is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// It is to be opened.
    Open(Budget),
    /// It is open, and this much more is to be paid in.
    Keep(Channel, Amount),
}

/// A day: how long a deposit lasts that nobody chose.
const DEFAULT_RUNWAY: u64 = 24 * 3600;

impl Budget {
    /// What a channel for a pod of this cost needs at this provider. `fund` is the deposit, or
    /// else it is what a day costs at most.
    pub(crate) fn of(
        estimate: &Estimate,
        offer: &Offer,
        token: &Token,
        fund: Option<&Decimal>,
    ) -> Result<Self, MoneyError> {
        let max_rate = estimate.full;
        let least = lasting(max_rate, offer.least_runway);
        let deposit = match fund {
            Some(written) => read(token, written)?,
            None => least.max(lasting(max_rate, DEFAULT_RUNWAY)),
        };
        if deposit < least {
            return Err(MoneyError::TooSmall {
                given: token.money(deposit),
                least: token.money(least),
                seconds: offer.least_runway,
            });
        }
        Ok(Self {
            deposit: token.money(deposit),
            max_rate,
            lasts: max_rate.lasts(deposit),
            unlock_delay: offer.least_unlock_delay,
        })
    }

    fn opening(&self, deployment: &Deployment) -> Opening {
        Opening {
            provider: deployment.provider,
            pod: PodId::of(&deployment.name),
            token: deployment.token,
            deposit: self.deposit.amount,
            max_rate: self.max_rate,
            unlock_delay: self.unlock_delay,
            terms: deployment.terms,
        }
    }
}

/// The smallest sum that lasts `seconds` at `rate`, at least one unit: a channel holds something.
fn lasting(rate: Rate, seconds: u64) -> Amount {
    let rounded_down = rate.over(seconds).max(Amount(1));
    match rate.lasts(rounded_down) {
        Some(lasts) if lasts < seconds => rounded_down.saturating_add(Amount(1)),
        _ => rounded_down,
    }
}

pub(crate) fn read(token: &Token, written: &Decimal) -> Result<Amount, MoneyError> {
    token.read(written).map_err(|problem| MoneyError::Amount {
        written: written.as_str().into(),
        symbol: token.symbol.clone(),
        problem,
    })
}

/// Whether an open channel pays for a pod of this cost under these terms, and how much has to be
/// paid in so that `fund` is left in it.
pub(crate) fn keep(
    channel: Channel,
    terms: &Terms,
    estimate: &Estimate,
    token: &Token,
    fund: Option<&Decimal>,
) -> Result<Payment, MoneyError> {
    if channel.unlock_at.is_some() {
        return Err(MoneyError::Unlocking);
    }
    if channel.terms != terms.hash(channel.provider, token.address) {
        return Err(MoneyError::OtherTerms(channel.id()));
    }
    if channel.max_rate < estimate.reserved {
        return Err(MoneyError::RateTooLow {
            wanted: token.hourly(estimate.reserved),
            allowed: token.hourly(channel.max_rate),
        });
    }
    let wanted = fund.map(|written| read(token, written)).transpose()?.unwrap_or_default();
    Ok(Payment::Keep(channel, wanted.saturating_sub(channel.balance())))
}

impl Payment {
    /// What leaves the account by it.
    pub fn cost(&self) -> Amount {
        match self {
            Self::Open(budget) => budget.deposit.amount,
            Self::Keep(_, more) => *more,
        }
    }
}

impl Publisher {
    /// Refuses a payment that the account cannot make.
    pub(crate) async fn check_balance(&self, token: &Token, needed: Amount) -> Result<(), Error> {
        if needed == Amount::ZERO {
            return Ok(());
        }
        let held = self.chain.balance(token.address).await?;
        if held < needed {
            return Err(MoneyError::NoBalance { held: token.money(held), needed: token.money(needed) }.into());
        }
        Ok(())
    }

    /// Opens the channel, or tops it up where it is open, and notes its epoch.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn open_channel(
        &self,
        payment: &Payment,
        journal: &Journal<'_>,
    ) -> Result<Channel, Error> {
        self.reporter.begun(Step::OpenChannel);
        let deployment = journal.now();
        let id = deployment.channel();
        let mut evidence = vec![Evidence::Channel(id)];
        let transaction = match payment {
            Payment::Open(budget) => Some(self.chain.open_channel(&budget.opening(&deployment)).await?),
            Payment::Keep(_, Amount::ZERO) => None,
            Payment::Keep(channel, more) => Some(self.chain.fund(channel, *more).await?),
        };
        evidence.extend(transaction.map(Evidence::Transaction));
        let channel = self.chain.channel(id).await?.ok_or(MoneyError::NotOpen)?;
        journal.write(|deployment| deployment.epoch = Some(channel.epoch))?;
        self.reporter.done(Step::OpenChannel, evidence);
        Ok(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_deposit_lasts_and_one_unit_less_does_not(rate in 1u128..1 << 80, seconds in 1u64..1 << 32) {
            let rate = Rate(rate);
            let sum = lasting(rate, seconds);
            prop_assert!(rate.lasts(sum).unwrap() >= seconds);
            let less = sum.saturating_sub(Amount(1));
            prop_assert!(less == Amount::ZERO || rate.lasts(less).unwrap() < seconds);
        }
    }
}
