//! `select_provider`: the cheapest that satisfies the manifest and answers, or the one that the
//! user picks among those.

use crate::{
    AttestError, Collected, Error, Estimate, Event, Evidence, LinkError, Publisher, Step, Token, Trusted,
};
use apocryph_model::{
    Address, Attestation, Constraints, Decimal, Fault, Offer, Offering, Resource, Tariff, Who,
};
use futures::{StreamExt, stream};
use std::{collections::BTreeSet, fmt, sync::Arc};

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

/// A provider that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its account.
    pub provider: Address,
    /// What it calls itself.
    pub name: String,
    /// Why.
    pub reason: Unfit,
}

/// Why a provider will not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is the publisher itself.
    #[error("it is this very account")]
    Own,
    /// It is paid in another token.
    #[error("it is paid in token {0}, another was asked for")]
    OtherToken(Address),
    /// Its token does not describe itself.
    #[error("its token {0} cannot be read")]
    UnknownToken(Address),
    /// It stands elsewhere.
    #[error("it is in none of the regions asked for")]
    Region,
    /// It asks too much.
    #[error("it asks more than allowed for a {}", .0.priced_as())]
    Price(Resource),
    /// It does not claim to prove what it runs.
    #[error("it does not prove what it runs (--accept-unattested uses it all the same)")]
    Unattested,
    /// It proves itself in another way than the manifest wants.
    #[error("its attestation is {0}, which the manifest does not accept")]
    Attestation(Attestation),
    /// It did not answer, or refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Its evidence does not hold.
    #[error(transparent)]
    Attest(AttestError),
    /// Its answer does not agree with what it registered.
    #[error("it answers with another {0} than it is registered with")]
    Contradiction(&'static str),
    /// It works with another chain or contract.
    #[error("it works with another {0}")]
    OtherWorld(&'static str),
    /// It wants money to be locked for too long.
    #[error("it wants {what} of {seconds} s, at most {} s are accepted", Publisher::MAX_LOCKED)]
    Demanding {
        /// "a runway" or "an unlock delay".
        what: &'static str,
        /// How long.
        seconds: u64,
    },
}

/// Why no provider was selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The Registry is empty.
    #[error("no provider is registered: check the address of the Registry")]
    NoneRegistered,
    /// The one asked for is not registered.
    #[error("provider {0} is not registered")]
    NotRegistered(Address),
    /// None will do.
    #[error("no provider will do:{}", Reasons(.0))]
    NoneFits(Vec<PassedOver>),
    /// Prices in different tokens cannot be compared.
    #[error("providers are paid in different tokens ({}): choose one with --token", Addresses(.0))]
    SeveralTokens(Vec<Address>),
    /// The user took none.
    #[error("no provider was chosen")]
    Cancelled,
}

struct Reasons<'a>(&'a [PassedOver]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |p: &PassedOver| write!(f, "\n  {} ({}): {}", p.name, p.provider, p.reason);
        self.0.iter().try_for_each(line)
    }
}

struct Addresses<'a>(&'a [Address]);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

impl SelectError {
    pub(crate) fn fault(&self) -> Fault {
        let (who, code) = match self {
            Self::NoneRegistered => (Who::Publisher, "none-registered"),
            Self::NotRegistered(_) => (Who::Publisher, "not-registered"),
            Self::NoneFits(passed) if passed.iter().any(PassedOver::may_answer_later) => {
                return Fault::passing(Who::Network, "none-answers", self.to_string());
            }
            Self::NoneFits(_) => (Who::Publisher, "none-fits"),
            Self::SeveralTokens(_) => (Who::Publisher, "several-tokens"),
            Self::Cancelled => (Who::Publisher, "cancelled"),
        };
        Fault::lasting(who, code, self.to_string())
    }
}

impl PassedOver {
    fn new(offering: &Offering, reason: Unfit) -> Self {
        Self { provider: offering.provider, name: offering.name.clone(), reason }
    }

    fn may_answer_later(&self) -> bool {
        match &self.reason {
            Unfit::Link(link) | Unfit::Attest(AttestError::Link(link)) => link.fault().retry,
            _ => false,
        }
    }
}

impl Publisher {
    /// The longest that a provider may want a deposit to last or to stay locked, in seconds.
    pub const MAX_LOCKED: u64 = 30 * 24 * 3600;

