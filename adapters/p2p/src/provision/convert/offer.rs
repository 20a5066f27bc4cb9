//! Offers and prices.

use super::{Malformed, address, big_endian, bytes, integer, required};
use crate::provision::wire;
use apocryph_model::{Attestation, Offer, Price, Tariff, Terms};

impl TryFrom<wire::Terms> for Terms {
    type Error = Malformed;

    fn try_from(wire: wire::Terms) -> Result<Self, Malformed> {
        let prices = wire.prices.iter().map(|price| integer(price, "terms.prices").map(Price));
        let prices: Vec<_> = prices.collect::<Result<_, _>>()?;
        Ok(Self {
            tariff: Tariff(prices.try_into().map_err(|_| Malformed("terms.prices"))?),
            meter_key: address(&wire.meter_key, "terms.meter_key")?,
            payout: address(&wire.payout, "terms.payout")?,
        })
    }
}

impl From<&Terms> for wire::Terms {
    fn from(terms: &Terms) -> Self {
        Self {
            prices: terms.tariff.0.iter().map(|price| big_endian(price.0)).collect(),
            meter_key: bytes(terms.meter_key),
            payout: bytes(terms.payout),
        }
    }
}

impl From<Attestation> for wire::Attestation {
    fn from(attestation: Attestation) -> Self {
        match attestation {
            Attestation::None => Self::None,
            Attestation::SevSnp => Self::SevSnp,
            Attestation::Tdx => Self::Tdx,
            Attestation::Vtpm => Self::Vtpm,
        }
    }
}

impl From<wire::Attestation> for Attestation {
    fn from(wire: wire::Attestation) -> Self {
        match wire {
            wire::Attestation::None => Self::None,
            wire::Attestation::SevSnp => Self::SevSnp,
            wire::Attestation::Tdx => Self::Tdx,
            wire::Attestation::Vtpm => Self::Vtpm,
        }
    }
}

impl TryFrom<wire::OfferReply> for Offer {
    type Error = Malformed;

    fn try_from(wire: wire::OfferReply) -> Result<Self, Malformed> {
        let attestation = wire::Attestation::try_from(wire.attestation);
        Ok(Self {
            chain: wire.chain,
            payment: address(&wire.payment, "payment")?,
            provider: address(&wire.provider, "provider")?,
            token: address(&wire.token, "token")?,
            terms: required(wire.terms, "terms")?.try_into()?,
            least_runway: wire.least_runway,
            least_unlock_delay: wire.least_unlock_delay,
            attestation: attestation.map_err(|_| Malformed("attestation"))?.into(),
        })
    }
}

impl From<Offer> for wire::OfferReply {
    fn from(offer: Offer) -> Self {
        Self {
            chain: offer.chain,
            payment: bytes(offer.payment),
            provider: bytes(offer.provider),
            token: bytes(offer.token),
            terms: Some((&offer.terms).into()),
            least_runway: offer.least_runway,
            least_unlock_delay: offer.least_unlock_delay,
            attestation: wire::Attestation::from(offer.attestation).into(),
        }
    }
}

/// What evidence is to be bound to.
pub(in crate::provision) fn nonce(request: &wire::AttestRequest) -> Result<[u8; 32], Malformed> {
    super::fixed(&request.nonce, "nonce")
}
