//! What a publisher asks for, before images are resolved and secrets are read.

use crate::{
    Address, Attestation, Decimal, Mount, Name, Port, Region, Resource, Resources, Scale, VolumeKind,
};
use std::{collections::BTreeMap, path::PathBuf};

/// A pod as `apocryph.yaml` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Names the pod among its publisher's; the same name again updates the pod.
    pub name: Name,
    /// What runs, one or more.
    pub containers: Vec<Container>,
    /// What the containers mount.
    pub volumes: Vec<Volume>,
    /// How many replicas, and when.
    pub scale: Scale,
    /// Which providers will do.
    pub constraints: Constraints,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Unique within the pod.
    pub name: Name,
    /// A reference as skopeo writes it: `docker://` (or nothing), `docker-daemon:`, `oci:`,
    /// `oci-archive:`, `docker-archive:`. Relative paths are the manifest's folder's.
    pub image: String,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Replaces the image's working directory; absolute.
    pub working_dir: Option<String>,
    /// `user[:group]`, names or numbers; replaces the image's.
    pub user: Option<String>,
    /// Environment, over the image's.
    pub env: BTreeMap<String, EnvValue>,
    /// What it listens on.
    pub ports: Vec<Port>,
    /// Where it sees the pod's volumes.
    pub mounts: Vec<Mount>,
    /// Its limits, which are also what it reserves.
    pub resources: Resources,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// As it stands.
    Literal(String),
    /// Read when the pod is collected.
    Secret(SecretSource),
}

/// Where a secret's value is read from on the publisher's machine.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The contents of a file, whole.
    File(PathBuf),
    /// An environment variable of the command.
    Env(String),
    /// The manifest itself.
    Literal(String),
}

/// Never shows a literal.
impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Literal(_) => f.write_str("literal"),
        }
    }
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Unique within the pod.
    pub name: Name,
    /// What it holds.
    pub source: VolumeSource,
}

/// What a volume holds at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// Nothing: [`VolumeKind::Ephemeral`] or [`VolumeKind::Persistent`].
    Empty(VolumeKind),
    /// Files of a tmpfs, by file name.
    Secret(BTreeMap<String, SecretSource>),
}

/// Which providers will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Only this one, if given.
    pub provider: Option<Address>,
    /// In one of these regions; anywhere if empty.
    pub regions: Vec<Region>,
    /// The highest acceptable price of each resource that is given, for what
    /// [`Resource::priced_as`] names; others are not bounded.
    pub highest: BTreeMap<Resource, Decimal>,
    /// Which kinds of attestation will do; any but none if empty.
    pub attestation: Vec<Attestation>,
}

/// How a provider is selected among those that satisfy the constraints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The cheapest for this manifest that answers.
    #[default]
    Cheapest,
    /// The user is asked.
    Ask,
}
