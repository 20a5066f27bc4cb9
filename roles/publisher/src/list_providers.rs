//! `list_providers`: who is registered, and who of them answers.

use crate::{Error, Evidence, Publisher, Step, Token, Unfit, fitness::check_offer};
use apocryph_model::{Address, Offer, Offering};
use futures::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};

/// A registered provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As registered.
    pub offering: Offering,
    /// The token that it asks for; `None` where the token does not describe itself.
    pub token: Option<Token>,
    /// Its terms now, or why it would not do for anyone.
    pub answer: Result<Offer, Unfit>,
}

impl Publisher {
    /// How many providers are asked at once.
    pub(crate) const AT_ONCE: usize = 16;

    /// Reads the Registry.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn list_providers(&self) -> Result<Vec<Offering>, Error> {
        self.reporter.begun(Step::ListProviders);
        let offerings = self.chain.list_providers().await?;
        self.reporter.done(Step::ListProviders, vec![Evidence::Count(offerings.len())]);
        Ok(offerings)
    }

    /// Reads the Registry and asks everyone for their terms.
    pub async fn providers(&self) -> Result<Vec<Listed>, Error> {
        let offerings = self.list_providers().await?;
        let tokens = self.tokens(&offerings).await?;
        let ask = |offering: Offering| async {
            let token = tokens.get(&offering.token).cloned();
            let answer = self.offer(&offering).await;
            Listed { offering, token, answer }
        };
        Ok(stream::iter(offerings).map(ask).buffered(Self::AT_ONCE).collect().await)
    }

    async fn offer(&self, offering: &Offering) -> Result<Offer, Unfit> {
        let offer = self.connect(&offering.addresses).await?.offer().await?;
        check_offer(offering, &offer, &*self.chain)?;
        Ok(offer)
    }

    /// The tokens that are asked for; those that are none are left out.
    pub(crate) async fn tokens(&self, offerings: &[Offering]) -> Result<BTreeMap<Address, Token>, Error> {
        let addresses: BTreeSet<_> = offerings.iter().map(|offering| offering.token).collect();
        let read = |address| async move { (address, self.chain.token(address).await) };
        let mut answers = stream::iter(addresses).map(read).buffer_unordered(Self::AT_ONCE);
        let mut tokens = BTreeMap::new();
        while let Some((address, answer)) = answers.next().await {
            match answer {
                Ok(token) => drop(tokens.insert(address, token)),
                Err(unknown) if unknown.retry() => return Err(unknown.into()),
                Err(_) => {}
            }
        }
        Ok(tokens)
    }
}
