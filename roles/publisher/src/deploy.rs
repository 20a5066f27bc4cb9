//! `deploy`: the steps `collect` to `confirm`, from the beginning or from where an earlier run
//! stood.

use crate::{
    BroughtHost, Budget, Candidate, Collected, Deployment, Error, Estimate, Event, Payment, Preferences,
    Publisher, Seen, Token, Trusted, fitness::Wanted, journal::Journal, open_channel::keep,
    select_provider::Selected,
};
use apocryph_model::{
    Address, Amount, Blob, ChainError, Channel, Decimal, Endpoint, Manifest, Name, PeerAddress,
    ProvisionRequest,
};
use futures::join;
use std::path::PathBuf;

/// What is to be deployed.
#[derive(Clone)]
pub struct Order {
    /// The pod.
    pub manifest: Manifest,
    /// What the manifest's relative paths are relative to.
    pub folder: PathBuf,
    /// Where it is to go.
    pub preferences: Preferences,
    /// How much is to be in the channel, in whole tokens; a day's cost if not given.
    pub fund: Option<Decimal>,
    /// Whether everyone may fetch the images, encrypted as they are, from the provider.
    pub public: bool,
    /// IPFS nodes that may have the images' ciphertext, for the provider to ask before this machine.
    pub sources: Vec<PeerAddress>,
}

/// A pod that was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// Its name.
    pub name: Name,
    /// The provider's account.
    pub provider: Address,
    /// What the provider calls itself.
    pub provider_name: String,
    /// Whether the provider was used without verified evidence.
    pub unattested: bool,
    /// Where the pod is reached.
    pub endpoints: Vec<Endpoint>,
    /// What everyone may fetch from the provider.
    pub published: Vec<Blob>,
    /// What pays for it.
    pub channel: Channel,
    /// What it is paid in.
    pub token: Token,
    /// What it costs.
    pub estimate: Estimate,
}

/// What a deploy would do, before anything is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The pod's name.
    pub name: Name,
    /// The provider's account.
    pub provider: Address,
    /// What the provider calls itself.
    pub provider_name: String,
    /// What the pod would cost there.
    pub estimate: Estimate,
    /// In which token.
    pub token: Token,
    /// How it would be paid for.
    pub payment: Payment,
    /// What the account holds, which may be too little.
    pub held: Amount,
    /// The host names that the pod brings.
    pub hosts: Vec<BroughtHost>,
}

/// Where the pod goes, and how it is paid for.
struct Site {
    deployment: Deployment,
    trusted: Trusted,
    token: Token,
    estimate: Estimate,
    payment: Payment,
    /// Whether nothing was remembered of it before.
    new: bool,
}

impl Publisher {
    /// Deploys the pod, or brings the deployed one up to date in place. Safe to repeat, also
    /// after it was cut off anywhere.
    #[tracing::instrument(skip_all, fields(pod = %order.manifest.name))]
    pub async fn deploy(&self, order: &Order) -> Result<Deployed, Error> {
        let _lock = self.deployments.lock(&order.manifest.name)?;
        let collected = self.collect(&order.manifest, &order.folder).await?;
        let site = self.settle(order, &collected).await?;
        self.check_balance(&site.token, site.payment.cost()).await?;
        self.warn_of_hosts(&site, &collected).await;
        let journal = Journal::new(&*self.deployments, site.deployment.clone());
        journal.write(|_| ())?;
        let (channel, published) = self.carry_out(order, &collected, &site, &journal).await?;
        Ok(site.deployed(journal.now(), channel, published))
    }

    /// Everything of [`Publisher::deploy`] up to the first signature.
    #[tracing::instrument(skip_all, fields(pod = %order.manifest.name))]
    pub async fn plan(&self, order: &Order) -> Result<Plan, Error> {
        let collected = self.collect(&order.manifest, &order.folder).await?;
        let site = self.settle(order, &collected).await?;
        let held = self.chain.balance(site.token.address).await?;
        let hosts = self.look_up_hosts(&collected.spec, site.deployment.provider).await;
        let Site { deployment, token, estimate, payment, .. } = site;
        let Deployment { name, provider, provider_name, .. } = deployment;
        Ok(Plan { name, provider, provider_name, estimate, token, payment, held, hosts })
    }

    /// Tells what the provider may refuse the pod for, while nothing is paid in yet.
    async fn warn_of_hosts(&self, site: &Site, collected: &Collected) {
        for host in self.look_up_hosts(&collected.spec, site.deployment.provider).await {
            if host.seen != Seen::There {
                self.reporter.report(Event::HostNotSeen { host });
            }
        }
    }

    async fn carry_out(
        &self,
        order: &Order,
        collected: &Collected,
        site: &Site,
        journal: &Journal<'_>,
    ) -> Result<(Channel, Vec<Blob>), Error> {
        let id = site.deployment.channel();
        let (channel, encrypted) = join!(
            self.open_channel(&site.payment, journal),
            self.encrypt(collected, &order.folder, journal),
        );
        let channel = channel.inspect_err(|error| self.take_back(site, error))?;
        let delivered = async {
            let request = self.ship(&site.trusted, id, collected, encrypted?, journal).await?;
            let request =
                ProvisionRequest { public: order.public, sources: order.sources.clone(), ..request };
            let published = if order.public { request.blobs.clone() } else { vec![] };
            let endpoints = self.provision(&site.trusted, id, request).await?;
            self.confirm(endpoints, journal)?;
            Ok(published)
        };
        match delivered.await {
            Ok(published) => Ok((channel, published)),
            Err(error) => {
                let balance = site.token.money(channel.balance());
                let name = site.deployment.name.clone();
                self.reporter.report(Event::StillOpen { name, channel: id, balance });
                Err(error)
            }
        }
    }

