//! `register` and `unregister`: this provider's entry in the Registry.

use crate::{failure::Failure, keys, printer::Printer, settings::Settings, world};
use apocryph_model::{Attestation, Hash32, Offering, PeerAddress, Resource, TransactionId};
use apocryph_provider::Chain as _;
use serde::Serialize;
use std::fmt;

/// What the Registry says now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    /// Absent where there was nothing to do.
    transaction: Option<TransactionId>,
    offering: Option<Offering>,
    #[serde(skip)]
    decimals: u8,
}

/// Lists this provider, or changes its entry. One that is right is left as it is.
pub(crate) async fn register(settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let key = keys::account(settings)?;
    let addresses = addresses(settings)?;
    let chain = world::chain(settings, key);
    let offering = Offering {
        provider: chain.account(),
        name: settings.file.name.clone(),
        regions: settings.file.regions.clone(),
        addresses,
        tariff: settings.tariff,
        token: settings.file.chain.token,
        payout: settings.terms(chain.account()).payout,
        attestation: Attestation::None,
        description: Hash32([0; 32]),
    };
    let right = chain.registered().await?.as_ref() == Some(&offering);
    let transaction = if right { None } else { Some(chain.register(&offering).await?) };
    let decimals = settings.file.chain.token_decimals;
    printer.result(&Registered { transaction, offering: Some(offering), decimals })
}

/// Takes this provider out. One that is not there is no failure.
pub(crate) async fn unregister(settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let chain = world::chain(settings, keys::account(settings)?);
    let transaction = match chain.registered().await? {
        Some(_) => Some(chain.unregister().await?),
        None => None,
    };
    printer.result(&Registered { transaction, offering: None, decimals: 0 })
}

fn addresses(settings: &Settings) -> Result<Vec<PeerAddress>, Failure> {
    let peer = keys::node(settings)?.peer_id();
    let full =
        |address: String| format!("{address}/p2p/{peer}").parse().map_err(|_| Failure::Multiaddr { address });
    let addresses: Vec<PeerAddress> =
        settings.p2p_external().into_iter().map(full).collect::<Result<_, _>>()?;
    if addresses.is_empty() { Err(Failure::NoAddress) } else { Ok(addresses) }
}

impl fmt::Display for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transaction {
            Some(transaction) => writeln!(f, "transaction  {transaction}")?,
            None => writeln!(f, "the Registry says so already")?,
        }
        let Some(offering) = &self.offering else { return Ok(()) };
        writeln!(f, "account      {}", offering.provider)?;
        for address in &offering.addresses {
            writeln!(f, "address      {address}")?;
        }
        for resource in Resource::ALL {
            let price = offering.tariff.per_priced(resource);
            if price.0 > 0 {
                writeln!(f, "price        {} per {}", price.display(self.decimals), resource.priced_as())?;
            }
        }
        Ok(())
    }
}
