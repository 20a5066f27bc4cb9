//! `logs`: what the pod's containers wrote.

mod follower;
mod seen;

use crate::{Deployment, Error, LinkError, Publisher};
use apocryph_model::{LogLine, LogQuery, Name};
use follower::Follower;
use futures::stream::BoxStream;

type Lines = BoxStream<'static, Result<LogLine, LinkError>>;

impl Publisher {
    /// The pod's log, also of a pod at zero replicas. With `follow` it ends when the provider
    /// ends it; a connection that breaks is made anew, and the log goes on where it stood.
    #[tracing::instrument(skip_all, fields(pod = %name))]
    pub async fn logs(&self, name: &Name, query: LogQuery) -> Result<Lines, Error> {
        let deployment = self.deployment(name)?;
        let lines = self.open_log(&deployment, query.clone()).await?;
        match query.follow {
            false => Ok(lines),
            true => Ok(Follower::new(self.clone(), deployment, query, lines).lines()),
        }
    }

    async fn open_log(&self, deployment: &Deployment, query: LogQuery) -> Result<Lines, LinkError> {
        self.reach(deployment).await?.logs(deployment.channel(), query).await
    }
}