    /// Forgets an intent that the chain has refused. Where a transaction may still be under way
    /// the intent stays, and the next run looks at the chain again.
    fn take_back(&self, site: &Site, error: &Error) {
        let refused = matches!(
            error,
            Error::Chain(
                ChainError::Reverted(_)
                    | ChainError::NoBalance { .. }
                    | ChainError::NoFee
                    | ChainError::NoContract { .. }
                    | ChainError::UnknownCode { .. }
                    | ChainError::WrongChain { .. }
            )
        );
        if site.new
            && refused
            && let Err(error) = self.deployments.forget(&site.deployment.name)
        {
            tracing::warn!(%error, "the intent to deploy could not be taken back");
        }
    }

    /// Settles where the pod goes: to where it is, or to where an interrupted run was about to
    /// bring it, or else to a provider that is selected now.
    async fn settle(&self, order: &Order, collected: &Collected) -> Result<Site, Error> {
        let Some(known) = self.remembered(&order.manifest.name)? else {
            return self.settle_anew(order, collected, &order.preferences, None).await;
        };
        let wanted = order.preferences.provider.or(order.manifest.constraints.provider);
        let channel = self.chain.channel(known.channel()).await?;
        match (channel, known.epoch) {
            // The epoch that paid for it is over.
            (None, Some(_)) => self.settle_anew(order, collected, &order.preferences, None).await,
            _ if wanted.is_some_and(|wanted| wanted != known.provider) => {
                Err(Error::Elsewhere { name: known.name, provider: known.provider })
            }
            // It was about to be opened: a second one elsewhere could be paid for twice.
            (None, None) => {
                let same = Preferences {
                    provider: Some(known.provider),
                    token: Some(known.token),
                    ..order.preferences.clone()
                };
                self.settle_anew(order, collected, &same, Some(known)).await
            }
            (Some(channel), _) => self.settle_again(order, collected, known, channel).await,
        }
    }

    /// Selects a provider. An intent that was remembered keeps its key.
    async fn settle_anew(
        &self,
        order: &Order,
        collected: &Collected,
        preferences: &Preferences,
        intent: Option<Deployment>,
    ) -> Result<Site, Error> {
        let offerings = self.list_providers().await?;
        let wanted = Wanted { constraints: &order.manifest.constraints, preferences };
        let selected = self.select_provider(offerings, collected, wanted).await?;
        let mut deployment = self.intent(&order.manifest.name, &selected, preferences);
        let new = intent.is_none();
        deployment.image_key = intent.and_then(|intent| intent.image_key);
        let Selected { candidate: Candidate { token, estimate, .. }, offer, trusted } = selected;
        let fund = order.fund.as_ref();
        let payment = match self.chain.channel(deployment.channel()).await? {
            Some(channel) => keep(channel, &offer.terms, &estimate, &token, fund)?,
            None => Payment::Open(Budget::of(&estimate, &offer, &token, fund)?),
        };
        Ok(Site { deployment, trusted, token, estimate, payment, new })
    }

    fn intent(&self, name: &Name, selected: &Selected, preferences: &Preferences) -> Deployment {
        let offering = &selected.candidate.offering;
        Deployment {
            name: name.clone(),
            publisher: self.chain.account(),
            provider: offering.provider,
            provider_name: offering.name.clone(),
            addresses: offering.addresses.clone(),
            token: offering.token,
            terms: selected.offer.terms,
            epoch: None,
            unattested: preferences.accept_unattested,
            image_key: None,
            spec: None,
            endpoints: vec![],
            payment: None,
        }
    }

    /// Goes back to the provider that has the pod.
    async fn settle_again(
        &self,
        order: &Order,
        collected: &Collected,
        mut deployment: Deployment,
        channel: Channel,
    ) -> Result<Site, Error> {
        let token = self.chain.token(deployment.token).await?;
        let estimate = Estimate::of(&collected.spec, &deployment.terms.tariff);
        let payment = keep(channel, &deployment.terms, &estimate, &token, order.fund.as_ref())?;
        let link = self.reach(&deployment).await?;
        let trusted = Trusted::attest(link, order.preferences.accept_unattested).await?;
        deployment.unattested = order.preferences.accept_unattested;
        Ok(Site { deployment, trusted, token, estimate, payment, new: false })
    }
}

impl Site {
    fn deployed(self, deployment: Deployment, channel: Channel, published: Vec<Blob>) -> Deployed {
        Deployed {
            name: deployment.name,
            provider: deployment.provider,
            provider_name: deployment.provider_name,
            unattested: deployment.unattested,
            endpoints: deployment.endpoints,
            published,
            channel,
            token: self.token,
            estimate: self.estimate,
        }
    }
}
