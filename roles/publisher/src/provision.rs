//! `provision` and `confirm`: the provider makes the pod and tells where it is reached.

use crate::{Error, Event, Evidence, LinkError, Publisher, Step, Trusted, journal::Journal};
use apocryph_model::{ChannelId, Endpoint, Fault, Progress, ProvisionRequest};
use std::time::Duration;

/// How often a provider is asked that does not see the channel yet: for ten minutes in all.
const LOOKS: u32 = 200;
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);

impl Publisher {
    /// Has the provider make the pod or change it in place. This machine serves the ciphertext
    /// until the provider has it. A provider that wants more confirmations of the channel than
    /// were waited for here is asked again until it sees them.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn provision(
        &self,
        trusted: &Trusted,
        channel: ChannelId,
        request: ProvisionRequest,
    ) -> Result<Vec<Endpoint>, Error> {
        self.reporter.begun(Step::Provision);
        let mut looks = 1;
        loop {
            let progress = |now| {
                if looks == 1 || now != Progress::Channel {
                    self.relay(now);
                }
            };
            match trusted.link().provision(channel, request.clone(), &progress).await {
                Err(LinkError::Fault(fault)) if is_unseen(&fault) && looks < LOOKS => {
                    self.wait_for_confirmations(looks).await;
                    looks += 1;
                }
                answer => {
                    let endpoints = answer?;
                    self.reporter.done(Step::Provision, vec![]);
                    return Ok(endpoints);
                }
            }
        }
    }

    async fn wait_for_confirmations(&self, looks: u32) {
        if looks == 1 {
            self.reporter.stage(Step::Provision, "waiting until the provider sees the channel confirmed");
        }
        self.timer.sleep(BETWEEN_LOOKS).await;
    }

    fn relay(&self, progress: Progress) {
        match progress {
            Progress::Channel => self.reporter.stage(Step::Provision, "channel"),
            Progress::Fetch { done, total } => self.reporter.bytes(Step::Provision, done, total),
            Progress::Source { source, problem } => {
                self.reporter.report(Event::SourceTrouble { source, problem });
            }
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

/// Whether the provider does not see a channel that is open, as this side has seen.
fn is_unseen(fault: &Fault) -> bool {
    fault.retry && fault.code == Fault::CHANNEL_NOT_OPEN
}
