//! Whose a host name is that a publisher brings, where the DNS decides:
//!
//! ```text
//!   the DNS says        nobody has it     this pod has it   another pod has it
//!   proved              given             kept              given, if that one's proof is gone
//!   not proved          refused           refused           refused
//!   nothing sure        refused for now   kept              refused for now
//! ```
//!
//! Where it does not, a host name is whose pod came first. Names under the provider's own domain are
//! the provider's to give, either way.
//!
//! It is asked when a pod is provisioned, after its channel was seen to pay, and not again: requests
//! come only where the host name's own DNS leads them, whoever wants it for another pod is given it
//! by the rule above, and a zone that is broken for an hour ends nothing that runs.

use crate::{Provider, RouteError, authorise::Caller, faults, provision::busy};
use apocryph_ledger::Pod;
use apocryph_model::{ChannelId, DnsError, Endpoint, Fault, HostProof, Hostname, PodSpec, Port};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tracing::{info, instrument, warn};

/// For how long the DNS is asked about all host names of a pod.
const PATIENCE: Duration = Duration::from_secs(30);

impl Provider {
    /// Refuses a pod with a host name that it may not have. The first one ends it, so that a
    /// refused call costs the DNS one question.
    #[instrument(skip_all)]
    pub(crate) async fn check_hosts(&self, caller: &Caller, spec: &PodSpec) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        for host in self.brought(caller, spec)? {
            let holder = self.holder(&host).await?;
            self.judge(caller, &host, holder.as_ref(), until).await?;
        }
        Ok(())
    }

    /// Has other pods give up the host names that are the caller's by now.
    #[instrument(skip_all)]
    pub(crate) async fn take_hosts(&self, caller: &Caller, spec: &PodSpec) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        for host in self.brought(caller, spec)? {
            let holder = self.holder(&host).await?;
            if let Some(other) = holder.filter(|holder| holder.channel != caller.channel) {
                // Fetching the images may have taken long: what held before it may not hold now.
                self.judge(caller, &host, Some(&other), until).await?;
                self.give_up(other.channel, &host).await?;
            }
        }
        Ok(())
    }

    fn brought(&self, caller: &Caller, spec: &PodSpec) -> Result<Vec<Hostname>, Fault> {
        self.world.routes.brought(caller.channel, spec).map_err(|cause| faults::of_route(&cause))
    }

    /// The pod that has a host name, as the ledger says.
    async fn holder(&self, host: &Hostname) -> Result<Option<Pod>, Fault> {
        let host = host.clone();
        self.ledger(move |ledger| {
            let mut pods = ledger.pods_to_look_after()?.into_iter();
            Ok(pods.find(|pod| pod.is_live() && has(&pod.endpoints, &host)))
        })
        .await
    }

    /// Whether the caller's pod may have a host name, which another `holder` then has to give up.
    async fn judge(
        &self,
        caller: &Caller,
        host: &Hostname,
        holder: Option<&Pod>,
        until: Instant,
    ) -> Result<(), Fault> {
        let other = holder.filter(|holder| holder.channel != caller.channel);
        let Some(host_proofs) = &self.world.host_proofs else {
            return if other.is_some() { Err(taken(host)) } else { Ok(()) };
        };
        let at_this_provider = |publisher| HostProof { publisher, provider: self.world.chain.account() };
        let wanted = at_this_provider(caller.publisher);
        let answer = timeout_at(until, host_proofs.of(host)).await;
        match answer.unwrap_or(Err(DnsError::Silent)) {
            Ok(proofs) if !proofs.contains(&wanted) => Err(faults::host_not_proved(host, &wanted)),
            Ok(proofs) => match other.map(|other| at_this_provider(other.publisher)) {
                Some(others) if proofs.contains(&others) => Err(faults::host_proved_twice(host)),
                _ => Ok(()),
            },
            Err(cause) if holder.is_some() && other.is_none() => {
                warn!(%cause, %host, "not asked anew: the pod keeps its host name");
                Ok(())
            }
            Err(cause) => Err(faults::of_dns(&cause, host, &wanted)),
        }
    }

    /// Gives a pod a name of the provider's in place of a host name that is another's now. The
    /// host name's owner wants it so, whatever becomes of the other pod: it is not undone.
    async fn give_up(&self, holder: ChannelId, host: &Hostname) -> Result<(), Fault> {
        // Not waited for: two pods may want each other's.
        let _life = self.lives.try_take(holder).ok_or_else(|| busy("the pod that has the host name"))?;
        let pod = self.pod(holder).await?.filter(|pod| pod.is_live() && has(&pod.endpoints, host));
        let Some(mut pod) = pod else { return Ok(()) };
        pod.endpoints.retain(|endpoint| !is_at(endpoint, host));
        if self.memory().gates.contains_key(&holder) {
            let spec = self.unseal(&pod).await?.spec;
            pod.endpoints = self.route_as_kept(&pod, &spec).await?;
        }
        self.ledger(move |ledger| ledger.put_pod(&pod)).await?;
        info!(pod = holder.short(), %host, "the host name is another pod's now");
        self.note_trouble(holder, faults::host_lost(host));
        Ok(())
    }
}

/// The specification with those of its own host names that a pod still has; for the others it is
/// given names of the provider's.
pub(crate) fn with_kept_hosts(spec: &PodSpec, endpoints: &[Endpoint]) -> PodSpec {
    let mut kept = spec.clone();
    for port in kept.containers.iter_mut().flat_map(|container| &mut container.ports) {
        if let Port::Http { host, .. } = port {
            host.take_if(|host| !has(endpoints, host));
        }
    }
    kept
}

fn taken(host: &Hostname) -> Fault {
    faults::of_route(&RouteError::HostTaken(host.to_string()))
}

fn has(endpoints: &[Endpoint], host: &Hostname) -> bool {
    endpoints.iter().any(|endpoint| is_at(endpoint, host))
}

fn is_at(endpoint: &Endpoint, wanted: &Hostname) -> bool {
    matches!(endpoint, Endpoint::Http { host, .. } if host == wanted)
}
