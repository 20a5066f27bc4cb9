use crate::{args::Pod, failure::Failure, printer::Printer, settings::Settings, world};
use apocryph_model::{Name, Resource, TransactionId, Usage};
use apocryph_publisher::{ClaimCheck, Comparison, Money, Token, Verdict};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

pub(super) async fn run(args: Pod, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    let comparison = publisher.usage(&args.name).await?;
    printer.result("usage", &View::of(args.name, &comparison))?;
    if comparison.agrees() { Ok(()) } else { Err(Failure::Disagreement) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    name: Name,
    agrees: bool,
    /// How many records the ledger holds.
    records: u64,
    /// Where the ledger's hash chain breaks.
    broken: Option<String>,
    /// What was used, by epoch and resource, in the resource's smallest unit.
    epochs: BTreeMap<u32, BTreeMap<Resource, u64>>,
    claims: Vec<Claim>,
    /// Whether the claims come to what the channel says.
    complete: Option<bool>,
    paid: Money,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    epoch: u32,
    time: u64,
    transaction: TransactionId,
    paid: Money,
    total: Money,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip)]
    text: String,
}

impl Claim {
    fn of(check: &ClaimCheck, token: &Token) -> Self {
        let ClaimCheck { claim, verdict } = check;
        let text = match verdict {
            Verdict::Agrees => "agrees".into(),
            Verdict::Less(due) => format!("less than the {} that were due", token.money(*due)),
            Verdict::TooMuch(due) => format!("TOO MUCH: {} were due", token.money(*due)),
            Verdict::NotInLedger => "NOT IN THE LEDGER: such usage was never recorded".into(),
            Verdict::Uneven => "UNEVEN: it does not follow from the total before".into(),
            Verdict::Unpriced => "in the ledger; the prices of that epoch are not remembered here".into(),
        };
        Self {
            epoch: claim.epoch,
            time: claim.time,
            transaction: claim.transaction,
            paid: token.money(claim.paid),
            total: token.money(claim.total),
            verdict: *verdict,
            text,
        }
    }
}

impl View {
    fn of(name: Name, comparison: &Comparison) -> Self {
        let token = &comparison.token;
        let used = |usage: &Usage| Resource::ALL.into_iter().map(|r| (r, usage[r])).collect();
        Self {
            name,
            agrees: comparison.agrees(),
            records: comparison.records,
            broken: comparison.broken.map(|broken| broken.to_string()),
            epochs: comparison.totals.iter().map(|(epoch, usage)| (*epoch, used(usage))).collect(),
            claims: comparison.claims.iter().map(|check| Claim::of(check, token)).collect(),
            complete: comparison.complete,
            paid: token.money(comparison.paid()),
        }
    }
}

/// An amount in the unit that people price, to three decimals.
fn priced(resource: Resource, units: u64) -> String {
    let thousandths = u128::from(units) * 1000 / u128::from(resource.units_per_priced());
    format!("{}.{:03} {}", thousandths / 1000, thousandths % 1000, resource.priced_as())
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} records in the provider's ledger", self.name, self.records)?;
        if let Some(broken) = &self.broken {
            writeln!(f, "  BROKEN: {broken}")?;
        }
        for (epoch, usage) in &self.epochs {
            writeln!(f, "  used in epoch {epoch}")?;
            for (resource, units) in usage.iter().filter(|(_, units)| **units > 0) {
                writeln!(f, "    {} ({units} units)", priced(*resource, *units))?;
            }
        }
        for claim in &self.claims {
            let Claim { epoch, paid, total, transaction, text, .. } = claim;
            writeln!(f, "  claim in epoch {epoch}: {paid}, {total} in all: {text} ({transaction})")?;
        }
        if self.complete == Some(false) {
            writeln!(f, "  INCOMPLETE: the channel says that another sum was claimed")?;
        }
        let verdict = if self.agrees { "ledger and claims agree" } else { "ledger and claims DO NOT AGREE" };
        write!(f, "{verdict}; {} paid in {} claims", self.paid, self.claims.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_shown_as_it_is_priced() {
        assert_eq!(priced(Resource::CpuUsed, 5_400_000_000), "1.500 core-hour used");
        assert_eq!(priced(Resource::Egress, 1 << 20), "0.000 GiB out");
        assert_eq!(priced(Resource::Memory, u64::MAX), "5003999585.967 GiB-hour of memory");
    }
}
