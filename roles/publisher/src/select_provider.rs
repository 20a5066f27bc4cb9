//! `select_provider`: the cheapest that satisfies the manifest and answers, or the one that the
//! user picks among those.

use crate::{
    Collected, Error, Estimate, Event, Evidence, PassedOver, Publisher, SelectError, Step, Token, Trusted,
    Unfit,
    fitness::{Wanted, check_offer},
    race::{Decided, race},
};
use apocryph_model::{Address, Amount, Offer, Offering};
use futures::{StreamExt, stream};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// What the publisher wants beyond its manifest.
#[derive(Clone, Default)]
pub struct Preferences {
    /// Only this one; goes before the manifest's.
    pub provider: Option<Address>,
    /// Only who is paid in this token.
    pub token: Option<Address>,
    /// Whether a provider without verified evidence will do.
    pub accept_unattested: bool,
    /// Picks among those that will do; without one it is the cheapest.
    pub chooser: Option<Arc<dyn Chooser>>,
}

/// Picks a provider.
pub trait Chooser: Send + Sync {
    /// The index of the one to take, the cheapest being first; `None` to take none.
    fn choose(&self, candidates: &[Candidate]) -> Option<usize>;
}

/// A provider that satisfies the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// As registered.
    pub offering: Offering,
    /// The token that it asks for.
    pub token: Token,
    /// What the pod costs there.
    pub estimate: Estimate,
}

/// A provider that answered and will do.
pub(crate) struct Selected {
    pub(crate) candidate: Candidate,
    pub(crate) offer: Offer,
    pub(crate) trusted: Trusted,
}

impl Publisher {
    /// The longest that a provider may want a deposit to last or to stay locked, in seconds.
    pub const MAX_LOCKED: u64 = 30 * 24 * 3600;

    /// How long cheaper providers may stay silent once a dearer one has answered well.
    pub(crate) const GRACE: Duration = Duration::from_secs(1);

