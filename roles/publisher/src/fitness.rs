//! Whether a provider will do: by what it registered, and by what it answers.

use crate::{Chain, Preferences, Publisher, Token, Unfit};
use apocryph_model::{Attestation, Constraints, Decimal, Offer, Offering, Resource, Tariff};

/// What is asked of a provider, by the manifest and beyond it.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) constraints: &'a Constraints,
    pub(crate) preferences: &'a Preferences,
}

impl Wanted<'_> {
    /// Whether a provider will do by what it registered.
    pub(crate) fn check_offering(self, offering: &Offering, token: Option<&Token>) -> Result<Token, Unfit> {
        if self.preferences.token.is_some_and(|token| token != offering.token) {
            return Err(Unfit::OtherToken(offering.token));
        }
        let token = token.ok_or(Unfit::UnknownToken(offering.token))?;
        let regions = &self.constraints.regions;
        if !regions.is_empty() && !regions.iter().any(|region| offering.regions.contains(region)) {
            return Err(Unfit::Region);
        }
        self.check_attestation(offering.attestation)?;
        match self.too_dear(&offering.tariff, token) {
            Some(resource) => Err(Unfit::Price(resource)),
            None => Ok(token.clone()),
        }
    }

    fn check_attestation(self, kind: Attestation) -> Result<(), Unfit> {
        let accepted = &self.constraints.attestation;
        if !accepted.is_empty() && !accepted.contains(&kind) {
            Err(Unfit::Attestation(kind))
        } else if kind == Attestation::None && !self.preferences.accept_unattested {
            Err(Unfit::Unattested)
        } else {
            Ok(())
        }
    }

    /// The first resource that costs more than the manifest allows. A bound finer than the
    /// token's decimals cannot be met.
    fn too_dear(self, tariff: &Tariff, token: &Token) -> Option<Resource> {
        let allowed = |resource: Resource, highest: &Decimal| {
            Tariff::parse_price(resource, highest.as_str(), token.decimals)
                .is_ok_and(|bound| tariff[resource] <= bound)
        };
        let mut bounds = self.constraints.highest.iter();
        bounds.find(|(resource, highest)| !allowed(**resource, highest)).map(|(resource, _)| *resource)
    }
}

/// What a provider answers must be what it registered, or better, for the chain that is used here.
pub(crate) fn check_offer(offering: &Offering, offer: &Offer, chain: &dyn Chain) -> Result<(), Unfit> {
    let dearer = offer.terms.tariff.0.iter().zip(offering.tariff.0).any(|(asked, listed)| *asked > listed);
    if offer.chain != chain.id() {
        Err(Unfit::OtherWorld("chain"))
    } else if offer.payment != chain.payment() {
        Err(Unfit::OtherWorld("Payment contract"))
    } else if offer.provider != offering.provider {
        Err(Unfit::Contradiction("account"))
    } else if offer.token != offering.token {
        Err(Unfit::Contradiction("token"))
    } else if dearer {
        Err(Unfit::Contradiction("price"))
    } else if offer.least_runway > Publisher::MAX_LOCKED {
        Err(Unfit::Demanding { what: "a runway", seconds: offer.least_runway })
    } else if offer.least_unlock_delay > Publisher::MAX_LOCKED {
        Err(Unfit::Demanding { what: "an unlock delay", seconds: offer.least_unlock_delay })
    } else {
        Ok(())
    }
}
