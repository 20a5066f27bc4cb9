//! The first word with the cluster, for which a daemon waits.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::cluster::{client, is_there};
use crate::cluster_error::ClusterError;

/// How soon the cluster is asked again at first, and at the latest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For how long an API server that has come back may refuse what it will grant.
const SETTLING: Duration = Duration::from_secs(30);

/// Returns once the cluster answers; `waits` is told each time why it does not yet. The same configuration as
/// [`Config::kubeconfig`](crate::Config).
///
/// # Errors
/// [`ClusterError`] where waiting does not help: the configuration is wrong, or the account.
pub async fn reach(
    kubeconfig: Option<&Path>,
    mut waits: impl FnMut(&ClusterError),
) -> Result<(), ClusterError> {
    let client = client(kubeconfig).await?;
    let (mut pause, mut away_at) = (FIRST_PAUSE, None);
    while let Err(error) = is_there(&client).await {
        if error.is_lasting() {
            if away_at.is_none_or(|at: Instant| at.elapsed() > SETTLING) {
                return Err(error);
            }
        } else {
            away_at = Some(Instant::now());
        }
        waits(&error);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}
