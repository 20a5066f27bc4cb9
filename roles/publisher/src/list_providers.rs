//! `list_providers`: who is registered, and who of them answers.

use crate::{Error, Evidence, LinkError, Publisher, Step, Token};
use apocryph_model::{Offer, Offering};
use futures::{StreamExt, stream};
use std::collections::BTreeMap;

/// A registered provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As registered.
    pub offering: Offering,
    /// The token that it asks for; `None` where the token does not describe itself.
    pub token: Option<Token>,
    /// What it answered when it was asked for its terms.
    pub answer: Result<Offer, LinkError>,
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
        let tokens = self.tokens(&offerings).await;
        let ask = |offering: Offering| async {
            let token = tokens.get(&offering.token).cloned();
            let answer = self.offer(&offering).await;
            Listed { offering, token, answer }
        };
        Ok(stream::iter(offerings).map(ask).buffered(Self::AT_ONCE).collect().await)
    }

    async fn offer(&self, offering: &Offering) -> Result<Offer, LinkError> {
        self.connect(&offering.addresses).await?.offer().await
    }

    /// The tokens that are asked for, each looked at once; those that cannot be read are left out.
    pub(crate) async fn tokens(&self, offerings: &[Offering]) -> BTreeMap<apocryph_model::Address, Token> {
        let mut tokens = BTreeMap::new();
        for offering in offerings {
            if !tokens.contains_key(&offering.token)
                && let Ok(token) = self.chain.token(offering.token).await
            {
                tokens.insert(offering.token, token);
            }
        }
        tokens
    }
}
