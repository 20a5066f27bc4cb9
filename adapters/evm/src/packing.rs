//! The model's values in the words of the contracts: prices two in a word, usage four in a word,
//! the lowest bits first.

use crate::abi::IPayment;
use alloy::primitives::{Address, U256};
use apocryph_model::{Price, Tariff, Terms, Usage};

pub(crate) fn prices(tariff: &Tariff) -> [U256; 4] {
    std::array::from_fn(|word| {
        let [low, high] = [0, 1].map(|half| U256::from(tariff.0[2 * word + half].0));
        low | (high << 128)
    })
}

pub(crate) fn tariff(words: &[U256; 4]) -> Tariff {
    Tariff(std::array::from_fn(|i| {
        let half: U256 = words[i / 2] >> (128 * (i % 2));
        let limbs = half.as_limbs();
        Price(u128::from(limbs[0]) | u128::from(limbs[1]) << 64)
    }))
}

pub(crate) fn usage_words(usage: &Usage) -> [U256; 2] {
    let [a, b, c, d, e, f, g, h] = usage.0;
    [U256::from_limbs([a, b, c, d]), U256::from_limbs([e, f, g, h])]
}

pub(crate) fn usage(words: &[U256; 2]) -> Usage {
    Usage(std::array::from_fn(|i| words[i / 4].as_limbs()[i % 4]))
}

pub(crate) fn terms(token: apocryph_model::Address, terms: &Terms) -> IPayment::Terms {
    IPayment::Terms {
        token: Address::from(token.0),
        prices: prices(&terms.tariff),
        meterKey: Address::from(terms.meter_key.0),
        payout: Address::from(terms.payout.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::sol_types::SolValue;
    use apocryph_model::keccak256;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(prices_in: [u128; 8], units: [u64; 8]) {
            let before = Tariff(prices_in.map(Price));
            prop_assert_eq!(tariff(&prices(&before)), before);
            prop_assert_eq!(usage(&usage_words(&Usage(units))), Usage(units));
        }

        #[test]
        fn the_models_hash_of_terms_is_that_of_their_encoding(
            prices_in: [u128; 8], token: [u8; 20], provider: [u8; 20], payout: [u8; 20]
        ) {
            let model = Terms {
                tariff: Tariff(prices_in.map(Price)),
                meter_key: apocryph_model::Address([9; 20]),
                payout: apocryph_model::Address(payout),
            };
            let token = apocryph_model::Address(token);
            let encoded = (Address::from(provider), terms(token, &model)).abi_encode();
            let hash = model.hash(apocryph_model::Address(provider), token);
            prop_assert_eq!(hash.0, keccak256(&[&encoded]));
        }
    }
}
