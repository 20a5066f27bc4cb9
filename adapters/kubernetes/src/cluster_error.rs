//! Failures of the cluster, and how they are told to publishers.

use std::error::Error;
use std::io;
use std::time::Duration;

use apocryph_model::{Cause, Fault, Who};
use apocryph_provider::EngineError;
use tokio::time::timeout;

/// How long the API server may take over an answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The cluster did not do what it should. The details are the operator's; publishers are told that
/// it is not their fault. It never means that something is gone.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The configuration of the cluster's clients cannot be read.
    #[error("cannot find the cluster: {0}")]
    Access(String),
    /// The API server did not answer, or refused.
    #[error("cannot {doing}: {text}", text = with_causes(source))]
    Api {
        /// What was tried.
        doing: String,
        /// What came back.
        source: Box<kube::Error>,
    },
    /// The API server took the question, and no answer came.
    #[error("cannot {doing}: the API server did not answer within {seconds} s")]
    Silent {
        /// What was tried.
        doing: String,
        /// How long was waited.
        seconds: u64,
    },
    /// What should have happened did not, in time.
    #[error("{what} took longer than {seconds} s")]
    Late {
        /// What did not happen.
        what: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The namespace is on its way out.
    #[error("namespace {name} is still being removed: {waits_for}")]
    Terminating {
        /// The namespace.
        name: String,
        /// What the cluster says that it waits for.
        waits_for: String,
    },
    /// Something of the daemon's own failed.
    #[error("cannot {doing}: {source}")]
    Host {
        /// What was tried.
        doing: String,
        /// What the system says.
        source: io::Error,
    },
}

impl ClusterError {
    /// Whether the API server knows of no such object.
    pub(crate) fn is_absent(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether the API server could not count what was to be created against its namespace's quota,
    /// as others were counted at the same moment: it was not created.
    pub(crate) fn is_quota_conflict(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let kube::Error::Api(status) = &**source else { return false };
        let on_quota = status.details.as_ref().is_some_and(|details| details.kind == "resourcequotas");
        status.reason == "Conflict" && on_quota
    }

    /// The HTTP status that the API server refused with.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it will be the same for as long as nobody changes the configuration, or the account's rights.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Access(_) => true,
            Self::Api { source, .. } => {
                // In time, of a version of a list, too many.
                let passing = [408, 410, 429];
                let refused =
                    self.code().is_some_and(|code| (400..500).contains(&code) && !passing.contains(&code));
                refused || matches!(&**source, kube::Error::Auth(_)) || is_untrusted(&**source)
            }
            Self::Silent { .. } | Self::Late { .. } | Self::Terminating { .. } | Self::Host { .. } => false,
        }
    }

    /// What publishers are told. Logs the details.
    pub(crate) fn to_fault(&self) -> Fault {
        tracing::error!(error = %self, "the cluster failed");
        match self {
            Self::Api { source, .. } if is_quota(source) => {
                Fault::of(Cause::Quota, "the provider's quota for this pod is used up: try again later")
            }
            Self::Api { .. } if self.code().is_some_and(|code| code < 500 && code != 429) => provider(
                "cluster-refused",
                "the provider's cluster refused; its operator finds the details in its log",
            ),
            Self::Api { .. } | Self::Silent { .. } | Self::Access(_) => {
                let text = "the provider's cluster does not answer: try again later";
                Fault::of(Cause::ClusterUnreachable, text)
            }
            Self::Late { .. } => provider("cluster-late", "the provider's cluster is slow: try again later"),
            Self::Terminating { .. } => {
                provider("being-removed", "the pod is still being removed: try again later")
            }
            Self::Host { .. } => provider(
                "host-failed",
                "the provider's host failed; its operator finds the details in its log",
            ),
        }
    }
}

/// The API server's own words, or the error with its causes, each once: some tell their cause themselves.
fn with_causes(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} ({})", status.message, status.code);
    }
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    causes.fold(error.to_string(), |text, cause| match cause.to_string() {
        cause if text.contains(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

/// Whether what answered is not what the configuration says, by its certificate.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::InvalidData => true,
        // It does not tell what it holds as its source.
        Some(error) => error.get_ref().is_some_and(|inner| is_untrusted(inner)),
        None => error.source().is_some_and(is_untrusted),
    }
}

fn is_quota(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota"))
}

fn provider(code: &str, text: &str) -> Fault {
    Fault::passing(Who::Provider, code, text)
}

impl From<ClusterError> for EngineError {
    fn from(error: ClusterError) -> Self {
        Self::Host(error.to_fault())
    }
}

/// An answer of the API server's, within [`ANSWER_TIMEOUT`].
pub(crate) async fn answer<T>(
    doing: impl Into<String>,
    question: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    answer_within(ANSWER_TIMEOUT, doing, question).await
}

pub(crate) async fn answer_within<T>(
    time: Duration,
    doing: impl Into<String>,
    question: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    match timeout(time, question).await {
        Ok(answer) => answer.doing(doing),
        Err(_silence) => Err(ClusterError::Silent { doing: doing.into(), seconds: time.as_secs() }),
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ClusterError>;
}

impl<T> Doing<T> for Result<T, kube::Error> {
    fn doing(self, what: impl Into<String>) -> Result<T, ClusterError> {
        self.map_err(|source| ClusterError::Api { doing: what.into(), source: Box::new(source) })
    }
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ClusterError> {
        self.map_err(|source| ClusterError::Host { doing: what.into(), source })
    }
}
