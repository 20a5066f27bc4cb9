//! `remove`: the provider settles and ends the pod, then the money is unlocked.

use crate::{Deployment, Error, LinkError, Publisher, Step, Unlocking};
use apocryph_model::Name;

/// A pod that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What the provider said. Where it could not be asked, it ends the pod when it sees that the
    /// channel is being unlocked.
    pub provider: Result<(), LinkError>,
    /// When the rest of the money comes back; `None` where the channel is closed and nothing is
    /// left to do: the deployment is forgotten.
    pub unlocking: Option<Unlocking>,
}

impl Publisher {
    /// Ends the pod and begins to unlock its channel. Safe to repeat.
    #[tracing::instrument(skip_all, fields(pod = %name))]
    pub async fn remove(&self, name: &Name) -> Result<Removed, Error> {
        let _lock = self.deployments.lock(name)?;
        if self.ended(name)? {
            return Ok(Removed { provider: Ok(()), unlocking: None });
        }
        let deployment = self.deployment(name)?;
        let id = deployment.channel();
        if self.chain.channel(id).await?.is_none() {
            self.deployments.end(&deployment)?;
            return Ok(Removed { provider: Ok(()), unlocking: None });
        }
        let provider = self.end(&deployment).await;
        // The provider may have settled and closed it.
        let unlocking = match self.chain.channel(id).await? {
            Some(channel) => Some(self.start_unlock(&deployment, channel).await?),
            None => None,
        };
        if unlocking.is_none() {
            self.deployments.end(&deployment)?;
        }
        Ok(Removed { provider, unlocking })
    }

    async fn end(&self, deployment: &Deployment) -> Result<(), LinkError> {
        self.reporter.begun(Step::Remove);
        let link = self.reach(deployment).await?;
        link.remove(deployment.channel()).await?;
        self.reporter.done(Step::Remove, vec![]);
        Ok(())
    }
}