    /// Settles on a provider among those listed. Whoever is passed over is reported by name.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn select_provider(
        &self,
        offerings: Vec<Offering>,
        collected: &Collected,
        wanted: Wanted<'_>,
    ) -> Result<Selected, Error> {
        self.reporter.begun(Step::SelectProvider);
        let mut passed = Vec::new();
        let fixed = wanted.preferences.provider.or(wanted.constraints.provider);
        let candidates = self.candidates(narrow(offerings, fixed)?, collected, wanted, &mut passed).await?;
        let candidates = self.of_one_token(candidates, &mut passed).await?;
        let selected = match &wanted.preferences.chooser {
            None => self.first_that_answers(candidates, wanted, &mut passed).await,
            Some(chooser) => self.let_choose(candidates, wanted, &**chooser, &mut passed).await?,
        };
        let selected = selected.ok_or(SelectError::NoneFits(passed))?;
        let provider = Evidence::Provider(selected.candidate.offering.provider);
        self.reporter.done(Step::SelectProvider, vec![provider]);
        Ok(selected)
    }

    /// Those that satisfy the manifest by what they registered, cheapest first.
    async fn candidates(
        &self,
        mut offerings: Vec<Offering>,
        collected: &Collected,
        wanted: Wanted<'_>,
        passed: &mut Vec<PassedOver>,
    ) -> Result<Vec<Candidate>, Error> {
        offerings.retain(|offering| offering.provider != self.chain.account());
        let tokens = self.tokens(&offerings).await?;
        let mut candidates = Vec::new();
        for offering in offerings {
            match wanted.check_offering(&offering, tokens.get(&offering.token)) {
                Ok(token) => {
                    let estimate = Estimate::of(&collected.spec, &offering.tariff);
                    candidates.push(Candidate { offering, token, estimate });
                }
                Err(reason) => self.pass_over(PassedOver::new(&offering, reason), passed),
            }
        }
        candidates.sort_by_key(|c| (c.estimate.full, c.estimate.idle, c.offering.provider));
        Ok(candidates)
    }

    /// Prices in different tokens cannot be compared: where there are several, only the one that
    /// the account holds counts.
    async fn of_one_token(
        &self,
        candidates: Vec<Candidate>,
        passed: &mut Vec<PassedOver>,
    ) -> Result<Vec<Candidate>, Error> {
        let tokens: BTreeSet<_> = candidates.iter().map(|c| c.offering.token).collect();
        if tokens.len() < 2 {
            return Ok(candidates);
        }
        let mut held = Vec::new();
        for token in &tokens {
            if self.chain.balance(*token).await? > Amount::ZERO {
                held.push(*token);
            }
        }
        let &[held] = held.as_slice() else {
            return Err(SelectError::SeveralTokens(tokens.into_iter().collect()).into());
        };
        let (kept, others): (Vec<_>, _) = candidates.into_iter().partition(|c| c.offering.token == held);
        for Candidate { offering, .. } in others {
            self.pass_over(PassedOver::new(&offering, Unfit::OtherToken(offering.token)), passed);
        }
        Ok(kept)
    }

    /// Asks several at once and takes the first in order that answers well. Those who have not
    /// answered a little after that are passed over as well.
    async fn first_that_answers(
        &self,
        candidates: Vec<Candidate>,
        wanted: Wanted<'_>,
        passed: &mut Vec<PassedOver>,
    ) -> Option<Selected> {
        let late: Vec<_> = candidates.iter().map(|c| PassedOver::new(&c.offering, Unfit::Late)).collect();
        let ask = |(place, candidate)| async move { (place, self.ask(candidate, wanted).await) };
        let asked = stream::iter(candidates.into_iter().enumerate());
        let answers = asked.map(ask).buffer_unordered(Self::AT_ONCE);
        let Decided { passed: before, winner } =
            race(late.len(), answers, self.timer.sleep(Self::GRACE)).await;
        for (answer, late) in before.into_iter().zip(late) {
            self.pass_over(answer.unwrap_or(late), passed);
        }
        winner
    }

    /// Asks all, then lets the user pick among those that answered well.
    async fn let_choose(
        &self,
        candidates: Vec<Candidate>,
        wanted: Wanted<'_>,
        chooser: &dyn Chooser,
        passed: &mut Vec<PassedOver>,
    ) -> Result<Option<Selected>, SelectError> {
        let ask = |candidate| self.ask(candidate, wanted);
        let answers: Vec<_> = stream::iter(candidates).map(ask).buffered(Self::AT_ONCE).collect().await;
        let mut fit = Vec::new();
        for answer in answers {
            match answer {
                Ok(selected) => fit.push(selected),
                Err(unfit) => self.pass_over(unfit, passed),
            }
        }
        if fit.is_empty() {
            return Ok(None);
        }
        let shown: Vec<_> = fit.iter().map(|s| s.candidate.clone()).collect();
        let index = chooser.choose(&shown).filter(|i| *i < fit.len()).ok_or(SelectError::Cancelled)?;
        Ok(Some(fit.swap_remove(index)))
    }

    async fn ask(&self, candidate: Candidate, wanted: Wanted<'_>) -> Result<Selected, PassedOver> {
        match self.examine(&candidate.offering, wanted).await {
            Ok((offer, trusted)) => Ok(Selected { candidate, offer, trusted }),
            Err(reason) => Err(PassedOver::new(&candidate.offering, reason)),
        }
    }

    async fn examine(&self, offering: &Offering, wanted: Wanted<'_>) -> Result<(Offer, Trusted), Unfit> {
        let link = self.connect(&offering.addresses).await?;
        let offer = link.offer().await?;
        check_offer(offering, &offer, &*self.chain)?;
        let trusted = Trusted::attest(link, wanted.preferences.accept_unattested).await;
        Ok((offer, trusted.map_err(Unfit::Attest)?))
    }

    fn pass_over(&self, unfit: PassedOver, passed: &mut Vec<PassedOver>) {
        self.reporter.report(Event::PassedOver {
            provider: unfit.provider,
            name: unfit.name.clone(),
            reason: unfit.reason.to_string(),
        });
        passed.push(unfit);
    }
}

/// Only the one asked for, if one was.
fn narrow(offerings: Vec<Offering>, fixed: Option<Address>) -> Result<Vec<Offering>, SelectError> {
    if offerings.is_empty() {
        return Err(SelectError::NoneRegistered);
    }
    let Some(fixed) = fixed else { return Ok(offerings) };
    let only: Vec<_> = offerings.into_iter().filter(|o| o.provider == fixed).collect();
    if only.is_empty() { Err(SelectError::NotRegistered(fixed)) } else { Ok(only) }
}
