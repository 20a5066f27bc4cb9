//! A payment channel as the Payment contract holds it.

use crate::{Address, Amount, ChannelId, Hash32, PodId, Rate, Tariff, Usage, keccak256};
use serde::{Deserialize, Serialize};

/// What a channel's claims are priced by, fixed for its epoch. The contract stores only its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// The price of each resource.
    pub tariff: Tariff,
    /// The key that must sign usage, or [`Address::ZERO`] for none.
    pub meter_key: Address,
    /// Where the provider is paid.
    pub payout: Address,
}

impl Terms {
    /// What a channel in `token` stores of its terms, bound to who claims by them: Keccak-256 of
    /// `abi.encode(address provider, (address token, uint256[4] prices, address meterKey, address
    /// payout))`, with two prices in a word, the lower bits first.
    pub fn hash(&self, provider: Address, token: Address) -> Hash32 {
        let mut encoded = [0u8; 256];
        let (words, _) = encoded.as_chunks_mut::<32>();
        for (word, address) in [(0, provider), (1, token), (6, self.meter_key), (7, self.payout)] {
            words[word][12..].copy_from_slice(&address.0);
        }
        for (word, pair) in words[2..6].iter_mut().zip(self.tariff.0.chunks_exact(2)) {
            word[16..].copy_from_slice(&pair[0].0.to_be_bytes());
            word[..16].copy_from_slice(&pair[1].0.to_be_bytes());
        }
        Hash32(keccak256(&[&encoded]))
    }
}

/// The state of one channel that is open.
///
/// ```text
///   (none) --open--> Open --unlock--> Unlocking --unlock_at passes--> Unlocked --withdraw--> (none)
///     ^                ^  <--cancel--     |                                                    |
///     |                '--claim, top_up---'                            next open: epoch + 1    |
///     '--------------------settleAndClose, close-----------------------------------------------'
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Who deposits.
    pub publisher: Address,
    /// Who claims.
    pub provider: Address,
    /// What it pays for.
    pub pod: PodId,
    /// The token that it holds.
    pub token: Address,
    /// All that was paid in within this epoch.
    pub deposited: Amount,
    /// All that was claimed within this epoch.
    pub claimed: Amount,
    /// The most that can be owed over time.
    pub max_rate: Rate,
    /// When this epoch began, in seconds since the Unix epoch.
    pub opened_at: u64,
    /// From when the publisher may withdraw, where an unlock is under way.
    pub unlock_at: Option<u64>,
    /// How long an unlock takes, in seconds.
    pub unlock_delay: u64,
    /// Counts the openings; nothing of an older epoch is worth anything in this one.
    pub epoch: u32,
    /// The hash of the [`Terms`].
    pub terms: Hash32,
}

impl Channel {
    /// The channel's id.
    pub fn id(&self) -> ChannelId {
        ChannelId::of(self.publisher, self.provider, self.pod)
    }

    /// What has not been claimed.
    pub fn balance(&self) -> Amount {
        self.deposited.saturating_sub(self.claimed)
    }

    /// The most that can have been earned by `now` (seconds since the Unix epoch).
    pub fn cap(&self, now: u64) -> Amount {
        let end = self.unlock_at.map_or(now, |unlock| now.min(unlock));
        self.max_rate.over(end.saturating_sub(self.opened_at))
    }

    /// What a claim of `usage` under `tariff` at `now` would pay.
    pub fn claimable(&self, tariff: &Tariff, usage: &Usage, now: u64) -> Amount {
        let total = tariff.owed(usage).min(self.cap(now)).min(self.deposited);
        total.saturating_sub(self.claimed)
    }

    /// Whether the publisher may withdraw at `now`.
    pub fn unlocked(&self, now: u64) -> bool {
        self.unlock_at.is_some_and(|unlock| unlock <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Price;

    fn channel() -> Channel {
        Channel {
            publisher: Address([1; 20]),
            provider: Address([2; 20]),
            pod: PodId([3; 32]),
            token: Address([4; 20]),
            deposited: Amount(1_000),
            claimed: Amount(100),
            max_rate: Rate(10_000_000_000),
            opened_at: 1_000,
            unlock_at: None,
            unlock_delay: 60,
            epoch: 1,
            terms: Hash32([0; 32]),
        }
    }

    #[test]
    fn a_claim_is_bounded_by_usage_time_and_deposit() {
        let channel = channel();
        let mut tariff = Tariff::default();
        tariff.0[0] = Price(1_000_000_000_000_000_000);
        let used = |units| Usage([units, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(channel.claimable(&tariff, &used(150), 1_100), Amount(50));
        assert_eq!(channel.claimable(&tariff, &used(500), 1_020), Amount(100));
        assert_eq!(channel.claimable(&tariff, &used(9_000), 9_000), Amount(900));
        assert_eq!(channel.claimable(&tariff, &used(50), 9_000), Amount(0));
    }

    #[test]
    fn an_unlock_ends_the_growth_of_the_cap() {
        let channel = Channel { unlock_at: Some(1_010), ..channel() };
        assert_eq!(channel.cap(5_000), Amount(100));
        assert!(channel.unlocked(1_010) && !channel.unlocked(1_009));
    }
}
