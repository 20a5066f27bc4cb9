use crate::{failure::Failure, printer::Printer, settings::Settings, world};
use apocryph_model::{Address, Attestation, Resource};
use apocryph_publisher::{Listed, Money};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;
use std::fmt;

pub(super) async fn run(settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    let listed = publisher.providers().await?;
    printer.result("providers", &Providers(listed.iter().map(Row::of).collect()))
}

#[derive(Serialize)]
#[serde(transparent)]
struct Providers(Vec<Row>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    provider: Address,
    name: String,
    regions: Vec<String>,
    attestation: Attestation,
    /// Of what is priced at all: what, and how much for it.
    prices: Vec<Priced>,
    reachable: bool,
    /// Why it is not.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Priced {
    resource: Resource,
    per: &'static str,
    /// `None` where the token does not describe itself.
    price: Option<Money>,
}

impl Row {
    fn of(listed: &Listed) -> Self {
        let Listed { offering, token, answer } = listed;
        let price = |resource: &Resource| Priced {
            resource: *resource,
            per: resource.priced_as(),
            price: token.as_ref().map(|token| token.money(offering.tariff.per_priced(*resource))),
        };
        let priced = Resource::ALL.iter().filter(|resource| offering.tariff[**resource].0 > 0);
        Self {
            provider: offering.provider,
            name: offering.name.clone(),
            regions: offering.regions.iter().map(ToString::to_string).collect(),
            attestation: offering.attestation,
            prices: priced.map(price).collect(),
            reachable: answer.is_ok(),
            problem: answer.as_ref().err().map(ToString::to_string),
        }
    }

    fn prices(&self) -> String {
        let line = |p: &Priced| {
            let price = p.price.as_ref().map_or_else(|| "?".into(), ToString::to_string);
            format!("{price} per {}", p.per)
        };
        self.prices.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["NAME", "PROVIDER", "REGIONS", "ATTESTATION", "PRICES", "REACHABLE"]);
        for row in &self.0 {
            let reachable = row.problem.as_ref().map_or_else(|| "yes".into(), |why| format!("no: {why}"));
            table.add_row([
                row.name.clone(),
                row.provider.to_string(),
                row.regions.join(" "),
                row.attestation.to_string(),
                row.prices(),
                reachable,
            ]);
        }
        write!(f, "{}", table.trim_fmt())
    }
}
