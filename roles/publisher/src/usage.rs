//! `usage`: the provider's ledger beside the chain's claims, all of it recomputed here.

use crate::{Claimed, Deployment, Error, ProviderLink, Publisher, Token};
use apocryph_ledger::{Broken, Verifier};
use apocryph_model::{Amount, Channel, ChannelId, Usage};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The ledger and the claims of one channel, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The token that is paid in.
    pub token: Token,
    /// How many records the ledger holds.
    pub records: u64,
    /// What was used in each epoch, by the records that are genuine.
    pub totals: BTreeMap<u32, Usage>,
    /// Where the ledger's hash chain breaks, if it does.
    pub broken: Option<Broken>,
    /// Every claim, oldest first.
    pub claims: Vec<ClaimCheck>,
    /// Whether the claims come to what the channel says was claimed; `None` where it is closed.
    pub complete: Option<bool>,
}

/// A claim, and what recomputing it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimCheck {
    /// As the chain recorded it.
    pub claim: Claimed,
    /// Whether it is right.
    pub verdict: Verdict,
}

/// Whether a claim is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "verdict", content = "expected")]
pub enum Verdict {
    /// The usage is what the ledger held at some moment and the total is its price, to the unit.
    Agrees,
    /// Less was paid than this, which is the price: the deposit was smaller then.
    Less(Amount),
    /// More was paid than this, which is the price.
    TooMuch(Amount),
    /// The ledger never held that usage.
    NotInLedger,
    /// What was paid is not the difference between this total and the one before.
    Uneven,
    /// The terms of that epoch are not remembered; its usage is in the ledger.
    Unpriced,
}

impl Verdict {
    /// Whether the publisher has no reason to complain.
    pub fn holds(self) -> bool {
        matches!(self, Self::Agrees | Self::Less(_) | Self::Unpriced)
    }
}

impl Comparison {
    /// Whether ledger and chain agree.
    pub fn agrees(&self) -> bool {
        self.broken.is_none() && self.complete != Some(false) && self.claims.iter().all(|c| c.verdict.holds())
    }

    /// All that the claims paid.
    pub fn paid(&self) -> Amount {
        self.claims.iter().fold(Amount::ZERO, |sum, c| sum.saturating_add(c.claim.paid))
    }
}

/// What was found in the ledger.
struct Ledger {
    verifier: Verifier,
    broken: Option<Broken>,
    /// The claims' usages that the ledger held at some moment.
    held: BTreeSet<(u32, [u64; 8])>,
}

impl Publisher {
    /// Reads the ledger and the claims and compares them.
    #[tracing::instrument(skip_all)]
    pub async fn usage(&self, name: &apocryph_model::Name) -> Result<Comparison, Error> {
        let deployment = self.deployment(name)?;
        let id = deployment.channel();
        let claims = self.chain.claims(id).await?;
        let channel = self.chain.channel(id).await?;
        let token = self.chain.token(deployment.token).await?;
        let link = self.reach(&deployment).await?;
        let ledger = read_ledger(&*link, id, &claims).await?;
        Ok(compare(&deployment, token, channel.as_ref(), claims, ledger))
    }
}

/// Streams the ledger through the verifier; nothing of it is kept but sums.
async fn read_ledger(link: &dyn ProviderLink, id: ChannelId, claims: &[Claimed]) -> Result<Ledger, Error> {
    let wanted: BTreeSet<_> = claims.iter().map(|c| (c.epoch, c.usage.0)).collect();
    let mut ledger = Ledger { verifier: Verifier::new(id), broken: None, held: BTreeSet::new() };
    // A claim of nothing needs no record.
    ledger.held.extend(wanted.iter().filter(|(_, usage)| *usage == [0; 8]));
    loop {
        let page = link.usage(id, ledger.verifier.next_sequence()).await?;
        if page.is_empty() {
            return Ok(ledger);
        }
        for record in &page {
            match ledger.verifier.push(record) {
                Ok(total) => ledger.held.extend(wanted.get(&(record.epoch, total.0))),
                Err(broken) => return Ok(Ledger { broken: Some(broken), ..ledger }),
            }
        }
    }
}

fn compare(
    deployment: &Deployment,
    token: Token,
    channel: Option<&Channel>,
    claims: Vec<Claimed>,
    ledger: Ledger,
) -> Comparison {
    let complete = channel.map(|channel| {
        let paid = claims.iter().filter(|c| c.epoch == channel.epoch).map(|c| c.paid);
        paid.fold(Amount::ZERO, Amount::saturating_add) == channel.claimed
    });
    let mut before: BTreeMap<u32, Amount> = BTreeMap::new();
    let mut checks = Vec::with_capacity(claims.len());
    for claim in claims {
        let earlier = before.insert(claim.epoch, claim.total).unwrap_or_default();
        let held = ledger.held.contains(&(claim.epoch, claim.usage.0));
        let verdict = judge(deployment, channel, &claim, earlier, held);
        checks.push(ClaimCheck { claim, verdict });
    }
    Comparison {
        token,
        records: ledger.verifier.next_sequence(),
        totals: ledger.verifier.totals().clone(),
        broken: ledger.broken,
        claims: checks,
        complete,
    }
}

fn judge(
    deployment: &Deployment,
    channel: Option<&Channel>,
    claim: &Claimed,
    earlier: Amount,
    held: bool,
) -> Verdict {
    if earlier.saturating_add(claim.paid) != claim.total {
        return Verdict::Uneven;
    }
    if !held {
        return Verdict::NotInLedger;
    }
    if deployment.epoch != Some(claim.epoch) {
        return Verdict::Unpriced;
    }
    let owed = deployment.terms.tariff.owed(&claim.usage);
    let due = match channel.filter(|channel| channel.epoch == claim.epoch) {
        Some(channel) => owed.min(channel.cap(claim.time)).min(channel.deposited),
        None => owed,
    };
    match claim.total.cmp(&due) {
        std::cmp::Ordering::Equal => Verdict::Agrees,
        std::cmp::Ordering::Less => Verdict::Less(due),
        std::cmp::Ordering::Greater => Verdict::TooMuch(due),
    }
}
