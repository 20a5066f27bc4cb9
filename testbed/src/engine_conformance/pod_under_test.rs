//! Pods for tests.

use std::collections::BTreeMap;

use apocryph_model::{
    Address, Bytes, ChannelId, ContainerSpec, Digest, Millicores, Mount, PodSpec, Resources, Scale,
    VolumeKind, VolumeSpec,
};
use apocryph_provider::EnginePod;

use super::Subject;

/// A pod under construction.
pub struct PodUnderTest {
    number: u8,
    image: Digest,
    spec: PodSpec,
}

impl PodUnderTest {
    /// A pod without containers; its number tells it from others.
    pub fn new(number: u8, image: Digest) -> Self {
        let spec = PodSpec {
            name: "under-test".parse().expect("a name"),
            containers: Vec::new(),
            volumes: Vec::new(),
            scale: Scale { max: 10, ..Scale::default() },
        };
        Self { number, image, spec }
    }

    /// With a container that runs a script in a shell.
    #[must_use]
    pub fn container(mut self, name: &str, script: &str) -> Self {
        self.spec.containers.push(ContainerSpec {
            name: name.parse().expect("a name"),
            image: self.image,
            entrypoint: Some(["/bin/sh", "-c", script].map(String::from).to_vec()),
            command: None,
            working_dir: None,
            user: None,
            env: BTreeMap::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            // Tests run beside each other: what all of them reserve, two cores have.
            resources: Resources { cpu: Millicores(200), memory: Bytes(32 << 20), storage: Bytes(16 << 20) },
        });
        self
    }

    /// Changes the container that was added last.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        self.spec.containers.last_mut().map(change).expect("a container was added");
        self
    }

    /// With a volume, mounted into the container that was added last.
    #[must_use]
    pub fn volume(mut self, name: &str, path: &str, kind: VolumeKind, files: &[(&str, &str)]) -> Self {
        let volume: apocryph_model::Name = name.parse().expect("a name");
        let files = files.iter().map(|(name, text)| ((*name).into(), text.as_bytes().to_vec())).collect();
        self.spec.volumes.push(VolumeSpec { name: volume.clone(), kind, files });
        self.with(|container| container.mounts.push(Mount { volume, path: path.into(), read_only: false }))
    }

    /// As engines are told of it.
    pub fn build(self, subject: &dyn Subject) -> EnginePod {
        self.spec.validate().expect("a valid pod");
        let (id, shipyard) = (ChannelId([self.number; 32]), subject.shipyard());
        EnginePod {
            id,
            publisher: Address([self.number; 20]),
            spec: self.spec,
            registry_token: shipyard.admit(id, &[self.image]),
            image_key: shipyard.key.to_pkcs8().unwrap().to_vec(),
        }
    }
}
