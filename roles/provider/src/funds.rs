//! What a channel's state means for its pod.
//!
//! ```text
//!   not open, another epoch, unlocking --> Ended       the pod is evicted
//!   what is owed reaches the deposit   --> OutOfFunds  the pod is kept at zero for the grace
//!   else                               --> Serve
//! ```

use apocryph_ledger::Pod;
use apocryph_model::{Amount, Channel, Fault, Usage, Who};

/// What is to become of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
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
