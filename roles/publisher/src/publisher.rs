use crate::{
    Chain, Deployment, Deployments, Error, HostProofs, Images, LinkError, Network, ProviderLink, Reporter,
    Secrets, Timer,
};
use apocryph_model::{Name, PeerAddress};
use apocryph_statement::Signer;
use std::sync::Arc;

/// A publisher: its key and what it works with. The use cases are its methods, a file each.
#[derive(Clone)]
pub struct Publisher {
    /// The contracts.
    pub chain: Arc<dyn Chain>,
    /// Where images come from.
    pub images: Arc<dyn Images>,
    /// The way to providers.
    pub network: Arc<dyn Network>,
    /// What was deployed so far.
    pub deployments: Arc<dyn Deployments>,
    /// Where secrets are read from.
    pub secrets: Arc<dyn Secrets>,
    /// The key that providers know the publisher by; the same account as the chain's.
    pub signer: Arc<dyn Signer>,
    /// What the owners of host names say.
    pub host_proofs: Arc<dyn HostProofs>,
    /// How long is waited.
    pub timer: Arc<dyn Timer>,
    /// Is told of every step.
    pub reporter: Arc<dyn Reporter>,
}

impl Publisher {
    /// The remembered deployment, checked to be this account's.
    pub(crate) fn deployment(&self, name: &Name) -> Result<Deployment, Error> {
        self.remembered(name)?.ok_or_else(|| Error::NotDeployed(name.clone()))
    }

    /// Whether this account's deployment has ended, and there is no new one: what ends it is repeated.
    pub(crate) fn ended(&self, name: &Name) -> Result<bool, Error> {
        Ok(self.remembered(name)?.is_none() && self.deployments.ended(name)? == Some(self.chain.account()))
    }

    pub(crate) fn remembered(&self, name: &Name) -> Result<Option<Deployment>, Error> {
        let found = self.deployments.find(name)?;
        match &found {
            Some(other) if other.publisher != self.chain.account() => {
                Err(Error::OtherAccount { name: name.clone(), account: other.publisher })
            }
            _ => Ok(found),
        }
    }

    /// Connects to the deployment's provider where it was last, and where it does not answer
    /// there, where the Registry says that it is now.
    pub(crate) async fn reach(&self, deployment: &Deployment) -> Result<Arc<dyn ProviderLink>, LinkError> {
        let first = match self.connect(&deployment.addresses).await {
            Err(unreachable @ LinkError::Unreachable { .. }) => unreachable,
            answered => return answered,
        };
        match self.moved(deployment).await {
            Some(addresses) => self.connect(&addresses).await,
            None => Err(first),
        }
    }

    pub(crate) async fn connect(
        &self,
        addresses: &[PeerAddress],
    ) -> Result<Arc<dyn ProviderLink>, LinkError> {
        self.network.connect(addresses, self.signer.clone()).await
    }

    /// The provider's registered addresses, where they are not the remembered ones. The chain
    /// not answering only means that nothing newer is known.
    async fn moved(&self, deployment: &Deployment) -> Option<Vec<PeerAddress>> {
        let listed = self.chain.list_providers().await.ok()?;
        let offering = listed.into_iter().find(|o| o.provider == deployment.provider)?;
        (offering.addresses != deployment.addresses).then_some(offering.addresses)
    }
}
