//! The first word with the cluster, and the first look at its pods: a daemon waits for both.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use crate::cluster::{client, is_there};
use crate::cluster_error::ClusterError;

/// How soon the cluster is asked again at first, and at the latest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For how long an API server that has come back may refuse what it will grant.
const SETTLING: Duration = Duration::from_secs(30);
/// How long the first look may take without a word until that is told.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

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
    let (mut pause, mut absence) = (FIRST_PAUSE, Absence::default());
    while let Err(error) = is_there(&client).await {
        waits(&absence.bear(error)?);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

/// Returns once `complete` is ready, which is the end of the first look at the cluster's pods; `troubles` tells of
/// what keeps it from that, and `waits` is told in turn.
///
/// # Errors
/// As [`reach`].
pub(crate) async fn first_look(
    complete: impl Future<Output = ()>,
    mut troubles: UnboundedReceiver<ClusterError>,
    mut waits: impl FnMut(&ClusterError),
) -> Result<(), ClusterError> {
    let (mut complete, mut absence) = (pin!(complete), Absence::default());
    loop {
        let trouble = tokio::select! {
            () = &mut complete => return Ok(()),
            Some(error) = troubles.recv() => absence.bear(error)?,
            // It goes on, but its operator should know.
            () = sleep(LOOK_TIMEOUT) => ClusterError::Late {
                what: "the first look at the cluster's pods".into(),
                seconds: LOOK_TIMEOUT.as_secs(),
            },
        };
        waits(&trouble);
    }
}

/// When the API server was away last, which tells a refusal that will pass from one that will not.
#[derive(Default)]
struct Absence(Option<Instant>);

impl Absence {
    /// Gives an error back that is to be borne; fails with one that waiting does not help against.
    fn bear(&mut self, error: ClusterError) -> Result<ClusterError, ClusterError> {
        if !error.is_lasting() {
            self.0 = Some(Instant::now());
        } else if self.0.is_none_or(|at| at.elapsed() > SETTLING) {
            return Err(error);
        }
        Ok(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::sync::{mpsc, watch};

    fn refusal() -> ClusterError {
        ClusterError::Access("no such account".into())
    }

    fn silence() -> ClusterError {
        ClusterError::Silent { doing: "look".into(), seconds: 1 }
    }

    #[tokio::test]
    async fn the_first_look_is_waited_for_while_the_cluster_is_away() {
        let (trouble, troubles) = mpsc::unbounded_channel();
        let (seen, mut all) = watch::channel(0);
        // Settling, it refuses what it will grant.
        for error in [silence(), silence(), refusal()] {
            trouble.send(error).unwrap();
        }
        let complete = async { drop(all.wait_for(|told| *told == 3).await) };
        first_look(complete, troubles, |_| seen.send_modify(|told| *told += 1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_lasting_refusal_ends_the_first_look() {
        let (trouble, troubles) = mpsc::unbounded_channel();
        trouble.send(refusal()).unwrap();
        let refused = first_look(pending(), troubles, |error| panic!("it waits: {error}")).await;
        assert!(matches!(refused, Err(ClusterError::Access(_))), "{refused:?}");
    }
}
