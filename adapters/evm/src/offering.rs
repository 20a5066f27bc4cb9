//! A provider's entry in the Registry, to and from the model.

use crate::abi::IRegistry;
use crate::packing;
use alloy::primitives::{Address, B256};
use apocryph_model::{Attestation, Hash32, Offering, PeerAddress, Region};

/// The entry for an offering, with the Payment contract that it is for.
pub(crate) fn entry(offering: &Offering, payment: Address) -> IRegistry::Entry {
    IRegistry::Entry {
        name: offering.name.clone(),
        regions: offering.regions.iter().map(ToString::to_string).collect(),
        addresses: offering.addresses.iter().map(ToString::to_string).collect(),
        offers: vec![IRegistry::Offer {
            token: Address::from(offering.token.0),
            prices: packing::prices(&offering.tariff),
        }],
        payment,
        payout: Address::from(offering.payout.0),
        attestation: Attestation::ALL.iter().position(|kind| *kind == offering.attestation).unwrap_or(0)
            as u8,
        description: B256::from(offering.description.0),
    }
}

/// The offerings of an entry, one for each token that the provider takes; none where the entry
/// is for another Payment contract, or is not understood.
pub(crate) fn offerings(provider: Address, entry: &IRegistry::Entry, payment: Address) -> Vec<Offering> {
    if entry.payment != payment {
        return Vec::new();
    }
    let offerings = entry.offers.iter().map(|offer| read(provider, entry, offer)).collect::<Option<_>>();
    offerings.unwrap_or_else(|| {
        tracing::debug!(%provider, "the provider's entry in the registry is not understood");
        Vec::new()
    })
}

fn read(provider: Address, entry: &IRegistry::Entry, offer: &IRegistry::Offer) -> Option<Offering> {
    let printable = !entry.name.chars().any(char::is_control);
    let regions = entry.regions.iter().map(|text| text.parse::<Region>().ok());
    let addresses = entry.addresses.iter().map(|text| text.parse::<PeerAddress>().ok());
    Some(Offering {
        provider: apocryph_model::Address(provider.into_array()),
        name: Some(entry.name.clone()).filter(|_| printable)?,
        regions: regions.collect::<Option<_>>()?,
        addresses: addresses.collect::<Option<_>>()?,
        tariff: packing::tariff(&offer.prices),
        token: apocryph_model::Address(offer.token.into_array()),
        payout: apocryph_model::Address(entry.payout.into_array()),
        attestation: *Attestation::ALL.get(usize::from(entry.attestation))?,
        description: Hash32(entry.description.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::{Price, Tariff};

    const PAYMENT: Address = Address::repeat_byte(9);
    const PROVIDER: Address = Address::repeat_byte(1);

    fn offering() -> Offering {
        let address = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        Offering {
            provider: apocryph_model::Address([1; 20]),
            name: "Example".into(),
            regions: vec!["eu-west".parse().unwrap()],
            addresses: vec![address.parse().unwrap()],
            tariff: Tariff([1, 2, 3, 4, 5, 6, 7, u128::MAX].map(Price)),
            token: apocryph_model::Address([2; 20]),
            payout: apocryph_model::Address([3; 20]),
            attestation: Attestation::Vtpm,
            description: Hash32([4; 32]),
        }
    }

    #[test]
    fn an_offering_survives_its_entry() {
        assert_eq!(offerings(PROVIDER, &entry(&offering(), PAYMENT), PAYMENT), [offering()]);
    }

    #[test]
    fn each_token_makes_an_offering() {
        let mut entry = entry(&offering(), PAYMENT);
        entry.offers.push(IRegistry::Offer { token: Address::repeat_byte(5), ..entry.offers[0].clone() });
        let tokens: Vec<_> = offerings(PROVIDER, &entry, PAYMENT).iter().map(|o| o.token.0[0]).collect();
        assert_eq!(tokens, [2, 5]);
    }

    #[test]
    fn entries_that_are_for_others_or_not_understood_are_left_out() {
        let good = entry(&offering(), PAYMENT);
        let left_out = |change: fn(&mut IRegistry::Entry)| {
            let mut bad = good.clone();
            change(&mut bad);
            offerings(PROVIDER, &bad, PAYMENT).is_empty()
        };
        assert!(left_out(|e| e.payment = Address::ZERO));
        assert!(left_out(|e| e.name = "a\u{1b}[2J".into()));
        assert!(left_out(|e| e.regions = vec!["EU West".into()]));
        assert!(left_out(|e| e.addresses = vec!["/ip4/192.0.2.1".into()]));
        assert!(left_out(|e| e.attestation = 200));
        assert!(!left_out(|_| ()));
    }
}
