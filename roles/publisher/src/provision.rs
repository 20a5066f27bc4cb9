//! `provision` and `confirm`: the provider makes the pod and tells where it is reached.

use crate::{Error, Evidence, Publisher, Step, Trusted, journal::Journal};
use apocryph_model::{ChannelId, Endpoint, Progress, ProvisionRequest};

impl Publisher {
    /// Has the provider make the pod or change it in place. This machine serves the ciphertext
    /// until the provider has it.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn provision(
        &self,
        trusted: &Trusted,
        channel: ChannelId,
        request: ProvisionRequest,
    ) -> Result<Vec<Endpoint>, Error> {
        self.reporter.begun(Step::Provision);
        let progress = |progress| self.relay(progress);
        let endpoints = trusted.link().provision(channel, request, &progress).await?;
        self.reporter.done(Step::Provision, vec![]);
        Ok(endpoints)
    }

    fn relay(&self, progress: Progress) {
        match progress {
            Progress::Channel => self.reporter.stage(Step::Provision, "channel"),
            Progress::Fetch { done, total } => self.reporter.bytes(Step::Provision, done, total),
            Progress::Unpack => self.reporter.stage(Step::Provision, "unpack"),
            Progress::Route => self.reporter.stage(Step::Provision, "route"),
        }
    }

    /// Remembers where the pod is reached.
    #[tracing::instrument(skip_all)]
    pub(crate) fn confirm(&self, endpoints: Vec<Endpoint>, journal: &Journal<'_>) -> Result<(), Error> {
        self.reporter.begun(Step::Confirm);
        let evidence = endpoints.iter().cloned().map(Evidence::Endpoint).collect();
        journal.write(|deployment| deployment.endpoints = endpoints)?;
        self.reporter.done(Step::Confirm, evidence);
        Ok(())
    }
}
