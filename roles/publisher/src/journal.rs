use crate::{Deployment, Deployments, StateError};
use std::sync::{Mutex, PoisonError};

/// A deployment under way: every change is remembered before anything follows from it. Steps
/// that run side by side share it.
pub(crate) struct Journal<'a> {
    deployments: &'a dyn Deployments,
    deployment: Mutex<Deployment>,
}

impl<'a> Journal<'a> {
    /// Takes the deployment up; nothing is written yet.
    pub(crate) fn new(deployments: &'a dyn Deployments, deployment: Deployment) -> Self {
        Self { deployments, deployment: Mutex::new(deployment) }
    }

    /// The deployment as it stands.
    pub(crate) fn now(&self) -> Deployment {
        self.deployment.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the deployment and remembers it.
    pub(crate) fn write(&self, change: impl FnOnce(&mut Deployment)) -> Result<(), StateError> {
        let mut deployment = self.deployment.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut deployment);
        self.deployments.keep(&deployment)
    }
}
