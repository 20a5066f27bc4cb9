//! What a channel's state means for its pod.
//!
//! ```text
//!   no answer, or not sure yet         --> Unknown     the pod stays as it is
//!   not open, another epoch, unlocking --> Ended       the pod is evicted
//!   what is owed reaches the deposit   --> OutOfFunds  the pod is kept at zero for the grace
//!   else                               --> Serve
//! ```

use apocryph_ledger::Pod;
use apocryph_model::{Amount, Channel, Fault, Usage, Who};

/// What is to become of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Unknown,
    Serve,
    OutOfFunds,
    Ended(Fault),
}

/// Judges by what the chain says, which is never an error, and by what was measured.
pub(crate) fn verdict(pod: &Pod, channel: Option<&Channel>, used: &Usage) -> Verdict {
    let Some(channel) = channel else {
        return ended("channel-closed", "the channel that pays for the pod was closed");
    };
    if channel.epoch != pod.epoch {
        return ended("channel-reopened", "the channel was closed and opened anew: deploy the pod again");
    }
    if channel.unlock_at.is_some() {
        return ended("channel-unlocking", "the channel is being unlocked: no more is paid for the pod");
    }
    if pod.terms.tariff.owed(used) >= channel.deposited {
        return Verdict::OutOfFunds;
    }
    Verdict::Serve
}

/// Why a pod that stayed out of funds is evicted.
pub(crate) fn out_of_funds() -> Fault {
    let text =
        "out of funds: the pod used up its channel and was removed; fund the channel and deploy it again";
    Fault::lasting(Who::Publisher, "out-of-funds", text)
}

/// What is left of the deposit once everything that was used is paid.
pub(crate) fn left(pod: &Pod, channel: &Channel, used: &Usage) -> Amount {
    channel.deposited.saturating_sub(pod.terms.tariff.owed(used).max(channel.claimed))
}

fn ended(code: &str, text: &str) -> Verdict {
    Verdict::Ended(Fault::lasting(Who::Publisher, code, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_ledger::PodState;
    use apocryph_model::{Address, Bytes, ChannelId, Digest, Hash32, PodId, Price, Rate, Tariff, Terms};

    fn pod() -> Pod {
        let tariff = Tariff([Price(1_000_000_000_000_000_000); 8]);
        Pod {
            channel: ChannelId([1; 32]),
            publisher: Address([2; 20]),
            pod: PodId([3; 32]),
            epoch: 1,
            terms: Terms { tariff, meter_key: Address::ZERO, payout: Address([4; 20]) },
            state: PodState::Live,
            settled: false,
            spec: Digest([5; 32]),
            blobs: Vec::new(),
            persistent: Bytes(0),
            endpoints: Vec::new(),
            sealed: Vec::new(),
        }
    }

    fn channel() -> Channel {
        Channel {
            publisher: Address([2; 20]),
            provider: Address([6; 20]),
            pod: PodId([3; 32]),
            token: Address([7; 20]),
            deposited: Amount(100),
            claimed: Amount(30),
            max_rate: Rate(1),
            opened_at: 0,
            unlock_at: None,
            unlock_delay: 60,
            epoch: 1,
            terms: Hash32([0; 32]),
        }
    }

    fn used(units: u64) -> Usage {
        Usage([units, 0, 0, 0, 0, 0, 0, 0])
    }

    #[test]
    fn the_last_unit_of_the_deposit_is_served_for() {
        assert_eq!(verdict(&pod(), Some(&channel()), &used(99)), Verdict::Serve);
        assert_eq!(verdict(&pod(), Some(&channel()), &used(100)), Verdict::OutOfFunds);
        assert_eq!(left(&pod(), &channel(), &used(99)), Amount(1));
        assert_eq!(left(&pod(), &channel(), &used(10)), Amount(70));
    }

    #[test]
    fn a_channel_that_has_ended_says_why() {
        let code = |channel: Option<Channel>| match verdict(&pod(), channel.as_ref(), &used(0)) {
            Verdict::Ended(fault) => fault.code,
            other => format!("{other:?}"),
        };
        assert_eq!(code(None), "channel-closed");
        assert_eq!(code(Some(Channel { epoch: 2, ..channel() })), "channel-reopened");
        assert_eq!(code(Some(Channel { unlock_at: Some(9), ..channel() })), "channel-unlocking");
    }
}
