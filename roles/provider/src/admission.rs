//! Whether a channel and a pod are such that the provider takes them.

use crate::Settings;
use apocryph_ledger::Pod;
use apocryph_model::{Address, Amount, Channel, Fault, PodId, PodSpec, ProvisionRequest, Terms, Who};
use std::collections::BTreeSet;

/// What is known when a channel is judged.
pub(crate) struct Judged<'a> {
    pub(crate) channel: &'a Channel,
    /// What the request says the channel is priced by.
    pub(crate) terms: &'a Terms,
    /// The pod that is there in the same epoch, which the request would update.
    pub(crate) earlier: Option<&'a Pod>,
    /// What was used so far is worth this, claimed or not.
    pub(crate) owed: Amount,
}

/// Refuses a channel that does not pay, by what it holds and says.
pub(crate) fn check_channel(judged: &Judged<'_>, account: Address, settings: &Settings) -> Result<(), Fault> {
    let channel = judged.channel;
    if channel.unlock_at.is_some() {
        return refuse(
            "channel-unlocking",
            "the channel is being unlocked: cancel the unlock or wait for its end and open it anew",
        );
    }
    if channel.token != settings.token {
        return refuse(
            "wrong-token",
            format!(
                "the channel holds {}, this provider takes {}: open it in that token",
                channel.token, settings.token
            ),
        );
    }
    if channel.terms != judged.terms.hash(account, channel.token) {
        return refuse(
            "wrong-terms",
            "the terms are not those that the channel was opened with: ask for an offer and open it anew",
        );
    }
    if channel.unlock_delay < settings.least_unlock_delay {
        return refuse(
            "unlock-delay-too-short",
            format!(
                "the channel unlocks in {} s, at least {} s are asked: open it anew",
                channel.unlock_delay, settings.least_unlock_delay
            ),
        );
    }
    check_terms(judged, settings)?;
    check_runway(judged, settings)
}

/// A price change never touches an open channel that is in use; a new pod pays the prices of now.
fn check_terms(judged: &Judged<'_>, settings: &Settings) -> Result<(), Fault> {
    if judged.earlier.is_some_and(|earlier| earlier.terms == *judged.terms) {
        return Ok(());
    }
    let (offered, asked) = (judged.terms, &settings.terms);
    let enough = offered.tariff.0.iter().zip(asked.tariff.0).all(|(offered, asked)| *offered >= asked);
    if !enough || offered.payout != asked.payout || offered.meter_key != asked.meter_key {
        return refuse(
            "terms-changed",
            "the channel's prices are not what this provider asks now: withdraw, ask for an offer and open it anew",
        );
    }
    Ok(())
}

/// A new pod's deposit lasts for the agreed time at the channel's full rate; an updated one has
/// something left.
fn check_runway(judged: &Judged<'_>, settings: &Settings) -> Result<(), Fault> {
    let spent = judged.owed.max(judged.channel.claimed);
    let left = judged.channel.deposited.saturating_sub(spent);
    let least = if judged.earlier.is_some() { 1 } else { settings.least_runway };
    match judged.channel.max_rate.lasts(left) {
        Some(lasts) if lasts < least => refuse(
            "channel-too-small",
            format!(
                "what is left in the channel lasts {lasts} s at its full rate, at least {least} s are asked: fund it"
            ),
        ),
        _ => Ok(()),
    }
}

/// Refuses a pod that the channel does not fully pay for. The channel's rate must cover what the
/// pod reserves at its most replicas, as requests of anyone may scale it there; traffic is the
/// publisher's to allow for.
pub(crate) fn check_spec(
    spec: &PodSpec,
    pod: PodId,
    channel: &Channel,
    request: &ProvisionRequest,
) -> Result<(), Fault> {
    if PodId::of(&spec.name) != pod {
        return refuse(
            "wrong-pod",
            format!(
                "the specification is of the pod {}, not of the one that the channel pays for",
                spec.name
            ),
        );
    }
    let needed = spec.rate(&request.terms.tariff, spec.scale.max, 0);
    if channel.max_rate < needed {
        return refuse(
            "rate-too-low",
            format!(
                "the channel pays at most {} per second (in 10^-9 of the token's smallest unit), {} replicas need {needed}: open it anew or ask for less",
                channel.max_rate, spec.scale.max
            ),
        );
    }
    let sent: BTreeSet<_> = request.blobs.iter().map(|blob| blob.digest).collect();
    match spec.containers.iter().find(|container| !sent.contains(&container.image)) {
        Some(container) => refuse(
            "image-missing",
            format!("the image of container {} is not among the blobs", container.name),
        ),
        None => Ok(()),
    }
}

/// The bytes of all blobs together, each counted once.
pub(crate) fn check_size(request: &ProvisionRequest, settings: &Settings) -> Result<u64, Fault> {
    let allowed = settings.limits.pod_bytes;
    if request.blobs.len() > ProvisionRequest::MAX_BLOBS {
        return refuse(
            "too-many-blobs",
            format!("{} blobs, at most {} are allowed", request.blobs.len(), ProvisionRequest::MAX_BLOBS),
        );
    }
    if request.spec.size > MAX_SPEC {
        return refuse(
            "spec-too-large",
            format!(
                "the sealed specification has {} bytes, at most {MAX_SPEC} are allowed",
                request.spec.size
            ),
        );
    }
    let sizes: std::collections::BTreeMap<_, _> =
        request.blobs.iter().map(|blob| (blob.digest, blob.size)).collect();
    let total = sizes.values().try_fold(request.spec.size, |sum, size| sum.checked_add(*size));
    match total {
        Some(total) if total <= allowed => Ok(total),
        _ => refuse(
            "pod-too-large",
            format!(
                "the pod's images have more than {allowed} bytes, which is what this provider allows: make them smaller"
            ),
        ),
    }
}

/// The largest sealed specification, in bytes.
pub(crate) const MAX_SPEC: u64 = (PodSpec::MAX_JSON + apocryph_seal::ENVELOPE_OVERHEAD) as u64;

/// That there is no such channel, as far as the chain says.
pub(crate) fn not_open() -> Fault {
    Fault::passing(
        Who::Publisher,
        Fault::CHANNEL_NOT_OPEN,
        "there is no open channel for this pod as far as the provider sees: open it, or try again once its transaction has enough confirmations",
    )
}

fn refuse<T>(code: &str, text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::lasting(Who::Publisher, code, text))
}
