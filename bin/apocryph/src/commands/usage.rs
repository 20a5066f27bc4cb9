use crate::{args::Pod, failure::Failure, printer::Printer, settings::Settings, world};
use apocryph_model::{Name, Resource, TransactionId, Usage};
use apocryph_publisher::{ClaimCheck, Comparison, Money, Token, Verdict};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};
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

impl View {
    /// What was used of each resource, in the unit that people price.
    fn used(&self) -> Table {
        let mut table = plain();
        table.set_header([" EPOCH", "USED", "", "IN SMALLEST UNITS"]);
        for (epoch, usage) in &self.epochs {
            for (resource, units) in usage.iter().filter(|(_, units)| **units > 0) {
                let row = [
                    format!(" {epoch}"),
                    priced(*resource, *units),
                    resource.priced_as().into(),
                    units.to_string(),
                ];
                table.add_row(row);
            }
        }
        align_right(&mut table, &[1, 3]);
        table
    }

    fn claimed(&self) -> Table {
        let mut table = plain();
        table.set_header([" EPOCH", "CLAIM", "IN ALL", "RECOMPUTED", "TRANSACTION"]);
        for claim in &self.claims {
            let Claim { epoch, paid, total, transaction, text, .. } = claim;
            let row = [
                format!(" {epoch}"),
                paid.to_string(),
                total.to_string(),
                text.clone(),
                transaction.to_string(),
            ];
            table.add_row(row);
        }
        align_right(&mut table, &[1, 2]);
        table
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// An amount in the unit that people price, to three decimals; what is less is told as such.
fn priced(resource: Resource, units: u64) -> String {
    let thousandths = u128::from(units) * 1000 / u128::from(resource.units_per_priced());
    match thousandths {
        0 => "< 0.001".into(),
        _ => format!("{}.{:03}", thousandths / 1000, thousandths % 1000),
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} records in the provider's ledger", self.name, self.records)?;
        if let Some(broken) = &self.broken {
            writeln!(f, "  BROKEN: {broken}")?;
        }
        if self.records > 0 {
            writeln!(f, "{}", self.used().trim_fmt())?;
        }
        if !self.claims.is_empty() {
            writeln!(f, "{}", self.claimed().trim_fmt())?;
        }
        if self.complete == Some(false) {
            writeln!(f, "  INCOMPLETE: the channel says that another sum was claimed")?;
        }
        let verdict = if self.agrees { "ledger and claims agree" } else { "ledger and claims DO NOT AGREE" };
        let claims = match self.claims.len() {
            1 => "1 claim".into(),
            n => format!("{n} claims"),
        };
        write!(f, "{verdict}; {} paid in {claims}", self.paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::{Amount, Hash32};

    #[test]
    fn usage_is_shown_as_it_is_priced() {
        assert_eq!(priced(Resource::CpuUsed, 5_400_000_000), "1.500");
        assert_eq!(priced(Resource::Egress, 1 << 20), "< 0.001");
        assert_eq!(priced(Resource::Memory, u64::MAX), "5003999585.967");
    }

    #[test]
    fn ledger_and_claims_stand_in_columns() {
        let money = |units| Money { amount: Amount(units), decimals: 6, symbol: "USDC".into() };
        let claim = |paid, total, verdict, text: &str| Claim {
            epoch: 1,
            time: 0,
            transaction: Hash32([0x22; 32]),
            paid: money(paid),
            total: money(total),
            verdict,
            text: text.into(),
        };
        let used = [(Resource::CpuUsed, 5_400_000_000), (Resource::Egress, 7), (Resource::Gpu, 0)];
        let view = View {
            name: "shop".parse().unwrap(),
            agrees: false,
            records: 12,
            broken: None,
            epochs: [(1, used.into())].into(),
            claims: vec![
                claim(1_500_000, 1_500_000, Verdict::Agrees, "agrees"),
                claim(40, 1_500_040, Verdict::TooMuch(Amount(20)), "TOO MUCH: 0.00002 USDC were due"),
            ],
            complete: Some(true),
            paid: money(1_500_040),
        };
        insta::assert_snapshot!(view.to_string());
    }
}
