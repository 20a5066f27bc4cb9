use crate::{failure::Failure, printer::Printer, settings::Settings, world};
use apocryph_model::{Address, Attestation, Hash32, PeerAddress, Resource};
use apocryph_p2p::{BlockId, Codec};
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
    addresses: Vec<PeerAddress>,
    /// The CID of its longer description.
    description: Option<String>,
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
            addresses: offering.addresses.clone(),
            description: description(offering.description),
            prices: priced.map(price).collect(),
            reachable: answer.is_ok(),
            problem: answer.as_ref().err().map(ToString::to_string),
        }
    }

    /// What a resource costs, without the token's name; nothing where it is free.
    fn price(&self, resource: Resource) -> String {
        let number = |p: &Priced| match &p.price {
            Some(price) => price.amount.display(price.decimals),
            None => "?".into(),
        };
        self.prices.iter().find(|p| p.resource == resource).map(number).unwrap_or_default()
    }

    /// What it is paid in.
    fn symbol(&self) -> &str {
        self.prices.iter().find_map(|p| p.price.as_ref()).map_or("?", |price| &price.symbol)
    }
}

/// A description is one block, whose hash is registered; all zeros for none.
fn description(hash: Hash32) -> Option<String> {
    (hash != Hash32([0; 32])).then(|| BlockId::from_hash(Codec::Raw, hash.0).to_string())
}

impl Providers {
    /// What any of them asks money for.
    fn priced(&self) -> Vec<Resource> {
        let asked = |resource: &Resource| self.0.iter().any(|row| !row.price(*resource).is_empty());
        Resource::ALL.into_iter().filter(asked).collect()
    }

    fn table(&self) -> Table {
        let priced = self.priced();
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let units = priced.iter().map(|resource| resource.priced_as().replacen(' ', "\n", 1));
        let first = ["PROVIDER", "REGIONS", "ATTESTED", "ANSWERS", "TOKEN"].map(String::from);
        table.set_header(first.into_iter().chain(units));
        for row in &self.0 {
            let first = [
                format!("{}\n{}", row.name, row.provider),
                row.regions.join("\n"),
                row.attestation.to_string(),
                if row.reachable { "yes".into() } else { "no".into() },
                row.symbol().into(),
            ];
            table.add_row(first.into_iter().chain(priced.iter().map(|resource| row.price(*resource))));
        }
        table
    }
}

/// A table of prices to compare, then why some do not answer.
impl fmt::Display for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no provider is registered");
        }
        write!(f, "{}", self.table().trim_fmt())?;
        for row in &self.0 {
            if let Some(problem) = &row.problem {
                write!(f, "\n{}: {problem}", row.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::Amount;

    fn row(name: &str, prices: &[(Resource, u128)], problem: Option<&str>) -> Row {
        let price = |units| Money { amount: Amount(units), decimals: 6, symbol: "USDC".into() };
        let priced = |(resource, units): &(Resource, u128)| Priced {
            resource: *resource,
            per: resource.priced_as(),
            price: Some(price(*units)),
        };
        Row {
            provider: Address([0x11; 20]),
            name: name.into(),
            regions: vec!["eu-west".into(), "eu-north".into()],
            attestation: Attestation::None,
            addresses: vec![],
            description: None,
            prices: prices.iter().map(priced).collect(),
            reachable: problem.is_none(),
            problem: problem.map(Into::into),
        }
    }

    #[test]
    fn prices_stand_beside_each_other() {
        let cheap = [(Resource::CpuUsed, 40_000), (Resource::Memory, 5_000)];
        let dear = [(Resource::CpuUsed, 1_250_000), (Resource::Egress, 90_000)];
        let listed = [row("quick", &dear, None), row("gone", &cheap, Some("does not answer"))];
        insta::assert_snapshot!(Providers(listed.into()).to_string());
    }
}
