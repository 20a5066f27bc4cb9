//! The door that publishers come in by.

use crate::{Authorisation, Deployments, OnProgress, Provider, faults};
use apocryph_model::{Endpoint, Fault, LogLine, LogQuery, Offer, PodStatus, ProvisionRequest, UsageRecord};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::sync::Arc;

#[async_trait]
impl Deployments for Arc<Provider> {
    async fn offer(&self) -> Result<Offer, Fault> {
        Provider::offer(self).await
    }

    async fn attest(&self, _nonce: [u8; 32]) -> Result<Vec<u8>, Fault> {
        // There is no platform to attest yet: no evidence is what an unattested provider gives.
        Ok(Vec::new())
    }

    /// Goes on to its end, or its undo, also where the caller goes away.
    async fn provision(
        &self,
        caller: Authorisation,
        request: ProvisionRequest,
        progress: OnProgress,
    ) -> Result<Vec<Endpoint>, Fault> {
        let provider = self.clone();
        let task = async move { Provider::provision(&provider, caller, request, progress).await };
        tokio::spawn(task).await.unwrap_or_else(|_| Err(faults::internal("provisioning panicked")))
    }

    /// Goes on to its end also where the caller goes away.
    async fn remove(&self, caller: Authorisation) -> Result<(), Fault> {
        let provider = self.clone();
        let task = async move { Provider::remove(&provider, caller).await };
        tokio::spawn(task).await.unwrap_or_else(|_| Err(faults::internal("removing panicked")))
    }

    async fn status(&self, caller: Authorisation) -> Result<PodStatus, Fault> {
        Provider::status(self, caller).await
    }

    async fn logs(
        &self,
        caller: Authorisation,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, Fault> {
        Provider::logs(self, caller, query).await
    }

    async fn usage(&self, caller: Authorisation, from: u64) -> Result<Vec<UsageRecord>, Fault> {
        Provider::usage(self, caller, from).await
    }
}
