//! `register` and `unregister`: this provider's entry in the Registry.

use crate::{args::Register, failure::Failure, keys, offering, printer::Printer, settings::Settings, world};
use apocryph_evm::Evm;
use apocryph_model::{Offering, Resource, TransactionId};
use apocryph_p2p::{BlockId, Codec};
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
pub(crate) async fn register(settings: &Settings, how: &Register, printer: &Printer) -> Result<(), Failure> {
    let key = keys::account(settings)?;
    let (offering, _) = offering::described(settings, &key).await?;
    let chain = world::chain(settings, key)?;
    check_prices(settings, how, &chain).await?;
    let right = chain.registered().await?.as_ref() == Some(&offering);
    let transaction = if right { None } else { Some(chain.register(&offering).await?) };
    let decimals = settings.file.chain.token_decimals;
    printer.result(&Registered { transaction, offering: Some(offering), decimals })
}

/// Takes this provider out. One that is not there is no failure.
pub(crate) async fn unregister(settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let chain = world::chain(settings, keys::account(settings)?)?;
    let transaction = match chain.registered().await? {
        Some(_) => Some(chain.unregister().await?),
        None => None,
    };
    printer.result(&Registered { transaction, offering: None, decimals: 0 })
}

/// Refuses prices that would be other than meant: those of a token with other decimals, or none
/// where that was not asked for.
async fn check_prices(settings: &Settings, how: &Register, chain: &Evm) -> Result<(), Failure> {
    if settings.is_free() && !how.free {
        return Err(Failure::Free);
    }
    let token = apocryph_publisher::Chain::token(chain, settings.file.chain.token).await?;
    let set = settings.file.chain.token_decimals;
    if token.decimals != set {
        return Err(Failure::Decimals { symbol: token.symbol, found: token.decimals, set });
    }
    Ok(())
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
        let description = BlockId::from_hash(Codec::Raw, offering.description.0);
        writeln!(f, "description  {description}")?;
        for resource in Resource::ALL {
            let price = offering.tariff.per_priced(resource);
            if price.0 > 0 {
                writeln!(f, "price        {} per {}", price.display(self.decimals), resource.priced_as())?;
            }
        }
        Ok(())
    }
}