    /// Settles on a provider among those listed. Whoever is passed over is reported by name.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn select_provider(
        &self,
        offerings: Vec<Offering>,
        collected: &Collected,
        constraints: &Constraints,
        preferences: &Preferences,
    ) -> Result<Selected, Error> {
        self.reporter.begun(Step::SelectProvider);
        let fixed = preferences.provider.or(constraints.provider);
        let offerings = narrow(offerings, fixed)?;
        let mut passed = Vec::new();
        let candidates = self.candidates(offerings, collected, constraints, preferences, &mut passed).await?;
        let selected = match &preferences.chooser {
            None => self.first_that_answers(candidates, preferences, &mut passed).await,
            Some(chooser) => self.let_choose(candidates, preferences, &**chooser, &mut passed).await?,
        };
        let selected = selected.ok_or(SelectError::NoneFits(passed))?;
        let provider = Evidence::Provider(selected.candidate.offering.provider);
        self.reporter.done(Step::SelectProvider, vec![provider]);
        Ok(selected)
    }

    /// Those that satisfy the manifest by what they registered, cheapest first.
    async fn candidates(
        &self,
        offerings: Vec<Offering>,
        collected: &Collected,
        constraints: &Constraints,
        preferences: &Preferences,
        passed: &mut Vec<PassedOver>,
    ) -> Result<Vec<Candidate>, SelectError> {
        let tokens = self.tokens(&offerings).await;
        let mut candidates = Vec::new();
        for offering in offerings {
            let token = tokens.get(&offering.token);
            match self.fits(&offering, token, constraints, preferences) {
                Ok(token) => {
                    let estimate = Estimate::of(&collected.spec, &offering.tariff);
                    candidates.push(Candidate { offering, token, estimate });
                }
                Err(reason) => self.pass_over(PassedOver::new(&offering, reason), passed),
            }
        }
        one_token(&candidates)?;
        candidates.sort_by_key(|c| (c.estimate.full, c.estimate.idle, c.offering.provider));
        Ok(candidates)
    }

    fn fits(
        &self,
        offering: &Offering,
        token: Option<&Token>,
        constraints: &Constraints,
        preferences: &Preferences,
    ) -> Result<Token, Unfit> {
        if offering.provider == self.chain.account() {
            return Err(Unfit::Own);
        }
        if preferences.token.is_some_and(|token| token != offering.token) {
            return Err(Unfit::OtherToken(offering.token));
        }
        let token = token.ok_or(Unfit::UnknownToken(offering.token))?;
        if !constraints.regions.is_empty()
            && !constraints.regions.iter().any(|r| offering.regions.contains(r))
        {
            return Err(Unfit::Region);
        }
        attestation_fits(constraints, preferences, offering.attestation)?;
        match too_dear(constraints, &offering.tariff, token) {
            Some(resource) => Err(Unfit::Price(resource)),
            None => Ok(token.clone()),
        }
    }

    /// Asks several at once and takes the first in order that answers well.
    async fn first_that_answers(
        &self,
        candidates: Vec<Candidate>,
        preferences: &Preferences,
        passed: &mut Vec<PassedOver>,
    ) -> Option<Selected> {
        let ask = |candidate| self.ask(candidate, preferences);
        let mut answers = stream::iter(candidates).map(ask).buffered(Self::AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(selected) => return Some(selected),
                Err(unfit) => self.pass_over(unfit, passed),
            }
        }
        None
    }

    /// Asks all, then lets the user pick among those that answered well.
    async fn let_choose(
        &self,
        candidates: Vec<Candidate>,
        preferences: &Preferences,
        chooser: &dyn Chooser,
        passed: &mut Vec<PassedOver>,
    ) -> Result<Option<Selected>, SelectError> {
        let ask = |candidate| self.ask(candidate, preferences);
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

    async fn ask(&self, candidate: Candidate, preferences: &Preferences) -> Result<Selected, PassedOver> {
        match self.examine(&candidate, preferences).await {
            Ok((offer, trusted)) => Ok(Selected { candidate, offer, trusted }),
            Err(reason) => Err(PassedOver::new(&candidate.offering, reason)),
        }
    }

    async fn examine(
        &self,
        candidate: &Candidate,
        preferences: &Preferences,
    ) -> Result<(Offer, Trusted), Unfit> {
        let link = self.connect(&candidate.offering.addresses).await?;
        let offer = link.offer().await?;
        self.check_offer(&candidate.offering, &offer)?;
        let trusted = Trusted::attest(link, preferences.accept_unattested).await.map_err(Unfit::Attest)?;
        Ok((offer, trusted))
    }

    /// What a provider answers must be what it registered, or better.
    fn check_offer(&self, offering: &Offering, offer: &Offer) -> Result<(), Unfit> {
        let dearer =
            offer.terms.tariff.0.iter().zip(offering.tariff.0).any(|(asked, listed)| *asked > listed);
        if offer.chain != self.chain.id() {
            Err(Unfit::OtherWorld("chain"))
        } else if offer.payment != self.chain.payment() {
            Err(Unfit::OtherWorld("Payment contract"))
        } else if offer.provider != offering.provider {
            Err(Unfit::Contradiction("account"))
        } else if offer.token != offering.token {
            Err(Unfit::Contradiction("token"))
        } else if dearer {
            Err(Unfit::Contradiction("price"))
        } else if offer.least_runway > Self::MAX_LOCKED {
            Err(Unfit::Demanding { what: "a runway", seconds: offer.least_runway })
        } else if offer.least_unlock_delay > Self::MAX_LOCKED {
            Err(Unfit::Demanding { what: "an unlock delay", seconds: offer.least_unlock_delay })
        } else {
            Ok(())
        }
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

fn attestation_fits(
    constraints: &Constraints,
    preferences: &Preferences,
    kind: Attestation,
) -> Result<(), Unfit> {
    let accepted = &constraints.attestation;
    if !accepted.is_empty() && !accepted.contains(&kind) {
        Err(Unfit::Attestation(kind))
    } else if kind == Attestation::None && !preferences.accept_unattested {
        Err(Unfit::Unattested)
    } else {
        Ok(())
    }
}

/// The first resource that costs more than the manifest allows. A bound finer than the token's
/// decimals cannot be met.
fn too_dear(constraints: &Constraints, tariff: &Tariff, token: &Token) -> Option<Resource> {
    let allowed = |resource: Resource, highest: &Decimal| {
        Tariff::parse_price(resource, highest.as_str(), token.decimals)
            .is_ok_and(|bound| tariff[resource] <= bound)
    };
    constraints.highest.iter().find(|(r, highest)| !allowed(**r, highest)).map(|(r, _)| *r)
}

fn one_token(candidates: &[Candidate]) -> Result<(), SelectError> {
    let tokens: BTreeSet<_> = candidates.iter().map(|c| c.offering.token).collect();
    if tokens.len() > 1 { Err(SelectError::SeveralTokens(tokens.into_iter().collect())) } else { Ok(()) }
}
