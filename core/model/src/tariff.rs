//! What usage costs: the arithmetic of the Payment contract, bit for bit.

use crate::{Amount, ParseAmountError, Price, Resource, Usage};
use serde::{Deserialize, Serialize};
use std::ops::Index;

/// The price of every resource, in the contracts' order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tariff(pub [Price; 8]);

impl Index<Resource> for Tariff {
    type Output = Price;
    fn index(&self, resource: Resource) -> &Price {
        &self.0[resource as usize]
    }
}

impl Tariff {
    /// Prices are in 10^-18 of the token's smallest unit.
    const SCALE: u64 = 1_000_000_000_000_000_000;

    /// What `usage` costs, rounded down once; the largest amount where it would be larger.
    pub fn owed(&self, usage: &Usage) -> Amount {
        let mut sum = [0u64; 4];
        for (price, units) in self.0.iter().zip(usage.0) {
            add(&mut sum, wide_mul(price.0, units));
        }
        Amount(div(sum, Self::SCALE))
    }

    /// Reads a price as people write it, per core-hour, GiB-hour, GiB, device-hour or
    /// address-hour, of a token with `decimals` decimals. Rounded down.
    pub fn parse_price(resource: Resource, text: &str, decimals: u8) -> Result<Price, ParseAmountError> {
        let scaled = Amount::parse(text, decimals.saturating_add(18))?;
        Ok(Price(scaled.0 / u128::from(resource.units_per_priced())))
    }

    /// What one core-hour, GiB-hour, GiB, device-hour or address-hour costs, rounded to the
    /// nearest smallest unit.
    pub fn per_priced(&self, resource: Resource) -> Amount {
        let mut total = [0; 4];
        add(&mut total, wide_mul(self[resource].0, resource.units_per_priced()));
        add(&mut total, [Self::SCALE / 2, 0, 0, 0]);
        Amount(div(total, Self::SCALE))
    }
}

/// The 192-bit product in 64-bit limbs, least significant first.
fn wide_mul(price: u128, units: u64) -> [u64; 4] {
    let low = (price & u128::from(u64::MAX)) * u128::from(units);
    let high = (price >> 64) * u128::from(units) + (low >> 64);
    [low as u64, high as u64, (high >> 64) as u64, 0]
}

/// Adds in place. Eight products of 192 bits never pass 256 bits.
fn add(sum: &mut [u64; 4], other: [u64; 4]) {
    let mut carry = 0;
    for (limb, more) in sum.iter_mut().zip(other) {
        let total = u128::from(*limb) + u128::from(more) + carry;
        *limb = total as u64;
        carry = total >> 64;
    }
}

/// The quotient, rounded down, saturating at 2^128-1.
fn div(mut value: [u64; 4], divisor: u64) -> u128 {
    let mut rest = 0u128;
    for limb in value.iter_mut().rev() {
        let part = (rest << 64) | u128::from(*limb);
        *limb = (part / u128::from(divisor)) as u64;
        rest = part % u128::from(divisor);
    }
    let [a, b, c, d] = value;
    if c != 0 || d != 0 { u128::MAX } else { u128::from(b) << 64 | u128::from(a) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_core_hour_costs_its_price() {
        let price = Tariff::parse_price(Resource::CpuUsed, "0.04", 18).unwrap();
        let mut tariff = Tariff::default();
        tariff.0[Resource::CpuUsed as usize] = price;
        let mut usage = Usage::default();
        usage[Resource::CpuUsed] = 3_600_000_000;
        // The price is rounded down to 10^-18 of a unit, so an hour falls short by one unit.
        assert_eq!(tariff.owed(&usage), Amount(39_999_999_999_999_999));
        assert_eq!(tariff.per_priced(Resource::CpuUsed), Amount(40_000_000_000_000_000));
    }

    #[test]
    fn the_extremes_saturate() {
        let tariff = Tariff([Price(u128::MAX); 8]);
        assert_eq!(tariff.owed(&Usage([u64::MAX; 8])), Amount(u128::MAX));
        assert_eq!(Tariff::default().owed(&Usage([u64::MAX; 8])), Amount(0));
    }

    proptest! {
        #[test]
        fn owed_is_the_rounded_down_sum(prices: [u64; 8], units: [u32; 8]) {
            let exact: u128 = prices.iter().zip(units).map(|(p, u)| u128::from(*p) * u128::from(u)).sum();
            let tariff = Tariff(prices.map(|p| Price(u128::from(p))));
            let owed = tariff.owed(&Usage(units.map(u64::from)));
            prop_assert_eq!(owed.0, exact / 1_000_000_000_000_000_000);
        }

        #[test]
        fn more_usage_never_costs_less(prices: [u128; 8], usage: [u64; 8], more: [u64; 8]) {
            let tariff = Tariff(prices.map(Price));
            let before = Usage(usage);
            prop_assert!(tariff.owed(&before.saturating_add(Usage(more))) >= tariff.owed(&before));
        }

        #[test]
        fn division_undoes_multiplication(price: u128, units in 1u64..) {
            prop_assert_eq!(div(wide_mul(price, units), units), price);
        }
    }
}
