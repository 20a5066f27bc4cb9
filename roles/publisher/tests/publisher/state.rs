//! Deployments in memory; the contents of envelopes are kept beside.

use apocryph_model::{Address, Name};
use apocryph_publisher::{Deployment, Deployments, LocalBlob, Lock, StateError};
use apocryph_seal::sha256;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
};

#[derive(Default)]
pub(crate) struct MemoryDeployments {
    pub(crate) kept: Mutex<BTreeMap<Name, Deployment>>,
    pub(crate) specs: Mutex<BTreeMap<Name, Vec<u8>>>,
    ended: Mutex<BTreeMap<Name, Address>>,
    locks: Arc<Mutex<BTreeSet<Name>>>,
}

struct Held(Arc<Mutex<BTreeSet<Name>>>, Name);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().unwrap().remove(&self.1);
    }
}

fn blob(envelope: &[u8]) -> LocalBlob {
    LocalBlob { digest: sha256(envelope), size: envelope.len() as u64, path: PathBuf::from("spec") }
}

impl Deployments for MemoryDeployments {
    fn lock(&self, name: &Name) -> Result<Box<dyn Lock>, StateError> {
        match self.locks.lock().unwrap().insert(name.clone()) {
            true => Ok(Box::new(Held(self.locks.clone(), name.clone()))),
            false => Err(StateError::Locked(name.clone())),
        }
    }
    fn find(&self, name: &Name) -> Result<Option<Deployment>, StateError> {
        Ok(self.kept.lock().unwrap().get(name).cloned())
    }
    fn list(&self) -> Result<Vec<Deployment>, StateError> {
        Ok(self.kept.lock().unwrap().values().cloned().collect())
    }
    fn keep(&self, deployment: &Deployment) -> Result<(), StateError> {
        self.kept.lock().unwrap().insert(deployment.name.clone(), deployment.clone());
        Ok(())
    }
    fn forget(&self, name: &Name) -> Result<(), StateError> {
        self.kept.lock().unwrap().remove(name);
        self.specs.lock().unwrap().remove(name);
        Ok(())
    }
    fn end(&self, deployment: &Deployment) -> Result<(), StateError> {
        self.ended.lock().unwrap().insert(deployment.name.clone(), deployment.publisher);
        self.forget(&deployment.name)
    }
    fn ended(&self, name: &Name) -> Result<Option<Address>, StateError> {
        Ok(self.ended.lock().unwrap().get(name).copied())
    }
    fn images(&self, _: &Name) -> Result<PathBuf, StateError> {
        Ok(PathBuf::from("images"))
    }
    fn keep_only(&self, _: &Name, _: &[LocalBlob]) -> Result<(), StateError> {
        Ok(())
    }
    fn keep_spec(&self, name: &Name, envelope: &[u8]) -> Result<LocalBlob, StateError> {
        self.specs.lock().unwrap().insert(name.clone(), envelope.to_vec());
        Ok(blob(envelope))
    }
    fn spec(&self, name: &Name) -> Result<Option<(LocalBlob, Vec<u8>)>, StateError> {
        Ok(self.specs.lock().unwrap().get(name).map(|envelope| (blob(envelope), envelope.clone())))
    }
}
