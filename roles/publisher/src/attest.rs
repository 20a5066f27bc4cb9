//! Who may be told secrets.

use crate::{LinkError, ProviderLink};
use apocryph_model::{Fault, PeerId, Who};
use std::sync::Arc;

/// A provider that secrets may be told. Made by [`Trusted::attest`] alone, so that nothing is
/// shipped to anyone else.
#[derive(Clone)]
pub struct Trusted {
    link: Arc<dyn ProviderLink>,
}

/// Why a provider is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// It has no evidence.
    #[error("{0} does not prove what it runs: --accept-unattested uses it all the same")]
    NoEvidence(PeerId),
    /// It has evidence of a kind that cannot be verified here.
    #[error("{0} sends evidence that this release cannot verify: --accept-unattested uses it all the same")]
    Unverified(PeerId),
    /// It could not be asked.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl AttestError {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Link(link) => link.fault(),
            Self::NoEvidence(_) => Fault::lasting(Who::Provider, "no-evidence", self.to_string()),
            Self::Unverified(_) => Fault::lasting(Who::Provider, "unverified-evidence", self.to_string()),
        }
    }
}

impl Trusted {
    /// Asks for evidence bound to a fresh nonce. No kind of evidence can be verified yet, so
    /// only `accept_unattested` makes a provider trusted, at the publisher's own risk.
    #[tracing::instrument(skip_all)]
    pub async fn attest(link: Arc<dyn ProviderLink>, accept_unattested: bool) -> Result<Self, AttestError> {
        if accept_unattested {
            return Ok(Self { link });
        }
        let evidence = link.attest(rand::random()).await?;
        match evidence.is_empty() {
            true => Err(AttestError::NoEvidence(link.peer())),
            false => Err(AttestError::Unverified(link.peer())),
        }
    }

    pub(crate) fn link(&self) -> &dyn ProviderLink {
        &*self.link
    }
}
