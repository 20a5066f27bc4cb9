//! `logs`: what the pod's containers wrote.

use crate::{Error, LinkError, Publisher};
use apocryph_model::{LogLine, LogQuery, Name};
use futures::stream::BoxStream;

impl Publisher {
    /// The pod's log, also of a pod at zero replicas. With `follow` it ends when the provider
    /// ends it.
    #[tracing::instrument(skip_all, fields(pod = %name))]
    pub async fn logs(
        &self,
        name: &Name,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, LinkError>>, Error> {
        let deployment = self.deployment(name)?;
        let link = self.reach(&deployment).await?;
        Ok(link.logs(deployment.channel(), query).await?)
    }
}
